package qmgr

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/mailq"
	"postrider/lib/proto"
)

// says waits until what is said of a message matches.
func (s *site) says(id mail.QueueID, pattern string) {
	s.t.Helper()
	q := s.operator()
	defer q.Close()
	var b bytes.Buffer
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b.Reset()
		w := mailq.NewWhy(&b, "MAILER-DAEMON", time.Now())
		if err := q.Why([]string{string(id)}, func(r *proto.Reason) error { w.Reason(r); return nil }); err != nil {
			s.t.Fatal(err)
		}
		w.Close()
		if re.MatchString(b.String()) {
			return
		}
	}
	s.t.Fatalf("%q is not in\n%s", pattern, b.String())
}

// hanging makes every delivery wait until the test is over.
func (s *site) hanging() {
	c := make(chan struct{})
	s.t.Cleanup(sync.OnceFunc(func() { close(c) }))
	s.set(func(r *libagent.Request) proto.Result {
		<-c
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
	})
}

// Each thing that may be waited for is named, with its figure and its setting.
func TestWhyKinds(t *testing.T) {
	letter := func(s *site, rcpt string) mail.QueueID {
		return s.submit(mail.Envelope{Sender: "a@b.test", Recipients: to(rcpt)})
	}
	for _, c := range []struct {
		name     string
		settings []string
		hop      string // of the last, when not that of the others
		before   int    // messages that go first
		want     string
	}{
		{"window", []string{"default_destination_concurrency_limit = 2", "initial_destination_concurrency = 2"}, "", 3,
			`waits for a connection: window 2 of default_destination_concurrency_limit 2, 2 in use, 1 before it\n`},
		{"rate", []string{"smtp_destination_rate_delay = 100s"}, "", 1,
			`waits for a connection: window 1 of smtp_destination_rate_delay 100s, 1 in use\n`},
		{"pace", []string{"smtp_transport_rate_delay = 100s"}, "other.test", 1,
			`waits for the pause of the transport smtp \(smtp_transport_rate_delay = 100s\), next in 1m\d`},
		{"slots", []string{"unproven_destination_share = 0", "default_process_limit = 3", "default_destination_concurrency_limit = 1"}, "other.test", 0,
			`waits for a slot of smtp: 3 of 3 in use \(maxproc of smtp in master\.cf\)\n`},
		{"share", []string{"default_process_limit = 2", "unproven_destination_share = 50"}, "other.test", 1,
			`waits for a slot: destinations without a recent success have 1 of the 1 that they may have together \(unproven_destination_share = 50\)`},
		{"parked", []string{"qmgr_message_active_limit = 4", "qmgr_message_recipient_limit = 4"}, "", 10,
			`incoming, .*\n.*\n    waiting, not tried yet\n    parked: its destination has \d deliveries in the active queue and may not take more of it now \(its share of qmgr_message_active_limit = 4\); parked for it: \d\n`},
		{"result", nil, "", 0, `active, not tried yet\n    in hand: smtp\.0 is delivering it since `},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, append(c.settings, "relayhost =")...)
			s.hanging()
			for n := range c.before {
				letter(s, fmt.Sprintf("r%d@x.test", n))
			}
			if c.name == "slots" {
				for n := range 3 {
					letter(s, fmt.Sprintf("r@slot%d.test", n))
				}
			}
			if c.before+len(c.hop) > 0 {
				first := 1
				if c.name == "slots" {
					first = 3
				}
				s.until("the first", func() bool { return s.attemptsInAll() >= first })
			}
			hop := c.hop
			if hop == "" {
				hop = "x.test"
			}
			s.says(letter(s, "last@"+hop), c.want)
		})
	}

	t.Run("pause", func(t *testing.T) {
		s := newSite(t, "smtp_destination_rate_delay = 100s")
		letter(s, "r@x.test")
		s.until("the first", func() bool { return s.attemptsInAll() == 1 && len(s.queue()) == 0 })
		a, b := letter(s, "r1@x.test"), letter(s, "r2@x.test")
		s.says(a, `waits for the pause of the destination \(smtp_destination_rate_delay = 100s\), next in 1m\d`)
		s.says(b, `next in 1m[\d.]+s, 1 before it\n`)
	})
	t.Run("agent", func(t *testing.T) {
		s := newSite(t)
		s.until("the agent", func() bool { return ask(s.m, func() bool { return s.m.agents["smtp.0"] != nil }) })
		ask(s.m, func() bool { s.m.agentDown(s.m.agents["smtp.0"], nil); return true })
		s.says(letter(s, "r@x.test"), `waits for smtp, which is not running; master starts it again\n`)
	})
	t.Run("log", func(t *testing.T) {
		s := newSite(t)
		s.hanging()
		id := letter(s, "r@x.test")
		s.says(id, "in hand")
		s.m.post(func() { // as dispatch does when Reserve has no room
			clear(s.m.inHand)
		})
		s.says(id, `waits for room in the log of the queue: is the disk full\?\n`)
	})
	t.Run("dead", func(t *testing.T) {
		s := newSite(t, "minimal_backoff_time = 500s", "default_destination_concurrency_failed_cohort_limit = 1", "initial_destination_concurrency = 1")
		s.set(func(r *libagent.Request) proto.Result {
			st := mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to x: refused"}
			res := all(r, st)
			res.Hop = st
			return res
		})
		first := letter(s, "r@x.test")
		s.says(first, `the destination is dead since .* after 1 failure: connect to x: refused; next probe: .*, in 8m\d+s \(minimal_backoff_time = 500s\)\n`)
		s.says(letter(s, "r2@x.test"), `deferred, not tried yet\n    last reply: delivery temporarily suspended: connect to x: refused\n`)
	})
	t.Run("passed over", func(t *testing.T) {
		s := newSite(t, "minimal_backoff_time = 100s", "maximal_backoff_time = 100s", "default_destination_concurrency_failed_cohort_limit = 2", "initial_destination_concurrency = 1")
		s.set(func(r *libagent.Request) proto.Result {
			st := mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to x: refused"}
			res := all(r, st)
			res.Hop = st
			return res
		})
		early := letter(s, "r@x.test")
		s.says(early, `next attempt: .*, in 1m[34]`)
		s.reload("minimal_backoff_time = 500s", "maximal_backoff_time = 600s")
		s.says(letter(s, "r2@x.test"), `the destination is dead`)
		s.says(early, `next probe: .*, in 8m.*\n    next attempt: .*, in (9|10)m\d*s?\n`) // it is due while the destination is dead
	})
	t.Run("name", func(t *testing.T) {
		s := newSite(t, "relayhost =")
		s.says(letter(s, "r@hang.test"), `active, waiting, not tried yet\n    waits for the addresses of hang\.test, which are being looked up\n`)
	})
	t.Run("many", func(t *testing.T) {
		s := newSite(t, "minimal_backoff_time = 500s")
		s.set(func(r *libagent.Request) proto.Result {
			return all(r, mail.Status{Class: mail.Deferred, DSN: "4.2.0", Text: "450 later"})
		})
		var rs []mail.Recipient
		for n := range 3000 {
			rs = append(rs, mail.Recipient{Address: mail.Address(fmt.Sprintf("r%d@x%d.test", n, n%70))})
		}
		id := s.submit(mail.Envelope{Sender: "a@b.test", Recipients: rs})
		s.says(id, `(?s)^\w+  deferred.* and 38 more \(by smtp to x\d+\.test\).* and \d+ recipients in further groups\n`)
		var all int
		q := s.operator()
		defer q.Close()
		q.List(&proto.List{}, func(it *proto.Item) error { all += len(it.Recipients); return nil })
		if all != 3000 {
			t.Errorf("%d recipients are listed", all)
		}
	})
}

