package qmgr

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// Messages for very many recipients come in slices: each recipient is tried once, what is
// deferred once more, the scheduler never holds more than a few slices, and a small
// message goes between.
func TestSlices(t *testing.T) {
	const n = 12_000
	s := newSite(t, "qmgr_message_active_limit = 1000", "qmgr_message_recipient_limit = 4000")
	var mu sync.Mutex
	most, refused := 0, map[string]bool{}
	s.set(func(r *libagent.Request) proto.Result {
		held := ask(s.m, func() int { return s.m.machine.Stats().Recipients })
		res := all(r, sent)
		mu.Lock()
		defer mu.Unlock()
		most = max(most, held)
		for i := range r.Recipients {
			to := string(r.Queue) + " " + string(r.Recipients[i].Address)
			if strings.HasPrefix(string(r.Recipients[i].Address), "slow") && !refused[to] {
				refused[to] = true
				res.Recipients[i].Status = busy
			}
		}
		return res
	})
	var rcpts []string
	for i := range n {
		name := "u"
		if i%1000 == 7 {
			name = "slow"
		}
		rcpts = append(rcpts, fmt.Sprintf("%s%d@d%d.test", name, i, i%37))
	}
	ids := []mail.QueueID{
		s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(rcpts...)}),
		s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(rcpts...)}),
	}
	small := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("one@d1.test")})
	s.logged("%s: removed", small)
	s.until("both are deferred", func() bool { return s.counts()["deferred"] == 2 })
	s.flush()
	s.only()
	for _, id := range ids {
		for _, r := range rcpts {
			want := 1
			if strings.HasPrefix(r, "slow") {
				want = 2
			}
			if got := s.attempts(id, r); got != want {
				t.Fatalf("%s to %s: %d attempts, want %d", id, r, got, want)
			}
		}
	}
	if most > 2*1500+1 { // a slice is a quarter of the limit, and the next comes when half of it is left
		t.Errorf("the scheduler held %d recipients", most)
	}
	if left := ask(s.m, func() string { return fmt.Sprint(s.m.left(), s.m.large) }); left != "0" {
		t.Error(left)
	}
}
