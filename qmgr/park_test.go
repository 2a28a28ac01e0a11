package qmgr

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	libagent "postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

var sent = mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "250 ok"}

// blocked has slow.test's deliveries hang until the channel is closed.
func (s *site) blocked() (open chan bool) {
	open = make(chan bool)
	s.set(func(r *libagent.Request) proto.Result {
		if r.NextHop == "slow.test" {
			<-open
		}
		return all(r, sent)
	})
	return open
}

// counts counts a listing by queue.
func (s *site) counts() map[string]int {
	in := map[string]int{}
	for _, l := range s.queue() {
		q, _, _ := strings.Cut(l, " ")
		in[q]++
	}
	return in
}

const parkActive = 60

// parkingSite has a small active queue and little memory for references.
func parkingSite(t *testing.T) *site {
	s := newSite(t, fmt.Sprintf("qmgr_message_active_limit = %d", parkActive), fmt.Sprintf("qmgr_message_recipient_limit = %d", parkActive))
	ask(s.m, func() bool { s.m.parking.most, s.m.parking.newest = 300, 200; return true })
	return s
}

// Whatever waits for a destination that does not move, in memory, in the volatile file
// and with a state record, keeps nobody else out, is listed, obeys the operator, and is
// delivered once in the end.
func TestParked(t *testing.T) {
	s := parkingSite(t)
	open := s.blocked()
	const n = 1200
	var ids []mail.QueueID
	for i := range n {
		ids = append(ids, s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u%d@slow.test", i))}))
	}
	s.until("parked", func() bool {
		in := s.counts()
		return in["active"]+in["incoming"]+in["deferred"] == n && in["active"] <= parkActive
	})
	in := s.counts()
	if in["incoming"] != 200 || in["active"] < 10 {
		t.Errorf("listed %v", in)
	}
	if m := ask(s.m, func() [2]int { return [2]int{s.m.parking.memory, len(s.m.parking.lists)} }); m[0] > 450 || m[1] != 1 {
		t.Errorf("%d references in memory, %d lists", m[0], m[1])
	}
	healthy := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@well.test")})
	both := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("v@slow.test", "u@well.test")})
	s.logged("%s: removed", healthy)
	s.until("the half that can go goes", func() bool { return s.attempts(both, "u@well.test") == 1 })

	// What waits obeys: deleted, on hold, tried at once, and all that differently for
	// mail with a state record and without.
	early, late := ids[100], ids[n-1]
	if q := s.queue(); !slices.Contains(q, "incoming "+string(early)) || !slices.Contains(q, "deferred "+string(late)) {
		t.Fatalf("%s and %s are not where they should be in %v", early, late, q)
	}
	s.do(proto.VerbDelete, early)
	s.do(proto.VerbDelete, late)
	s.do(proto.VerbHold, ids[101])
	s.do(proto.VerbHold, ids[n-2])
	if in := s.counts(); in["hold"] != 2 {
		t.Errorf("listed %v", in)
	}
	close(open)
	gone := map[mail.QueueID]bool{early: true, late: true, ids[101]: true, ids[n-2]: true}
	s.until("all delivered", func() bool { return len(s.queue()) == 2 })
	for i, id := range ids {
		want := 1
		if gone[id] {
			want = 0
		}
		if got := s.attempts(id, fmt.Sprintf("u%d@slow.test", i)); got != want {
			t.Errorf("%s: %d attempts, want %d", id, got, want)
		}
	}
	if s.attempts(both, "v@slow.test") != 1 || s.attempts(both, "u@well.test") != 1 {
		t.Error("the one for both is not delivered once")
	}
	s.do(proto.VerbRelease, ids[101])
	s.do(proto.VerbRelease, ids[n-2])
	s.only()
	if left := ask(s.m, func() string { return s.m.left() }); left != "" {
		t.Error(left)
	}
}

