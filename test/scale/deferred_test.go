//go:build scale

package scale

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/sink"
	"postrider/test/source"
)

// later is a backlog that is not due for an hour, for many destinations; the first
// letter is for the healthy one, and due.
func later(start time.Time) func(int) Letter {
	return func(i int) Letter {
		l := Letter{Arrival: start.Add(-2 * time.Hour), Attempts: 4, Status: refused,
			To: []mail.Address{mail.Address(fmt.Sprintf("r%d@d%d.test", i, i%5000))}, Due: start.Add(time.Hour + time.Duration(i%14400)*time.Second)}
		if i == 0 {
			l.To[0], l.Due = "r@good.test", start
		}
		return l
	}
}

// TestDeferred: a million messages deferred, and mail that has nothing to do with them.
func TestDeferred(t *testing.T) {
	n := many(1_000_000)
	w, empty := newWorld(t, "smtp:"+dead), newWorld(t, "smtp:"+dead)
	w.fill(n, later(time.Now()))
	start := time.Now()
	var first atomic.Int64
	w.good.Handle(false, func(m *sink.Mail) { first.CompareAndSwap(0, int64(m.At.Sub(start))) })
	w.Start()
	greets := time.Since(start)
	w.until("the first delivery", time.Minute, func() bool { return first.Load() > 0 })
	record(t, "start with 1,000,000 deferred: greeting", "", true, "%v", greets.Round(time.Millisecond))
	took := time.Duration(first.Load())
	record(t, "start to first delivery with 1,000,000 deferred", "under 1 s", took < time.Second, "%v", took.Round(time.Millisecond))
	empty.Start()
	q := w.PID("qmgr")
	memory := func(what string) {
		mb := Peak(q)
		record(t, "resident size of qmgr at most: "+what, "under 128 MB", mb < 128, "%d MB", mb)
	}
	memory("started with 1,000,000 deferred")
	sameRate(t, w, empty)
	memory("the same after 60,000 new messages")
	w.good.Handle(false, func(*sink.Mail) {})
	took, listed := list(w)
	record(t, "postqueue -p of 1,000,000", "", listed == n-1, "%.1f s, %d messages", took.Seconds(), listed)
	memory("the same after postqueue -p")
	whole := time.Now()
	w.Must("postsuper", "-h", "ALL")
	record(t, "postsuper -h ALL", "", true, "%.1f s", time.Since(whole).Seconds())
	memory("the same after postsuper -h ALL")
	whole = time.Now()
	w.Must("postsuper", "-H", "ALL")
	record(t, "postsuper -H ALL", "", true, "%.1f s", time.Since(whole).Seconds())
	w.Must("postqueue", "-f")
	settled := quiet(w, q)
	memory("the same after postqueue -f")
	t.Logf("postqueue -f was over after %v", settled)
	w.good.Handle(false, func(*sink.Mail) {})
	_, listed = list(w)
	if listed != n-1 {
		t.Errorf("%d messages are listed after all that, not %d", listed, n-1)
	}
}

// list runs postqueue -p and counts.
func list(w *world) (time.Duration, int) {
	start := time.Now()
	out := w.Must("postqueue", "-p")
	return time.Since(start), waiting(out[max(0, len(out)-200):])
}

// quiet waits until a process uses no processor time for two seconds.
func quiet(w *world, pid int) time.Duration {
	start := time.Now()
	for last := EffortOf(pid); ; {
		time.Sleep(2 * time.Second)
		now := EffortOf(pid)
		if now.Since(last).CPU <= 20*time.Millisecond {
			return time.Since(start) - 2*time.Second
		}
		if last = now; time.Since(start) > 10*time.Minute {
			w.t.Fatal("qmgr does not come to rest")
		}
	}
}

// sameRate compares the rate of new mail, in turns.
func sameRate(t *testing.T, w, empty *world) {
	const each = 10000
	rates, cost := map[*world][]float64{}, map[*world]time.Duration{}
	for round := range 7 {
		for _, x := range []*world{w, empty} {
			before := EffortOf(x.PID("qmgr"))
			r := rate(x, each)
			if round > 0 { // the first warms up
				rates[x] = append(rates[x], r)
				cost[x] += EffortOf(x.PID("qmgr")).Since(before).CPU
			}
		}
	}
	mid := func(x *world) float64 { slices.Sort(rates[x]); return rates[x][len(rates[x])/2] }
	loss := 100 * (1 - mid(w)/mid(empty))
	record(t, "rate of new mail with 1,000,000 deferred, beside an empty queue, in turns", "at most 10 % less", loss <= 10,
		"%.0f/s and %.0f/s: %.1f %% less; qmgr's processor time a message %.0f and %.0f µs", mid(w), mid(empty), loss,
		cost[w].Seconds()*1e6/6/each, cost[empty].Seconds()*1e6/6/each)
}

