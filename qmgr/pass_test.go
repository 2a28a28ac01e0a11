package qmgr

import (
	"fmt"
	"strings"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// passes has local lead everybody to smtp:NAME of NAME@here.test, as user@box.test; what
// smtp gets there is answered by f.
func (s *site) passes(f func(r *libagent.Request) mail.Status) {
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service != "local" {
			return all(r, f(r))
		}
		res := all(r, mail.Status{})
		for i := range res.Recipients {
			hop := r.Recipients[i].Address.Local()
			res.Recipients[i].Pass = proto.Pass{Transport: "smtp", NextHop: hop, Address: "user@box.test"}
			if hop == "round" {
				res.Recipients[i].Pass.Transport = "local"
			}
		}
		return res
	})
}

// Whom local does not deliver to goes where it says, in one pass and as one attempt, under
// the address that it found; each pass asks it again, and nothing goes in circles.
func TestPass(t *testing.T) {
	s := newSite(t, "mydestination = here.test")
	answer := busy
	var seen []string
	s.passes(func(r *libagent.Request) mail.Status {
		s.mu.Lock()
		defer s.mu.Unlock()
		rc := &r.Recipients[0]
		seen = append(seen, fmt.Sprintf("%s %s %s %s", r.Service, r.NextHop, rc.Address, rc.Original))
		return answer
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("dove@here.test", "round@here.test")})
	s.until("deferred", func() bool { return strings.Join(s.queue(), " ") == "deferred "+string(id) })
	if n := s.attempts(id, "dove@here.test"); n != 1 || strings.Join(seen, ";") != "smtp dove user@box.test dove@here.test" {
		t.Errorf("local was asked %d times, smtp got %q", n, seen)
	}
	s.operator().List(&proto.List{}, func(it *proto.Item) error {
		for i, r := range it.Recipients {
			if want := []string{busy.Text, "mail system configuration error"}[i]; r.Reason != want || r.Attempts != 1 {
				t.Errorf("%s: %q after %d attempts, want %q", r.Address, r.Reason, r.Attempts, want)
			}
		}
		return nil
	})
	s.logged("mailbox_transport or fallback_transport names local, which cannot take mail from local")
	s.do(proto.VerbDelete, id)

	// A bounce names the one who refused.
	s.mu.Lock()
	answer = mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "550 no such user"}
	s.mu.Unlock()
	var report mail.Address
	f := s.answer
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service == bounceService {
			s.mu.Lock()
			report = r.Recipients[0].Address
			s.mu.Unlock()
			return all(r, sent)
		}
		return f(r)
	})
	id = s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("dove@here.test")})
	s.logged("%s: removed", id)
	if report != "user@box.test" {
		t.Errorf("the report is about %s", report)
	}

	// An older qmgr asked local; the answer is for the next to ask for anew.
	hold := make(chan struct{})
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service == "local" {
			<-hold
		}
		return f(r)
	})
	s.mu.Lock()
	answer = sent
	s.mu.Unlock()
	id = s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("dove@here.test")})
	s.until("in hand", func() bool { return s.attempts(id, "dove@here.test") == 1 })
	s.kill()
	s.start()
	close(hold)
	s.logged("%s: removed", id)
	if a, b := s.attempts(id, "dove@here.test"), s.attempts(id, "user@box.test"); a != 2 || b != 1 {
		t.Errorf("local was asked %d times, and smtp %d times", a, b)
	}
}

// A transport that does not move, and that local leads all its mail to, keeps nobody else
// out, whatever the backlog; with a reload in between everything arrives once.
func TestPassFull(t *testing.T) {
	s := newSite(t, "mydestination = here.test", fmt.Sprintf("qmgr_message_active_limit = %d", parkActive), fmt.Sprintf("qmgr_message_recipient_limit = %d", parkActive))
	open := make(chan struct{})
	s.passes(func(r *libagent.Request) mail.Status {
		if r.NextHop == "slow" {
			<-open
		}
		return sent
	})
	const n = 400
	var ids []mail.QueueID
	for range n {
		ids = append(ids, s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("slow@here.test")}))
	}
	parked := func() int {
		return ask(s.m, func() (n int) {
			for key, l := range s.m.parking.lists {
				if key.Transport == "smtp" {
					n += l.n
				}
			}
			return n
		})
	}
	s.until("most wait for room", func() bool { return parked() > n-parkActive })
	healthy := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("fast@here.test")})
	other := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@well.test")})
	s.logged("%s: removed", healthy)
	s.logged("%s: removed", other)
	s.reload("relayhost = other.test")
	close(open)
	s.until("all delivered", func() bool { return len(s.queue()) == 0 })
	asked := 0
	for _, id := range ids {
		asked += s.attempts(id, "slow@here.test")
		if got := s.attempts(id, "user@box.test"); got != 1 {
			t.Errorf("%s: %d attempts", id, got)
		}
	}
	t.Logf("local was asked %d times for %d", asked, n)
	if asked > 3*n { // at first, after the reload, and when there seemed to be room
		t.Errorf("local was asked %d times for %d", asked, n)
	}
	if left := ask(s.m, func() string { return s.m.left() }); left != "" {
		t.Error(left)
	}
}