// left says what memory keeps of mail though there is none.
func (m *manager) left() string {
	if n := len(m.parking.lists) + len(m.parking.hashes) + m.parking.again.n + m.parking.memory + m.spool.Parking(); n > 0 {
		return fmt.Sprintf("%d lists, %d hashes, %d again, %d in memory, %d new", len(m.parking.lists), len(m.parking.hashes), m.parking.again.n, m.parking.memory, m.spool.Parking())
	}
	if len(m.led) > 0 {
		return fmt.Sprintf("%d led", len(m.led))
	}
	if n := len(m.active) + len(m.byRef) + len(m.bumped) + len(m.deleted); n > 0 {
		return fmt.Sprintf("%d active, %d by place, %d bumped, %d deleted", len(m.active), len(m.byRef), len(m.bumped), len(m.deleted))
	}
	return ""
}

// The same for what was deferred and is flushed, in which one for a healthy destination
// is the last; and a kill in between repeats nothing.
func TestParkedFlushed(t *testing.T) {
	s := parkingSite(t)
	s.set(func(r *libagent.Request) proto.Result { return all(r, busy) })
	const n = 1000
	for i := range n {
		s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u%d@slow.test", i))})
	}
	healthy := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@well.test")})
	s.until("deferred", func() bool { return s.counts()["deferred"] == n+1 })
	open := s.blocked()
	puts := ask(s.m, func() int64 { return s.m.spool.Stats().RunBytes })
	s.flush()
	s.logged("%s: removed", healthy)
	if wrote := ask(s.m, func() int64 { return s.m.spool.Stats().RunBytes }) - puts; wrote > n*100 {
		t.Errorf("a flush wrote state records: %d bytes", wrote)
	}
	s.until("parked", func() bool {
		in := s.counts()
		return in["active"] <= parkActive && in["active"] >= 10 && in["deferred"] == n-in["active"]
	})
	s.kill()
	s.start()
	ask(s.m, func() bool { s.m.parking.most = 300; return true })
	s.flush()
	s.until("parked again", func() bool { return ask(s.m, func() bool { return s.m.machine.Stats().Messages >= 10 }) })
	close(open)
	s.only()
	s.mu.Lock()
	for key, got := range s.tried {
		if got != 2 {
			t.Errorf("%s: %d attempts", key, got)
		}
	}
	s.mu.Unlock()
	if left := ask(s.m, func() string { return s.m.left() }); left != "" {
		t.Error(left)
	}
}

// A list gives back what was put into it, in order, by way of the file and two lists
// joined without loss.
func TestParkedList(t *testing.T) {
	var p parking
	p.init()
	p.most = 500
	f, err := openVolatile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.file = f
	a, b := p.list(sched.Parking{Transport: "smtp", Name: "a"}), p.list(sched.Parking{Transport: "smtp", Name: "b"})
	next := map[*parkedList]int64{}
	put := map[*parkedList]int64{}
	for round := range 3 {
		for range 3000 {
			for _, l := range []*parkedList{a, b} {
				p.push(l, parked{spool.Parked{}, put[l]})
				put[l]++
			}
		}
		for range 1000 * (round + 1) {
			x, err := p.pop(a)
			if err != nil || x.alarm != next[a] {
				t.Fatalf("got %d, %v, want %d", x.alarm, err, next[a])
			}
			next[a]++
		}
	}
	if p.memory > 800 {
		t.Errorf("%d in memory", p.memory)
	}
	want := a.n + b.n
	p.join(a, b)
	seen := map[int64]int{}
	for range want {
		x, err := p.pop(a)
		if err != nil {
			t.Fatal(err)
		}
		seen[x.alarm]++
	}
	if a.n != 0 || b.n != 0 || p.memory != 0 || len(seen) != 9000 || int64(len(p.free)) != p.end {
		t.Errorf("%d and %d left, %d in memory, %d of 9000 seen, %d of %d blocks free", a.n, b.n, p.memory, len(seen), len(p.free), p.end)
	}
}

func (s *site) flush() {
	s.t.Helper()
	if _, err := s.operator().Do(&proto.Verb{Kind: proto.VerbFlush}); err != nil {
		s.t.Fatal(err)
	}
}
