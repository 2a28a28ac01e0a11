package scale

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/test/sink"
)

// In these tests nine tenths of the healthy mail have to arrive within a second, since
// others may use the machine; without the cure it is less than one tenth.

// TestBacklogSmall: fifty thousand messages that are not due do not keep back the one
// that is, cost nothing, and are put on hold without being in memory all at once.
func TestBacklogSmall(t *testing.T) {
	const n = 50_000
	w := newWorld(t, "smtp:"+dead)
	now := time.Now()
	w.fill(n, func(i int) Letter {
		l := Letter{Arrival: now.Add(-time.Hour), Attempts: 3, Status: refused, Due: now.Add(time.Hour + time.Duration(i%7200)*time.Second),
			To: []mail.Address{mail.Address(fmt.Sprintf("r%d@d%d.test", i, i%500))}}
		if i == n/2 {
			l.To[0], l.Due = "r@good.test", now
		}
		return l
	})
	var got atomic.Int64
	w.good.Handle(false, func(*sink.Mail) { got.Add(1) })
	w.Start()
	w.until("the message that is due", 20*time.Second, func() bool { return got.Load() == 1 })
	q := w.PID("qmgr")
	w.until("two tenths of a second in which qmgr does nothing", 10*time.Second, func() bool {
		before := EffortOf(q)
		time.Sleep(200 * time.Millisecond)
		used := EffortOf(q).Since(before)
		return used.CPU == 0 && used.Switches <= 2
	})
	out := w.Run("postsuper", "-h", "ALL")
	if want := fmt.Sprintf("Placed on hold: %d messages", n-1); out.Code != 0 || !strings.Contains(out.Stderr, want) {
		t.Errorf("postsuper -h ALL: exit code %d: %s", out.Code, out.Stderr)
	}
	if mb := Peak(q); mb > 40 {
		t.Errorf("qmgr needed %d MB", mb)
	}
}

// TestHolesSmall: two hundred destinations that take connections and never greet leave
// half of the slots to those that work.
func TestHolesSmall(t *testing.T) {
	const holes = 200
	port := quietPort(t)
	w := newWorld(t, "smtp:"+dead, "smtp_tcp_port = "+port, "default_process_limit = 20", "unproven_destination_share = 50", "relayhost =")
	var silent Silent
	addrs := silentAddrs(holes, port)
	silent.Listen(t, addrs...)
	w.Start()
	begin := time.Now()
	f, stop := w.healthy("h", 50)
	w.until("mail for the healthy one", 20*time.Second, func() bool { return f.Arrived() > 0 })
	w.feed(5*holes, func(i int) string { return string(literal(host(addrs[i%holes]))) })
	w.until("the holes to be tried", 20*time.Second, func() bool { return silent.Open.Load() >= 9 })
	time.Sleep(2 * time.Second)
	stop()
	if x := f.Times(begin, time.Now(), 2*time.Second); x.Within(2*time.Second) < 90 || len(x.All) < 50 {
		t.Errorf("healthy mail: %v", x)
	}
	if most := silent.Most.Load(); most > 10 {
		t.Errorf("%d slots of 20 for destinations that never worked", most)
	}
}

// TestSilentSmall: ten thousand messages for one destination that takes connections and
// never greets, twenty times as many as may be active, keep nobody else waiting: neither
// when they are new nor when they are flushed.
func TestSilentSmall(t *testing.T) {
	port := quietPort(t)
	w := newWorld(t, "smtp:[127.200.0.1]:"+port, "qmgr_message_active_limit = 500")
	var silent Silent
	silent.Listen(t, "127.200.0.1:"+port)
	now := time.Now()
	w.fill(10_000, func(i int) Letter {
		l := Letter{Arrival: now.Add(-time.Hour), To: []mail.Address{"r@blocked.test"}}
		if i < 5000 { // the others are new
			l.Due, l.Attempts, l.Status, l.Dest = now.Add(time.Hour), 3, refused, Dest("smtp", "[127.200.0.1]:"+port)
		}
		return l
	})
	w.Start()
	w.until("the silent one to be tried", 20*time.Second, func() bool { return silent.Open.Load() > 0 })
	begin := time.Now()
	f, stop := w.healthy("b", 50)
	time.Sleep(time.Second)
	w.Must("postqueue", "-f")
	time.Sleep(time.Second)
	stop()
	if x := f.Times(begin, time.Now(), 2*time.Second); x.Within(2*time.Second) < 90 || len(x.All) < 50 {
		t.Errorf("healthy mail: %v", x)
	}
}
