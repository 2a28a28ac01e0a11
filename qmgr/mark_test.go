package qmgr

import (
	"context"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// A mark says that a delivery ended. When qmgr and the agent die with one in hand,
// nobody knows what became of it, and it is tried again (S2): every recipient, also
// of a message of which others are done. Fails when marks are written as a delivery
// starts.
func TestMarkFollowsDelivery(t *testing.T) {
	s := newSite(t)
	block := make(chan struct{})
	defer close(block)
	sent := mail.Status{Class: mail.Sent, DSN: "2.0.0"}
	s.set(func(r *libagent.Request) proto.Result {
		if r.Recipients[0].Address != "quick@d.test" {
			<-block
		}
		return all(r, sent)
	})
	alone := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("slow@d.test")})
	mixed := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("quick@d.test", "slow@e.test")})
	s.until("in hand", func() bool {
		return s.attempts(alone, "slow@d.test") == 1 && s.attempts(mixed, "slow@e.test") == 1 && s.attempts(mixed, "quick@d.test") == 1
	})
	s.until("the quick one is acknowledged", func() bool { return s.agents["smtp.0"].InHand() == 2 })

	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.kill()
	s.agents["smtp.0"].Stop(over)
	s.agents["smtp.0"] = nil
	s.set(func(r *libagent.Request) proto.Result { return all(r, sent) })
	s.start()
	s.logged("%s: removed", alone)
	s.logged("%s: removed", mixed)
	for _, c := range []struct {
		id   mail.QueueID
		rcpt string
		want int
	}{{alone, "slow@d.test", 2}, {mixed, "slow@e.test", 2}, {mixed, "quick@d.test", 1}} {
		if n := s.attempts(c.id, c.rcpt); n != c.want {
			t.Errorf("%s to %s: %d attempts, want %d", c.id, c.rcpt, n, c.want)
		}
	}
}
