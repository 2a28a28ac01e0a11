package smtp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestKept: the second message goes by the session of the first, with two writes
// and no RSET.
func TestKept(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	r := newRig(t, "127.0.0.1:1")
	next := fmt.Sprintf("[127.0.0.1]:%d", s.port())
	for range 3 {
		wait(t, r.ask(deliverTo(next, testMail, "a")))
	}
	if s.count() != 1 {
		t.Errorf("%d sessions", s.count())
	}
	one := "MAIL FROM:<s@a.test> SIZE=21\nRCPT TO:<a@b.test>\nDATA\n"
	if got := s.commands() + "\n"; got != "EHLO us.test\n"+one+one+one {
		t.Error(got)
	}
	if log := r.lines(); !strings.Contains(log, "PORT, delay=D") || !strings.Contains(log, "PORT, conn_use=2, delay=D") || !strings.Contains(log, "PORT, conn_use=3, delay=D") {
		t.Error(log)
	}
}

// TestKeptByName: no name is looked up while a session is kept, and a session made
// for one next hop serves another with the same server.
func TestKeptByName(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	r := newRig(t, zone(t, "d.test. 0 IN MX 1 mx.test.", "e.test. 0 IN MX 1 mx.test.", "mx.test. 0 IN A 127.0.0.1"))
	wait(t, r.ask(deliverTo(fmt.Sprintf("d.test:%d", s.port()), testMail, "a")))
	wait(t, r.ask(deliverTo(fmt.Sprintf("e.test:%d", s.port()), testMail, "a")))
	if s.count() != 1 {
		t.Errorf("%d sessions", s.count())
	}
	r.c.env.Store(&environment{make: r.c.env.Load().make}) // no resolver: its use is a panic
	if got := render(wait(t, r.ask(deliverTo(fmt.Sprintf("d.test:%d", s.port()), testMail, "a")))); !strings.HasPrefix(got, "10 sent") {
		t.Error(got)
	}
	d := deliverTo(fmt.Sprintf("d.test:%d", s.port()), testMail, "a")
	d.Service = "relay"
	if got := render(wait(t, r.ask(d))); !strings.Contains(got, "internal error") {
		t.Errorf("relay used the session of smtp, or a panic is no deferral: %s", got)
	}
}

// TestDeadKept: a kept session that the server has ended is replaced silently.
func TestDeadKept(t *testing.T) {
	for _, c := range []struct {
		name string
		over script
	}{
		{"closed after the reply", script{".": {"250 2.0.0 Ok: queued as X+close", "250 2.0.0 Ok: queued as X"}}},
		{"closed at MAIL", script{"MAIL": {"250 ok", "close", "250 ok"}}},
		{"421 at MAIL", script{"MAIL": {"250 ok", "421 4.4.2 idle+close", "250 ok"}}},
		{"reset at MAIL", script{"MAIL": {"250 ok", "reset", "250 ok"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, "127.0.0.1:0", c.over)
			r := newRig(t, "127.0.0.1:1")
			next := fmt.Sprintf("[127.0.0.1]:%d", s.port())
			for i := range 2 {
				if got := render(wait(t, r.ask(deliverTo(next, testMail, "a")))); got != "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n" {
					t.Errorf("message %d: %s", i, got)
				}
			}
			if s.count() != 2 || len(s.got()) != 2 {
				t.Errorf("%d sessions, %d messages", s.count(), len(s.got()))
			}
			if log := r.lines(); strings.Contains(log, "lost") || strings.Contains(log, "said") || strings.Contains(log, "conn_use") {
				t.Error(log)
			}
		})
	}
}

