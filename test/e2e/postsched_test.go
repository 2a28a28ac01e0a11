package e2e

import (
	"regexp"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestPostschedWhy: the command says for an address, and for a message in the queue, which
// rule holds, why those before do not, and what follows.
func TestPostschedWhy(t *testing.T) {
	l := &ledger.Ledger{}
	next := sink.New(t, l)
	next.Do(sink.Behaviour{Rcpt: func(string, string) string { return "450 4.2.0 busy" }})
	i := instance.New(t, "relayhost = "+next.NextHop())
	table := i.WriteFile("vips", "vip@x.test yes\n")
	i.WriteFile("conf/sched.cf", `
facts { tenant = header["x-ledger"] }
queue "vip" { slots = 7 }
queue "slow" { slots = 1 }
schedule "patient" {
  retry  = ["10m", "1h"]
  expire = "2d"
}
limit "each" {
  key         = [tenant, rcpt_domain]
  connections = 3
}
quota "each" {
  key      = [rcpt_domain]
  messages = 500
}
rule "vips" {
  when  = lookup("texthash:`+table+`", rcpt)
  queue = "vip"
}
rule {
  when     = attempts >= 1 && last_class == "mailbox"
  queue    = "slow"
  schedule = "patient"
}
rule { }
`)
	i.Start()
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(out) {
				t.Errorf("%s\n  is not in\n%s", w, out)
			}
		}
	}
	says(i.Must("postsched", "-c", i.Conf, "why", "vip@x.test"), `rule +rule 1 \(sched.cf:17\) "vips": lookup`, `queue +vip: priority normal, 7 slots`,
		`route +smtp to .*, as main.cf says`)
	says(i.Must("postsched", "-c", i.Conf, "why", "-f", "attempts=2", "-f", "last_class=dns", "-f", "header.x-ledger=acme", "u@x.test"),
		`not +rule 1 .*does not hold: .*vips.* is "not found"`, `not +rule 2 \(sched.cf:21\): last_class == "mailbox" does not hold: last_class is "dns"`,
		`rule +rule 3 .*takes all`, `limit +each: .* of tenant=acme, rcpt_domain=x.test`, `quota +each: at most 500 messages of rcpt_domain=x.test`)

	id := send(t, i, l, source.New("one", "a@source.test", 1000, "u@x.test"))
	i.AwaitQueue(id, "deferred")
	out := i.Must("postsched", "-c", i.Conf, "why", id)
	says(out, `(?m)^`+id+`$`, `rule +rule 2 `, `queue +slow: `, `schedule +patient: retry after 10m 1h, .*expires after 2d`, `attempts=1`, `listener=`)
	if r := i.Run("postsched", "-c", i.Conf, "why", id); strings.Contains(r.Stderr, "another sched.cf") {
		t.Errorf("the file is what runs: %s", r.Stderr)
	}
	says(i.Must("postsched", "-c", i.Conf, "show"), `schedule +default +retry after its age, from 5m to `, `rule 2 +sched.cf:21`, `fact +tenant`)
}