// rate sends n messages by 20 sessions and returns how many arrived in a second.
func rate(w *world, n int) float64 {
	var sent, arrived atomic.Int64
	w.good.Handle(false, func(*sink.Mail) { arrived.Add(1) })
	start := time.Now()
	source.Load(context.Background(), w.Addr, 20, nil, func() *source.Message {
		k := sent.Add(1)
		if k > int64(n) {
			return nil
		}
		return source.New(fmt.Sprint("r", k), "s@example.com", 4096, "r@good.test")
	})
	w.until("all of them", time.Minute, func() bool { return arrived.Load() >= int64(n) })
	return float64(n) / time.Since(start).Seconds()
}

// TestDueInTime: with a million that wait, each message of some is tried in the second
// in which it is due, and in between qmgr does nothing at all.
func TestDueInTime(t *testing.T) {
	n := many(1_000_000)
	w := newWorld(t, "smtp:"+dead)
	const due = 40
	var at [due]time.Time
	begin := time.Now().Add(time.Duration(n)*40*time.Microsecond + 15*time.Second)
	wait := later(time.Now())
	w.fill(n, func(i int) Letter {
		l := wait(i)
		l.Due = max2(l.Due, begin.Add(time.Hour))
		if i < due { // one every 700 ms
			at[i] = begin.Add(time.Duration(i) * 700 * time.Millisecond)
			l.To[0], l.Due = mail.Address(fmt.Sprintf("%d@good.test", i)), at[i]
		}
		return l
	})
	type arrival struct {
		n  int
		at time.Time
	}
	arrived := make(chan arrival, due)
	w.good.Handle(false, func(m *sink.Mail) {
		var a arrival
		fmt.Sscanf(m.Recipients[0], "%d@", &a.n)
		a.at = m.At
		arrived <- a
	})
	w.Start()
	if !time.Now().Before(begin) {
		t.Fatalf("the backlog took %v too long to make", time.Since(begin))
	}
	var worst time.Duration
	early := false
	for range due {
		select {
		case a := <-arrived:
			worst = max(worst, a.at.Sub(at[a.n]))
			early = early || a.at.Before(at[a.n].Truncate(time.Second))
		case <-time.After(time.Until(begin) + 2*time.Minute):
			t.Fatal("not all arrived")
		}
	}
	record(t, "a due message is delivered, with 1,000,000 deferred", "within 1 s of its time", worst < time.Second && !early, "at most %d ms late", worst.Milliseconds())
	q := w.PID("qmgr")
	quiet(w, q)
	before := EffortOf(q)
	time.Sleep(30 * time.Second)
	used := EffortOf(q).Since(before)
	record(t, "qmgr idle for 30 s with 1,000,000 deferred", "no measurable processor time", used.CPU <= 10*time.Millisecond && used.Switches < 60,
		"%v (the clock's tick is 10 ms), %d context switches", used.CPU, used.Switches)
}

func max2(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestRecovery: everything is killed.
func TestRecovery(t *testing.T) {
	n := many(1_000_000)
	w := newWorld(t, "smtp:"+dead)
	w.fill(n, later(time.Now()))
	w.Start()
	f, stop := w.healthy("before", 50)
	w.until("mail", time.Minute, func() bool { return f.Arrived() > 20 })
	w.Must("postqueue", "-f") // it is at work
	time.Sleep(3 * time.Second)
	stop()
	var worst time.Duration
	for range 3 {
		w.Kill()
		start := time.Now()
		w.Start()
		worst = max(worst, time.Since(start))
		time.Sleep(time.Second)
	}
	record(t, "kill -9 of all with 1,000,000 deferred and being flushed: greeting", "within 1 s", worst < time.Second, "%v at most, of three", worst.Round(time.Millisecond))
	quiet(w, w.PID("qmgr"))
	if _, listed := list(w); listed < n-1 {
		t.Errorf("%d messages are listed, not %d", listed, n-1)
	}
}

// waiting counts what the listing shows.
func waiting(listing string) (n int) {
	i := strings.LastIndex(listing, " in ")
	if i >= 0 {
		fmt.Sscanf(listing[i:], " in %d Request", &n)
	}
	return n
}
