//go:build scale

package scale

import (
	"fmt"
	"testing"
	"time"
)

// TestBlackHoles: 10,000 destinations get five messages each. One half of them drops
// every packet, the other takes connections and never greets. All timeouts and limits
// are the default; the flow to the healthy destination is of 20 messages a second, and
// it is looked at through the first wave of retries.
func TestBlackHoles(t *testing.T) {
	const port, minutes = "2626", 8
	destinations, each := many(10_000), 5
	w := newWorld(t, "smtp:"+dead, "smtp_tcp_port = "+port, "unproven_destination_share = 50", "relayhost =")
	var silent Silent
	silent.Listen(t, ":"+port) // of this network namespace
	w.Start()
	f, stop := w.healthy("h", 20)
	w.until("mail for the healthy one", 5*time.Second, func() bool { return f.Arrived() > 0 })
	begin := time.Now()
	w.feed(destinations*each, func(i int) string { return hole(i % destinations) })
	record(t, "messages for 10,000 black holes, accepted beside the flow", "", true, "%d in %.0f s", destinations*each, time.Since(begin).Seconds())
	q, s := w.PID("qmgr"), w.PID("smtp")
	for m := range minutes {
		from := begin.Add(time.Duration(m) * time.Minute)
		time.Sleep(time.Until(from.Add(time.Minute)))
		x := f.Times(from, from.Add(time.Minute), 2*time.Second)
		what := fmt.Sprintf("healthy mail beside 10,000 black holes with 50,000 messages, minute %d", m+1)
		record(t, what, "99 % within 1 s", x.Within(time.Second) >= 99, "%v", x)
	}
	stop()
	record(t, "smtp and qmgr beside the black holes", "", true, "smtp: %d MB at most, %d threads; silent connections at once %d, in all %d; qmgr: %d MB at most",
		Peak(s), Status(s, "Threads"), silent.Most.Load(), silent.Total.Load(), Peak(q))
}

// hole is a recipient at the n-th black hole: even ones drop packets, odd ones never greet.
func hole(n int) string {
	net := "10.1"
	if n%2 == 1 {
		net = "127.200"
	}
	return fmt.Sprintf("r@[%s.%d.%d]", net, n/200, 1+n%200)
}

// TestNewcomer: a destination that nobody knew has its first mail when black holes hold
// all that they may.
func TestNewcomer(t *testing.T) {
	const port = "2626"
	destinations := many(10_000)
	w := newWorld(t, "smtp:"+dead, "smtp_tcp_port = "+port, "unproven_destination_share = 50", "relayhost =")
	var silent Silent
	silent.Listen(t, ":"+port)
	w.Start()
	w.feed(destinations, hole)
	w.until("slots to be used up", time.Minute, func() bool { return silent.Open.Load() >= 20 })
	begin := time.Now()
	f, stop := w.healthy("n", 5)
	first := w.until("its first mail", 10*time.Minute, func() bool { return f.Arrived() > 0 || time.Since(begin) > 3*time.Minute })
	time.Sleep(10 * time.Second)
	from := time.Now()
	time.Sleep(20 * time.Second)
	stop()
	x := f.Times(from, time.Now(), 2*time.Second)
	record(t, "first mail for a destination that was never seen, when 10,000 black holes hold their share", "within a minute", f.Arrived() > 0 && first < time.Minute,
		"%.1f s; ten seconds later %v", first.Seconds(), x)
}
