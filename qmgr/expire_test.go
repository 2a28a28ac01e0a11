package qmgr

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

const inHand = 6 // the initial concurrency, and one more for the first success

// waitingSite has n messages for slow.test, which took one before and now does not
// answer: inHand are in hand, some wait in the active queue, and most are parked. It
// returns what was reported, by kind and recipient.
func waitingSite(t *testing.T, n int, settings ...string) (s *site, reports func(kind string) map[string]int) {
	s = newSite(t, append(settings, "qmgr_message_active_limit = 60", "qmgr_message_recipient_limit = 60")...)
	ask(s.m, func() bool { s.m.parking.most, s.m.parking.newest = 300, 100; return true })
	s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("first@slow.test")})
	s.until("one delivered", func() bool { return len(s.queue()) == 0 && strings.Contains(s.log.String(), "removed") })
	var mu sync.Mutex
	seen := map[string]map[string]int{"failure": {}, "delay": {}}
	open := make(chan bool)
	t.Cleanup(func() { close(open) })
	s.set(func(r *libagent.Request) proto.Result {
		switch {
		case r.Service == bounceService:
			mu.Lock()
			for i := range r.Recipients {
				seen[r.NextHop][string(r.Recipients[i].Address)]++
			}
			mu.Unlock()
		case r.NextHop == "slow.test":
			<-open
		}
		return all(r, sent)
	})
	for i := range n {
		s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u%d@slow.test", i))})
	}
	return s, func(kind string) map[string]int {
		mu.Lock()
		defer mu.Unlock()
		all := map[string]int{}
		for r, n := range seen[kind] {
			all[r] = n
		}
		return all
	}
}

// What waits is returned when its time is up, in the active queue and parked; what is
// in hand is not.
func TestExpireWaiting(t *testing.T) {
	const n = 400
	s, reports := waitingSite(t, n, "maximal_queue_lifetime = 3s", "bounce_queue_lifetime = 3s")
	s.until("all that waits is returned", func() bool { return len(s.queue()) == inHand })
	failures := reports("failure")
	if len(failures) != n-inHand {
		t.Errorf("%d are reported", len(failures))
	}
	s.until("all is logged", func() bool {
		return strings.Count(s.log.String(), "status=expired, returned to sender") == n-inHand
	})
	for r, times := range failures {
		if times != 1 {
			t.Errorf("%s was reported %d times", r, times)
		}
	}
}

// The sender of what waits hears of the delay once, and it goes on waiting.
func TestNoticeWaiting(t *testing.T) {
	const n = 400
	s, reports := waitingSite(t, n, "delay_warning_time = 2s")
	s.until("all that waits is told", func() bool { return len(reports("delay")) == n-inHand })
	s.until("all that waits goes on", func() bool { in := s.counts(); return in["active"]+in["incoming"]+in["deferred"] == n })
	time.Sleep(100 * time.Millisecond)
	for r, times := range reports("delay") {
		if times != 1 {
			t.Errorf("%s was told %d times", r, times)
		}
	}
	if len(reports("failure")) > 0 {
		t.Error("something was returned")
	}
}
