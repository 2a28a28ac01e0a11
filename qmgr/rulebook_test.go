package qmgr

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/schedcf"
)

// govern gives the site a sched.cf, as a reload does; "" takes it away.
func (s *site) govern(text string) {
	s.t.Helper()
	b := []byte{}
	if text != "" {
		p, problems := schedcf.Read("sched.cf", []byte(text), schedcf.Options{})
		if err := problems.Err(); err != nil {
			s.t.Fatal(err)
		}
		b = p.Encode()
	}
	h := s.m.d.(*fakeHost)
	h.mu.Lock()
	h.policy = b
	h.mu.Unlock()
	s.reload()
}

// matches waits for a line of the log.
func (s *site) matches(format string, a ...any) {
	s.t.Helper()
	want := regexp.MustCompile(fmt.Sprintf(format, a...))
	s.until("log line "+want.String(), func() bool { return want.MatchString(s.log.String()) })
}

// TestPolicyFacts: rules see the captured header, the sender, attempts and the last class,
// each recipient by itself.
func TestPolicyFacts(t *testing.T) {
	s := newSite(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "queue_run_delay = 1s")
	s.govern(`
route "twice" { error = "5.4.7 tried twice" }
route "tenant" { error = "5.7.2 tenant is closed" }
route "rcpt" { discard = "not wanted" }
facts { tenant = header["x-tenant"] }
rule {
  when  = tenant == "closed"
  route = "tenant"
}
rule {
  when  = rcpt == "drop@a.test" && sender_domain == "x.test" && source_kind == "auto" && size > 10
  route = "rcpt"
}
rule {
  when  = attempts >= 2 && last_class == "reply" && age < "1h"
  route = "twice"
}
rule { }`)
	s.set(func(r *libagent.Request) proto.Result {
		return all(r, mail.Status{DSN: "4.5.0", Text: "busy", Diag: "450 4.5.0 busy"})
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@a.test"), Headers: []mail.Header{{Name: "x-tenant", Value: "closed"}}})
	s.matches("%s: to=<u@a.test>, relay=none", id)
	s.matches("%s.* dsn=5.7.2, status=bounced .tenant is closed", id)
	id = s.submit(mail.Envelope{Sender: "a@X.test", Recipients: to("Drop@A.test", "u@a.test"), Kind: mail.Auto})
	s.matches("%s: to=<Drop@A.test>.*status=sent .not wanted", id)
	s.matches("%s: to=<u@a.test>.*dsn=5.4.7, status=bounced .tried twice", id)
}

// TestPolicyMX: a message whose rule asks for mx_group waits for the name server, and keeps
// nothing waiting whose group is known.
func TestPolicyMX(t *testing.T) {
	s := newSite(t)
	open := make(chan bool)
	var sent sync.Map
	s.agents["smtp.0"] = nil
	s.kill()
	s.agents["smtp.0"] = libagent.New(libagent.Options{Program: "smtp", Of: 1, Resolve: func(ctx context.Context, _, hop string) proto.Resolved {
		if hop == "slow.test" {
			<-open
		}
		return proto.Resolved{Holds: time.Hour, Hosts: []string{"mx." + hop}, Group: hop}
	}}, func(_ context.Context, r *libagent.Request) proto.Result {
		for i := range r.Recipients {
			sent.Store(string(r.Recipients[i].Address), true)
		}
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "250 ok"})
	})
	s.start()
	s.govern(`
provider "big" { mx = ["mx.slow.test", "mx.fast.test"] }
route "closed" { error = "5.7.3 not to the big one" }
rule {
  when  = mx_group == "big"
  route = "closed"
}
rule { }`)
	slow := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@slow.test")})
	both := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("w@slow.test", "v@[192.0.2.1]")})
	fast := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@fast.test")})
	other := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@other.test")})
	s.matches("%s.*dsn=5.7.3, status=bounced", fast)
	s.matches("%s: removed", other)
	s.until("the other recipient", func() bool { _, is := sent.Load("v@[192.0.2.1]"); return is })
	if log := s.log.String(); strings.Contains(log, string(slow)+": to=") || strings.Contains(log, "to=<w@slow.test>") {
		t.Error("decided before its fact was known")
	}
	s.says(slow, "waits for the addresses of slow.test, which are being looked up")
	close(open)
	s.matches("%s: to=<u@slow.test>.*dsn=5.7.3, status=bounced", slow)
	s.matches("%s: to=<w@slow.test>.*dsn=5.7.3, status=bounced", both)
	if n := ask(s.m, func() int { return len(s.m.questions.open) + s.m.questions.asked }); n != 0 {
		t.Errorf("%d questions are left", n)
	}
}
