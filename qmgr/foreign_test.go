package qmgr

import (
	"fmt"
	"strings"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// A delay notice that bounce has in hand when qmgr is killed is no delivery: the message
// stays. The sender is not warned twice.
func TestDelayNoticeInHandOfBounce(t *testing.T) {
	s := newSite(t, "delay_warning_time = 1s", "minimal_backoff_time = 1s", "maximal_backoff_time = 1s",
		"default_destination_concurrency_failed_cohort_limit = 0")
	release := make(chan struct{})
	notices := 0
	deliver := busy
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service != bounceService {
			s.mu.Lock()
			defer s.mu.Unlock()
			return all(r, deliver)
		}
		s.mu.Lock()
		notices++
		s.mu.Unlock()
		<-release
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
	})
	count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return notices }
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test")})
	s.until("a notice is being written", func() bool { return count() == 1 })
	s.kill()
	s.start()
	before := s.attempts(id, "u@d.test")
	s.until("tried again beside it", func() bool { return s.attempts(id, "u@d.test") > before })
	close(release)
	s.until("acknowledged", func() bool { return s.agents["bounce"].InHand() == 0 })
	before = s.attempts(id, "u@d.test")
	s.until("tried again after it", func() bool { return s.attempts(id, "u@d.test") > before })
	s.mu.Lock()
	deliver = mail.Status{Class: mail.Sent, DSN: "2.0.0"}
	s.mu.Unlock()
	s.logged("%s: removed", id)
	if n := count(); n > 2 { // the second only when its message was filed before the first was through
		t.Errorf("warned %d times", n)
	}
}

// A report that bounce has in hand when qmgr is killed is not written again, and its
// recipients are not tried again, whatever the report says in the end.
func TestReportInHandOfBounce(t *testing.T) {
	for _, replaced := range []bool{true, false} {
		t.Run(fmt.Sprint("replaced ", replaced), func(t *testing.T) {
			s := newSite(t)
			release, started := make(chan struct{}), make(chan struct{}, 9)
			s.set(func(r *libagent.Request) proto.Result {
				if r.Service != bounceService {
					if r.Sender == "" {
						return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
					}
					return all(r, mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "no such user"})
				}
				started <- struct{}{}
				<-release
				res := all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
				if replaced {
					env := mail.Envelope{Recipients: to("a@x.test"), Origin: mail.FromBounce,
						Replaces: mail.Replaces{ID: r.Queue, File: r.File, Slot: r.Slot}}
					for i := range res.Recipients {
						res.Recipients[i].Replaced = true
						env.Replaces.Recipients = append(env.Replaces.Recipients, res.Recipients[i].Index)
					}
					s.submit(env)
				}
				return res
			})
			id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test", "v@d.test")})
			<-started
			s.kill()
			s.start()
			close(release)
			s.logged("%s: removed", id)
			s.until("empty", func() bool { return len(s.queue()) == 0 })
			if n := s.attempts(id, "u@d.test"); n != 2 { // by smtp, and by bounce
				t.Errorf("%d attempts", n)
			}
		})
	}
}

// Recipients that an agent says nothing of, in a result for an earlier qmgr, were not
// tried: they are now.
func TestForeignRecipientLeftOut(t *testing.T) {
	s := newSite(t)
	release := make(chan struct{})
	s.set(func(r *libagent.Request) proto.Result {
		<-release
		res := all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
		res.Recipients = res.Recipients[:1]
		return res
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test", "v@d.test")})
	s.until("in hand", func() bool { return s.attempts(id, "v@d.test") == 1 })
	s.kill()
	s.start()
	close(release)
	s.logged("%s: removed", id)
	if u, v := s.attempts(id, "u@d.test"), s.attempts(id, "v@d.test"); u != 1 || v != 2 {
		t.Errorf("attempts %d and %d, want 1 and 2", u, v)
	}
}

// A report on more recipients than a frame holds goes in several pieces.
func TestHugeReport(t *testing.T) {
	s := newSite(t, "default_destination_recipient_limit = 0")
	const n = 6000
	text := "host mx.d.test said: 550 5.1.1 " + strings.Repeat("no such user here ", 20)
	reports := 0
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service != bounceService {
			return all(r, mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: text + string(r.Recipients[0].Address)})
		}
		s.mu.Lock()
		reports++
		s.mu.Unlock()
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
	})
	var rs []mail.Recipient
	for i := range n {
		rs = append(rs, mail.Recipient{Address: mail.Address(fmt.Sprintf("user%d@d.test", i))})
	}
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: rs})
	s.logged("%s: removed", id)
	if reports < 2 {
		t.Errorf("%d report", reports)
	}
}
