//go:build scale

package scale

import (
	"fmt"
	"testing"
	"time"
)

// TestResolver: 5,000 domains whose name servers never answer, beside twenty healthy ones
// that are looked up for each of 20 messages a second.
func TestResolver(t *testing.T) {
	names := many(5000)
	w, s, to := hanging(t, names)
	w.Start()
	f, stop := w.flow("n", 20, to)
	w.until("mail for all the healthy", 10*time.Second, func() bool { return f.Arrived() > 40 })
	begin := time.Now()
	w.feed(names, func(i int) string { return fmt.Sprintf("r@d%d.hangs", i) })
	for m := range 2 {
		from := begin.Add(time.Duration(m) * time.Minute)
		time.Sleep(time.Until(from.Add(time.Minute)))
		x := f.Times(from, from.Add(time.Minute), 2*time.Second)
		record(t, fmt.Sprintf("healthy mail beside 5,000 names that are never resolved, minute %d", m+1), "99 % within 1 s", x.Within(time.Second) >= 99, "%v", x)
	}
	stop()
	t.Logf("%d questions without an answer", s.hangs.Load())
}
