package spool

import (
	"io"
	"testing"
	"time"
)

// listedIn counts a listing by queue.
func listedIn(t *testing.T, q *Queue) map[string]int {
	t.Helper()
	s := q.Snapshot()
	defer s.Close()
	in := map[string]int{}
	for {
		it, err := s.Next()
		if err == io.EOF {
			return in
		}
		if err != nil {
			t.Fatal(err)
		}
		in[it.Queue]++
	}
}

func TestPark(t *testing.T) {
	r := newRig(t, 1)
	a, b, c, d := r.send(2), r.send(1), r.send(1), r.send(1)
	where := map[string]Parked{}
	park := func(ms []*Message, put bool) {
		for _, m := range ms {
			var p Parked
			if put {
				p = r.q.PutParked(m, 9)
			} else {
				p = r.q.Park(m)
			}
			if x := LoadParked(p.AppendBinary(nil)); x != p {
				t.Errorf("%+v read back as %+v", p, x)
			}
			where[string(m.Envelope.ID)] = p
		}
	}
	ms := r.tail()
	park(ms[:3], false)
	park(ms[3:], true)
	since := ms[0].State.Since
	r.expect("given again", append(r.tail(), r.due()...))
	if in := listedIn(t, r.q); in[InIncoming] != 3 || in[InDeferred] != 1 {
		t.Errorf("listed %v", in)
	}
	if !where[a].New() || where[d].New() || r.q.Parking() != 3 {
		t.Errorf("parked: %+v, %d", where, r.q.Parking())
	}
	r.pass(time.Minute)
	r.q.Done(ms[0].Ref, 1) // a report took one over meanwhile
	r.q.Delete(r.targets(b))
	r.q.Hold(r.targets(c))
	open := func(id string) *Message {
		m, err := r.q.Open(where[id])
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		return m
	}
	m := open(a)
	if m == nil || !m.State.Done.Has(1) || m.State.Done.Has(0) || !m.State.Since.Equal(since) {
		t.Fatalf("opened: %+v", m)
	}
	if open(a) != nil || open(b) != nil {
		t.Error("opened what is open, or deleted")
	}
	r.deferAll(m, time.Minute)
	if open(a) != nil {
		t.Error("an old place is still good")
	}
	if m := open(c); m == nil || !m.Held {
		t.Errorf("held: %+v", m)
	} else {
		r.q.Put(m, r.q.Fresh(m))
	}
	if m := open(d); m == nil || len(m.State.Groups) != 1 || !m.State.Since.Equal(since) {
		t.Errorf("put: %+v", m)
	} else {
		park([]*Message{m}, false)
	}
	r.sync()
	r.kill()
	r.expect("tail after a start", r.tail())
	r.expect("due after it", r.due(), d)
	if len(r.corrupt()) != 0 {
		t.Errorf("corrupt/: %v", r.corrupt())
	}
}

// Mail that is due may be parked by its hint, without being read.
func TestDueOr(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	since := r.q.Now()
	for i, m := range r.tail() {
		m.State.Dest = uint64(7 + i)
		r.deferAll(m, 5*time.Minute)
	}
	r.pass(6 * time.Minute)
	var p Parked
	r.q.Due(0) // the run is read
	r.read()
	park := func(h Hint, at Parked) bool {
		if h.Dest != 7 {
			return false
		}
		if h.NullSender || since.Sub(h.Since).Abs() > time.Second {
			t.Errorf("hint: %+v", h)
		}
		p = at
		return true
	}
	if _, err := r.q.DueOr(10, park); err != nil { // the messages are read
		t.Fatal(err)
	}
	r.read()
	ms, err := r.q.DueOr(10, park)
	if err != nil {
		t.Fatal(err)
	}
	r.expect("due", ms, b)
	r.expect("due again", r.due())
	m, err := r.q.Open(p)
	if err != nil || m == nil || string(m.Envelope.ID) != a {
		t.Fatalf("opened %v, %v", m, err)
	}
}

// park gives an open message back.
func (w *twin) park() {
	id, t, m := w.opened()
	if m == nil || len(t.left()) == 0 {
		return
	}
	var p Parked
	if w.rnd.IntN(3) == 0 {
		if !m.Deferred() {
			now := w.q.Now()
			for _, n := range t.left() {
				t.dues[n] = now.Truncate(time.Millisecond)
			}
		}
		p = w.q.PutParked(m, 1)
	} else {
		p = w.q.Park(m)
	}
	w.parkedAt = append(w.parkedAt, p)
	w.note("park %s", id)
}

// unpark opens all that is parked again.
func (w *twin) unpark() {
	kept := w.parkedAt[:0]
	for _, p := range w.parkedAt {
		m, err := w.q.Open(LoadParked(p.AppendBinary(nil)))
		if err != nil {
			kept = append(kept, p)
			continue
		}
		if m != nil {
			if t := w.all[string(m.Envelope.ID)]; t == nil || len(t.left()) > 0 && m.State.Done.Len() == t.rcpts {
				w.fail("%s is opened, which is %+v", m.Envelope.ID, t)
			}
		}
	}
	w.parkedAt = kept
	w.trace = append(w.trace, "unpark")
}
