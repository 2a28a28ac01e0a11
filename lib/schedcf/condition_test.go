package schedcf

import (
	"testing"

	"postrider/lib/policy"
)

// TestConditions: each operation and function, both ways.
func TestConditions(t *testing.T) {
	facts := policy.Facts{Attempts: 3, Size: 10 << 20, Age: 4 * 3600e9, ClientAddress: "192.0.2.7", SourceKind: "auto", MXKnown: true,
		Headers: []policy.Header{{Name: "x-tenant", Value: "Acme"}}}
	for _, line := range []string{"rcpt=Bob@Mail.Example.com", "sender="} {
		if err := facts.Set(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		when string
		want bool
	}{
		{`attempts >= 3`, true}, {`attempts > 3`, false}, {`attempts <= 3`, true}, {`attempts < 3`, false}, {`attempts == 3`, true}, {`attempts != 3`, false},
		{`3 <= attempts`, true}, {`3 < attempts`, false},
		{`age >= "4h"`, true}, {`age > "4h"`, false}, {`age == 14400`, true}, {`size == "10MB"`, true}, {`size < 10485760`, false},
		{`rcpt == "BOB@mail.example.COM"`, true}, {`rcpt != "bob@mail.example.com"`, false}, {`sender == ""`, true},
		{`under(rcpt_domain, "Example.com")`, true}, {`under(rcpt_domain, "ample.com")`, false}, {`under(rcpt_domain, "mail.example.com")`, true},
		{`startswith(rcpt, "bob@")`, true}, {`startswith(rcpt, "ob@")`, false}, {`endswith(rcpt, ".com")`, true}, {`endswith(rcpt, ".co")`, false},
		{`strcontains(rcpt, "@mail.")`, true}, {`strcontains(rcpt, "@mall.")`, false},
		{`contains(["x", "Mail.example.com"], rcpt_domain)`, true}, {`contains(["x", "y"], rcpt_domain)`, false},
		{`matches(rcpt, "^b.b@")`, true}, {`matches(rcpt, "^o")`, false},
		{`cidr(client_address, "192.0.2.0/28")`, true}, {`cidr(client_address, "192.0.2.0/30")`, false},
		{`header["X-Tenant"] == "Acme"`, true}, {`header["x-tenant"] == "acme"`, false}, {`lower(header.x-tenant) == "acme"`, true},
		{`coalesce(header["x-none"], header["x-tenant"]) == "Acme"`, true},
		{`(attempts > 2 ? "a" : "b") == "a"`, true}, {`(attempts > 3 ? "a" : "b") == "a"`, false},
		{`attempts == 3 && size == 1`, false}, {`attempts == 3 || size == 1`, true}, {`!(attempts == 3)`, false}, {`!contains(["user"], source_kind)`, true},
		{`lookup("inline:{k=v}", rcpt, "k")`, true}, {`lookup("inline:{k=v}", "k") == "v"`, true}, {`!lookup("inline:{k=v}", rcpt)`, true},
		{"(\n attempts == 3\n && age > 1\n)", true}, {`false`, false},
	} {
		p, problems := Read("sched.cf", []byte("queue \"yes\" { }\nrule {\n when = "+c.when+"\n queue = \"yes\"\n}\nrule { }\n"), Options{})
		if err := problems.Err(); err != nil {
			t.Errorf("%s: %v", c.when, err)
			continue
		}
		f := facts
		var d policy.Decision
		for need := p.Decide(&f, &d); need != nil; need = p.Decide(&f, &d) {
			found := need.Keys[len(need.Keys)-1] == "k"
			f.Answers = append(f.Answers, need.Answer(map[bool]string{true: "v"}[found], found))
		}
		if got := d.Queue == 1; got != c.want {
			t.Errorf("%s is %v", c.when, got)
		}
		// What show says is the same condition.
		if again, problems := Read("sched.cf", []byte("rule {\n when = "+p.Show(p.Rules[0].When)+"\n}\nrule { }\n"), Options{}); problems.Err() != nil {
			t.Errorf("%s is shown as %s: %v", c.when, p.Show(p.Rules[0].When), problems.Err())
		} else if a, b := p.Show(p.Rules[0].When), again.Show(again.Rules[0].When); a != b {
			t.Errorf("%s is shown as %s, and then as %s", c.when, a, b)
		}
	}
}
