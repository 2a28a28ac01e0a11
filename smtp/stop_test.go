package smtp

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
)

// TestStop: at a stop, what is past the final dot gets its reply; everything else is
// given up at once and not reported as tried.
func TestStop(t *testing.T) {
	after := make(chan struct{})
	past := listen(t, "127.0.0.1:0", script{".": {"250 2.0.0 late"}})
	past.onDot = func() { <-after }
	r := newRig(t, "127.0.0.1:1")
	to := func(s *server) string { return fmt.Sprintf("[127.0.0.1]:%d", s.port()) }
	late := r.ask(deliverTo(to(past), testMail, "a"))
	var others []<-chan proto.Result
	for _, verb := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA"} {
		s := listen(t, "127.0.0.1:0", script{verb: {"hang"}})
		others = append(others, r.ask(deliverTo(to(s), testMail, "a")))
		until(t, verb, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.counts[verb] > 0 })
	}
	until(t, "the dot", func() bool { return len(past.got()) == 1 })

	stopped := make(chan struct{})
	go func() {
		r.c.stop()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		r.a.Stop(ctx)
		close(stopped)
	}()
	for _, c := range others {
		if res := wait(t, c); len(res.Recipients) != 0 || res.Hop.Class != mail.Sent {
			t.Errorf("reported: %s", render(res))
		}
	}
	select {
	case <-stopped:
		t.Error("did not wait for the reply")
	default:
	}
	close(after)
	if got := render(wait(t, late)); got != "10 sent 2.0.0 250 2.0.0 late\n" {
		t.Error(got)
	}
	<-stopped
	if log := r.lines(); strings.Count(log, "\n") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// TestHandover: qmgr dies while deliveries are between dot and reply; the next one
// gets every result, and nothing was sent twice.
func TestHandover(t *testing.T) {
	const n = 50
	after := make(chan struct{})
	s := listen(t, "127.0.0.1:0", nil)
	s.onDot = func() { <-after }
	r := newRig(t, "127.0.0.1:1")
	var results []<-chan proto.Result
	for range n {
		results = append(results, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")))
	}
	until(t, "all dots", func() bool { return len(s.got()) == n })
	r.conn.Close()
	r.attach()
	close(after)
	for _, c := range results {
		if got := render(wait(t, c)); !strings.HasPrefix(got, "10 sent") {
			t.Error(got)
		}
	}
	if len(s.got()) != n {
		t.Errorf("%d messages", len(s.got()))
	}
	until(t, "acknowledgement", func() bool { return r.a.InHand() == 0 })
}

// TestLeaks: many deliveries with all kinds of ends leave no goroutine and no
// descriptor behind.
func TestLeaks(t *testing.T) {
	fds := func() int {
		l, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	r := newRig(t, "127.0.0.1:1", "smtp_connection_cache_time_limit=1s")
	var servers []*server
	for _, over := range []script{nil, {"MAIL": {"close"}}, {"greeting": {"421 x"}}, {".": {"close"}}, {"RCPT": {"550 x"}}, {"EHLO": {"reset"}}} {
		servers = append(servers, listen(t, "127.0.0.1:0", over))
	}
	round := func() {
		var results []<-chan proto.Result
		for range 20 {
			for _, s := range servers {
				results = append(results, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")))
			}
		}
		body := strings.Repeat("0123456789abcd\r\n", 8000)
		results = append(results, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", servers[0].port()), body, "a")))
		for _, c := range results {
			wait(t, c)
		}
		for _, s := range servers {
			until(t, "the end of all sessions", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.open == 0 })
		}
		until(t, "no live session", func() bool { r.c.live.mu.Lock(); defer r.c.live.mu.Unlock(); return len(r.c.live.sessions) == 0 })
	}
	round()
	g, f := runtime.NumGoroutine(), fds()
	round()
	until(t, "as few goroutines and descriptors as before", func() bool { return runtime.NumGoroutine() <= g+4 && fds() <= f+2 })
}