// attemptsInAll counts what agents were given.
func (s *site) attemptsInAll() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.tried {
		n += k
	}
	return n
}

// A kill loses what was learned since the last writing and no more: the next qmgr does
// not try a destination that was dead.
func TestSnapshotKill(t *testing.T) {
	s := newSite(t, "minimal_backoff_time = 500s", "initial_destination_concurrency = 1")
	s.set(func(r *libagent.Request) proto.Result {
		st := mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to x: refused"}
		res := all(r, st)
		res.Hop = st
		return res
	})
	dir := filepath.Join(s.dir, "..")
	open := func() {
		st := openState(dir, t.Errorf)
		st.every = 5 * time.Millisecond
		ask(s.m, func() bool { s.m.state = st; s.m.recall(); return true })
	}
	open()
	first := s.submit(mail.Envelope{Sender: "a@b.test", Recipients: to("r@x.test")})
	s.until("the failure", func() bool { return s.attempts(first, "r@x.test") == 1 })
	s.until("the writing", func() bool {
		return ask(s.m, func() bool { return s.m.noted.changes > 0 && s.m.noted.next.IsZero() && !s.m.noted.writing })
	})
	s.kill() // without remember
	s.start()
	open()
	second := s.submit(mail.Envelope{Sender: "a@b.test", Recipients: to("r@x.test")})
	s.says(second, `deferred, not tried yet\n    last reply: delivery temporarily suspended: connect to x: refused`)
	if n := s.attempts(second, "r@x.test"); n != 0 {
		t.Errorf("tried %d times", n)
	}
	s.until("the line in the log", func() bool { return strings.Contains(s.log.String(), "delivery temporarily suspended") })
}
