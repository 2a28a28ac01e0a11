package hostile

import (
	"strings"
	"testing"

	"postrider/test/instance"
)

// authorized_mailq_users, authorized_flush_users and authorized_submit_users are obeyed,
// by the uid that the kernel says; root and the owner of the mail system are always
// allowed.
func TestAuthorized(t *testing.T) {
	t.Parallel()
	i := system(t, nil)
	ask := func(who string, stdin, program string, args ...string) instance.Result {
		return i.RunAs(credential(t, who, "postdrop"), stdin, program, args...)
	}
	deeds := []struct {
		param string
		text  string // of the refusal
		do    func(who string) instance.Result
	}{
		{"authorized_mailq_users", "not allowed to view the mail queue", func(who string) instance.Result { return ask(who, "", "postqueue", "-p") }},
		{"authorized_mailq_users", "not allowed to view the mail queue", func(who string) instance.Result { return ask(who, "", "sendmail", "-bp") }},
		{"authorized_flush_users", "not allowed to flush the mail queue", func(who string) instance.Result { return ask(who, "", "postqueue", "-f") }},
		{"authorized_flush_users", "not allowed to flush the mail queue", func(who string) instance.Result { return ask(who, "", "postqueue", "-i", "4jXDVg2L8jz52t") }},
		{"authorized_submit_users", "is not allowed to submit mail", func(who string) instance.Result {
			return ask(who, "Subject: x\n\ny\n", "sendmail", good+"@"+instance.Domain)
		}},
	}
	for list, allowed := range map[string]map[string]bool{
		"static:anyone":               {bad: true, good: true, "root": true, "postrider": true},
		good:                          {bad: false, good: true, "root": true, "postrider": true},
		"!" + bad + ", static:anyone": {bad: false, good: true, "root": true, "postrider": true},
		"":                            {bad: false, good: false, "root": true, "postrider": true},
	} {
		for _, d := range deeds {
			i.Set(d.param + " = " + list)
		}
		i.Must("master", "reload")
		i.Await("the reload", func() bool { return (deeds[0].do(bad).Code == 0) == allowed[bad] })
		for _, d := range deeds {
			for who, may := range allowed {
				r := d.do(who)
				if may && r.Code != 0 || !may && (r.Code != 77 || !strings.Contains(r.Stderr, d.text) || strings.Count(r.Stderr, "\n") != 1) {
					t.Errorf("%s = %s: %s (%s): %+v", d.param, list, who, d.text, r)
				}
			}
		}
	}
	i.Await("an empty queue", i.Drained)
}
