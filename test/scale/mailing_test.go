//go:build scale

package scale

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/sink"
	"postrider/test/source"
)

// TestMailing: ten mailings of 100,000 recipients wait for a destination that takes 50
// recipients in a tenth of a second, by twenty connections at most. Single messages for
// the same destination come in between.
func TestMailing(t *testing.T) {
	const mailings = 10
	size := many(100_000)
	w := newWorld(t, "smtp:"+dead)
	now := time.Now()
	w.fill(mailings, func(i int) Letter {
		l := Letter{Arrival: now, To: make([]mail.Address, size)}
		for r := range l.To {
			l.To[r] = mail.Address(fmt.Sprintf("m%d.%d@good.test", i, r))
		}
		return l
	})
	var mu sync.Mutex
	started := 0 // deliveries whose sender was named
	at := map[string]int{}
	recipients := 0
	w.good.Do(sink.Behaviour{
		From: func(sender string) string {
			mu.Lock()
			defer mu.Unlock()
			started++
			at[sender] = started
			return ""
		},
		Dot: func(*sink.Mail) string { time.Sleep(100 * time.Millisecond); return "" },
	})
	w.good.Handle(false, func(m *sink.Mail) { mu.Lock(); recipients += len(m.Recipients); mu.Unlock() })
	w.Start()
	q := w.PID("qmgr")
	count := func() int { mu.Lock(); defer mu.Unlock(); return started }
	w.until("the mailings to be under way", time.Minute, func() bool { return count() > 100 })
	var waited []int
	for i := range 20 {
		name := fmt.Sprintf("single%d@example.com", i)
		if _, err := source.Send1(w.Addr, source.New(name, name, 1000, "one@good.test"), nil); err != nil {
			t.Fatal(err)
		}
		before := count() // it is accepted: its delivery may have started
		w.until("a single message", time.Minute, func() bool { mu.Lock(); defer mu.Unlock(); return at[name] > 0 })
		mu.Lock()
		waited = append(waited, max(at[name]-before-1, 0))
		mu.Unlock()
	}
	slices.Sort(waited)
	record(t, "deliveries that start before a single message behind 10 mailings of 100,000 to the same destination", "a few", waited[len(waited)-1] <= 20,
		"median %d, at most %d of %d tries", waited[len(waited)/2], waited[len(waited)-1], len(waited))
	mb := Peak(q)
	record(t, "qmgr with 10 mailings of 100,000", "bounded", mb < 192, "%d MB at most", mb)
	limit := 20 * time.Minute
	took := w.until("all recipients", limit, func() bool { mu.Lock(); defer mu.Unlock(); return recipients >= mailings*size+len(waited) })
	record(t, "all 1,000,000 recipients of them", "each once", recipients == mailings*size+len(waited), "%d deliveries of recipients, %.0f/s; qmgr %d MB at most", recipients,
		float64(mailings*size)/took.Seconds(), Peak(q))
}
