//go:build scale

package scale

import (
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/sink"
)

// TestBlocked: a million messages for one destination that does not take them, and now
// and then one for another.
func TestBlocked(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		var silent Silent
		silent.Listen(t, "127.200.0.1:2626")
		blocked(t, "that never answers", "smtp:[127.200.0.1]:2626")
	})
	t.Run("dead", func(t *testing.T) { blocked(t, "that refuses connections", "smtp:"+dead) })
	t.Run("slow", func(t *testing.T) {
		s := sink.New(t, nil)
		s.Handle(false, func(*sink.Mail) {})
		blocked(t, "with a rate of 1/s", "slow:"+s.NextHop())
	})
}

// blocked looks at three moments: the million is new, it becomes due at once, and it is
// flushed.
func blocked(t *testing.T, kind, nextHop string) {
	n := many(1_000_000)
	transport, name, _ := strings.Cut(nextHop, ":")
	dest := Dest(transport, name)
	system := func(due func() time.Time) *world {
		w := newWorld(t, nextHop, "unproven_destination_share = 50", "slow_destination_rate_delay = 1s")
		w.AddService("slow unix - - n - - smtp")
		arrival := time.Now().Add(-2 * time.Hour)
		w.fill(n, func(int) Letter {
			l := Letter{To: []mail.Address{"r@blocked.test"}, Arrival: arrival}
			if l.Due = due(); !l.Due.IsZero() {
				l.Attempts, l.Status, l.Dest = 4, refused, dest
			}
			return l
		})
		return w
	}
	t.Run("new", func(t *testing.T) {
		w := system(func() time.Time { return time.Time{} })
		w.Start()
		begin := time.Now()
		f, stop := w.healthy("first", 10)
		first := w.until("the first single message", time.Minute, func() bool { return f.Arrived() > 0 })
		stop()
		mb := Peak(w.PID("qmgr"))
		record(t, "start with 1,000,000 that qmgr has not seen, all for a destination "+kind+": first delivery of another", "qmgr under 128 MB", mb < 128, "%.1f s; qmgr %d MB at most",
			first.Seconds(), mb)
		f.Times(begin, time.Now(), 20*time.Second)
		w.beside(kind + ", new")
		w.Kill()
	})
	t.Run("due", func(t *testing.T) {
		due := time.Now().Add(time.Duration(n)*50*time.Microsecond + 10*time.Second)
		w := system(func() time.Time { return due })
		w.Start()
		if time.Now().After(due) {
			t.Fatalf("the backlog took %v too long to make", time.Since(due))
		}
		time.Sleep(time.Until(due.Add(-2 * time.Second)))
		w.beside(kind + ", due at once")
		w.Kill()
	})
	t.Run("flush", func(t *testing.T) {
		due := time.Now().Add(2 * time.Hour)
		w := system(func() time.Time { return due })
		w.Start()
		time.AfterFunc(2*time.Second, func() { w.Try("", "postqueue", "-f") })
		w.beside(kind + ", flushed")
		w.Kill()
	})
}

// beside sends ten messages a second to the healthy destination for a minute.
func (w *world) beside(what string) {
	w.t.Helper()
	begin := time.Now()
	q := w.PID("qmgr")
	before := EffortOf(q)
	f, stop := w.healthy("b", 10)
	time.Sleep(time.Minute)
	stop()
	x := f.Times(begin, time.Now(), 5*time.Second)
	t := w.t
	record(t.(*testing.T), "single messages behind 1,000,000 for a destination "+what, "within 1 s", x.Within(time.Second) >= 99.5,
		"%v; qmgr %d MB at most, %.0f s of processor time in the minute", x, Peak(q), EffortOf(q).Since(before).CPU.Seconds())
}