// TestKeptNot: limits end a session; a refused message leaves it in order.
func TestKeptNot(t *testing.T) {
	for _, c := range []struct {
		name, set string
		over      script
		sessions  int
		commands  string // of the second message's beginning
	}{
		{"off", "smtp_connection_cache_on_demand=no", nil, 3, "QUIT"},
		{"count", "smtp_connection_reuse_count_limit=2", nil, 2, "QUIT"},
		{"time", "smtp_connection_reuse_time_limit=0", nil, 3, "QUIT"},
		{"RCPT refused", "", script{"RCPT": {"550 no", "250 ok"}, "DATA": {"554 no", "354 go"}}, 1, "RSET\nMAIL"},
		{"RCPT refused, 354", "", script{"RCPT": {"550 no", "250 ok"}, ".": {"554 no", "250 ok"}}, 1, ""},
		{"MAIL refused", "", script{"MAIL": {"550 no", "250 ok"}, "RCPT": {"503 no", "250 ok"}, "DATA": {"503 no", "354 go"}}, 1, "DATA\nMAIL"},
		{"DATA refused", "", script{"DATA": {"451 no", "354 go"}}, 1, "RSET\nMAIL"},
		{"dot refused", "", script{".": {"554 no", "250 ok"}}, 1, "DATA\nMAIL"},
		{"RSET refused", "", script{"DATA": {"451 no", "354 go"}, "RSET": {"500 no"}}, 2, "RSET\nEHLO"},
		{"one after another, RCPT refused", "", script{"EHLO": {"250 x"}, "RCPT": {"550 no", "250 ok"}}, 1, "RSET\nMAIL"},
		{"one after another, MAIL refused", "", script{"EHLO": {"250 x"}, "MAIL": {"550 no", "250 ok"}}, 1, "test>\nMAIL"},
		{"more than was asked for", "", script{".": {"250 ok\n250 and more"}}, 3, "QUIT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, "127.0.0.1:0", c.over)
			r := newRig(t, "127.0.0.1:1", strings.Fields(c.set)...)
			for range 3 {
				wait(t, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")))
			}
			// The QUIT of one session may be heard after the EHLO of the next.
			until(t, c.commands, func() bool { return strings.Contains(s.commands(), c.commands) })
			if s.count() != c.sessions {
				t.Errorf("%d sessions, want %d\n%s", s.count(), c.sessions, s.commands())
			}
		})
	}
}

// TestNoDemand: a session with a destination that nobody else asks for is not kept.
func TestNoDemand(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	r := newRig(t, "127.0.0.1:1")
	d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")
	d.Keep = false
	wait(t, r.ask(d))
	until(t, "QUIT", func() bool { return strings.HasSuffix(s.commands(), "QUIT") })
}

// TestIdle: an idle session ends with QUIT when its time is up.
func TestIdle(t *testing.T) {
	for _, skip := range []string{"yes", "no"} {
		s := listen(t, "127.0.0.1:0", nil)
		r := newRig(t, "127.0.0.1:1", "smtp_connection_cache_time_limit=1s", "smtp_skip_quit_response="+skip)
		begin := time.Now()
		wait(t, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")))
		until(t, "QUIT", func() bool { return strings.HasSuffix(s.commands(), "QUIT") })
		if d := time.Since(begin); d < time.Second || d > 5*time.Second {
			t.Errorf("after %v", d)
		}
		until(t, "the end of the cache's timer", func() bool {
			r.c.cache.mu.Lock()
			defer r.c.cache.mu.Unlock()
			return r.c.cache.timer == nil && len(r.c.cache.kept) == 0 && r.c.cache.count == 0
		})
		until(t, "no live session", func() bool {
			r.c.live.mu.Lock()
			defer r.c.live.mu.Unlock()
			return len(r.c.live.sessions) == 0
		})
	}
}

// TestManyKept: the cache is bounded.
func TestManyKept(t *testing.T) {
	var c cache
	st := &settings{service: "smtp", keep: true, keepIdle: time.Minute}
	for i := range maxKept + 10 {
		if ok := c.add(st, &session{st: st, best: true}, hopKey{nextHop: fmt.Sprint(i)}, time.Now()); ok != (i < maxKept) {
			t.Fatal(i, ok)
		}
	}
	c.timer.Stop()
}
