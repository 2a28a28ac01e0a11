//go:build scale

package scale

import (
	"fmt"
	"testing"
	"time"

	"postrider/lib/mail"
)

// TestBlackHoles: at the start 10,000 destinations that were never tried have five
// messages each. One half drops every packet, the other takes connections and never
// greets. All timeouts and limits are the default; the flow to the healthy destination
// is of 20 messages a second from the first second on, through the first wave of retries.
func TestBlackHoles(t *testing.T) {
	const port, minutes = "2626", 8
	destinations, each := many(10_000), 5
	w := newWorld(t, "smtp:"+dead, "smtp_tcp_port = "+port, "unproven_destination_share = 50")
	var silent Silent
	silent.Listen(t, ":"+port) // of this network namespace
	now := time.Now()
	w.fill(destinations*each, func(i int) Letter {
		d := i % destinations
		host := fmt.Sprintf("10.1.%d.%d", d/200, 1+d%200)
		if d%2 == 1 {
			host = fmt.Sprintf("127.200.%d.%d", d/200, 1+d%200)
		}
		return Letter{Arrival: now, To: []mail.Address{literal(host)}}
	})
	w.Start()
	begin := time.Now()
	f, stop := w.healthy("h", 20)
	q, s := w.PID("qmgr"), w.PID("smtp")
	for m := range minutes {
		from := begin.Add(time.Duration(m) * time.Minute)
		time.Sleep(time.Until(from.Add(time.Minute)))
		x := f.Times(from, from.Add(time.Minute), 2*time.Second)
		what := fmt.Sprintf("healthy mail beside %d black holes with %d messages, minute %d", destinations, destinations*each, m+1)
		record(t, what, "99 % within 1 s", x.Within(time.Second) >= 99, "%v", x)
	}
	stop()
	record(t, "smtp and qmgr meanwhile", "", true, "smtp: %d MB at most, %d threads; silent connections at once %d, in all %d; qmgr: %d MB at most",
		Peak(s), Status(s, "Threads"), silent.Most.Load(), silent.Total.Load(), Peak(q))
}
