package powercut

import (
	"io"
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/spool"
	"postrider/test/ledger"
)

// work is a message that qmgr has in memory.
type work struct {
	*spool.Message
	l       *letter
	rcpts   []progress
	content []byte // as handed to agents
}

type progress struct {
	state    state
	due      time.Time
	attempts uint32
}

// state is where a recipient is; the same as qmgr's.
type state uint8

const (
	finished state = iota
	resting        // not due, or deferred
	waiting        // to be tried
	trying         // in an agent's hands
	failed         // for good, not reported
	replaced       // a report in the journal takes it over
)

func (x *work) numbers(s state) []uint32 {
	var ns []uint32
	for n := range x.rcpts {
		if x.rcpts[n].state == s {
			ns = append(ns, uint32(n))
		}
	}
	return ns
}

// tail takes new messages over and crosses off what they replace.
func (w *world) tail(limit int) int {
	ms, err := w.q.Tail(limit)
	if err != nil && !w.stopped() && !w.lenient() {
		w.fail("tail: %v", err)
	} else if err != nil {
		w.note("tail: %v", err)
	}
	for _, m := range ms {
		w.admit(m)
		if m.Replaced {
			w.crossOff(m)
		}
	}
	return len(ms)
}

// admit takes a message into memory.
func (w *world) admit(m *spool.Message) *work {
	l := w.letters[m.Envelope.ID]
	switch {
	case l == nil:
		w.fail("%s came out of nowhere", m.Envelope.ID)
	case l.fate == refused:
		w.fail("%s was refused and is in the queue", l.id)
	case l.deleted.is && l.deleted.act <= w.synced:
		w.fail("%s was deleted and is given out", l.id)
	case len(m.Envelope.Recipients) != len(l.rcpts):
		w.fail("%s has %d recipients, not %d", l.id, len(m.Envelope.Recipients), len(l.rcpts))
	}
	l.fate = taken
	w.refs[l.id] = m.Ref
	w.note("have %s, done %v, %d groups", l.id, m.State.Done, len(m.State.Groups))
	x := &work{Message: m, l: l, rcpts: make([]progress, len(l.rcpts))}
	now := w.q.Now()
	for n := range x.rcpts {
		if !m.State.Done.Has(uint32(n)) {
			x.rcpts[n].state = waiting
		}
	}
	for _, g := range m.State.Groups {
		for _, n := range g.Recipients {
			p := &x.rcpts[n]
			p.due, p.attempts = g.Due, g.Attempts
			if g.Due.After(now) && !m.Flushed {
				p.state = resting
			} else if g.Status.Class == mail.Bounced {
				p.state = failed
			}
		}
	}
	w.open = append(w.open, x)
	return x
}

// crossOff does to messages in memory what the tailing of m did to the queue.
func (w *world) crossOff(m *spool.Message) {
	r := &m.Envelope.Replaces
	l := w.letters[r.ID]
	for _, n := range r.Recipients {
		l.rcpts[n].over = fact{is: true}
		for _, x := range w.open {
			if x.l == l {
				x.rcpts[n].state = finished
			}
		}
	}
}

// due takes what is due into memory.
func (w *world) due(limit int) int {
	for range 2 { // runs are read, then messages
		if _, err := w.q.Due(0); err != nil && !w.stopped() && !w.lenient() && !w.echo {
			w.fail("due: %v", err)
		}
		w.until("read", func() bool { return !w.q.Reading() })
	}
	ms, err := w.q.Due(limit)
	if err != nil && !w.stopped() && !w.lenient() && !w.echo {
		w.fail("due: %v", err)
	}
	if err == nil && len(ms) < limit { // nothing is left that was read ahead
		w.echo = false
	}
	now := w.q.Now()
	for _, m := range ms {
		x := w.admit(m)
		if x.l.held.is {
			w.fail("%s is on hold and given out", x.l.id)
		}
		if !m.Flushed && m.State.Due().After(now) {
			w.fail("%s is given out %v before its time", x.l.id, m.State.Due().Sub(now))
		}
	}
	return len(ms)
}

// attempt hands recipients of x to an agent.
func (w *world) attempt(x *work) {
	ns := x.numbers(waiting)
	if x.l.deleted.is || x.l.held.is || len(ns) == 0 {
		return
	}
	if len(ns) > 1 && w.rnd.IntN(3) == 0 {
		ns = ns[:1]
	}
	if !w.q.Reserve(x.Message, len(ns)) {
		return
	}
	content, err := w.read(x.Message)
	if err != nil {
		if !w.stopped() && !w.lenient() {
			w.fail("%s: %v", x.l.id, err)
		}
		return
	}
	x.content = content
	for _, n := range ns {
		if x.l.rcpts[n].over.is {
			w.fail("%s to %s is finished and tried again", x.l.id, x.l.rcpts[n].addr)
		}
		x.rcpts[n].state = trying
		x.rcpts[n].attempts++
	}
	w.note("trying %s %v", x.l.id, ns)
}

func (w *world) read(m *spool.Message) ([]byte, error) {
	if m.Large == "" {
		b, _, err := w.q.ReadContent(m, nil)
		return b, err
	}
	f, err := w.q.OpenLarge(m)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, 0, m.Size))
}

// result is what an agent reports for some of what it has of x: percent of it is
// sent, the rest fails for now or for good.
func (w *world) result(x *work, percent int) {
	for _, n := range x.numbers(trying) {
		if w.rnd.IntN(4) == 0 {
			continue // later
		}
		p := &x.rcpts[n]
		switch k := w.rnd.IntN(100); {
		case k < percent:
			w.delivered(x.l, n, x.content)
			p.state = finished
			if w.rnd.IntN(2) == 0 { // else it is written with what becomes of the message
				w.done(x.l, x.Ref, n)
			}
		case k < (100+percent)/2 || x.l.original != nil:
			p.state, p.due = resting, w.later()
		default:
			p.state = failed
		}
	}
	w.conclude(x)
}

func (w *world) later() time.Time {
	return w.q.Now().Add(time.Duration(w.rnd.IntN(200)-5) * time.Minute / time.Duration(1+w.rnd.IntN(40))).Truncate(time.Millisecond)
}

func (w *world) done(l *letter, at ref, n uint32) {
	w.q.Done(at, n)
	w.over(l, n)
}

// over notes that the queue was told that recipient n is finished.
func (w *world) over(l *letter, n uint32) {
	if r := l.rcpts[n]; !r.over.is && !l.deleted.is {
		r.over = fact{true, w.act()}
	}
}

// conclude ends a pass over x when nothing of it is in an agent's hands.
func (w *world) conclude(x *work) {
	if len(x.numbers(trying)) > 0 {
		return
	}
	if ns := x.numbers(failed); len(ns) > 0 && !x.l.deleted.is {
		r := w.report(x.l, ns)
		if w.submit(r); w.stopped() || !slices.Contains(w.open, x) {
			return
		}
		for _, n := range ns {
			p := &x.rcpts[n]
			switch {
			case p.state == finished: // crossed off already
			case r.fate == taken:
				p.state = replaced
				x.l.rcpts[n].over = fact{is: true}
			default:
				p.state, p.due = resting, w.later()
			}
		}
	}
	if len(x.numbers(replaced)) > 0 && !x.l.deleted.is {
		return // until the report is tailed
	}
	s := x.State
	s.Done, s.Groups = slices.Clone(s.Done), nil
	for n := range x.rcpts {
		p := &x.rcpts[n]
		switch p.state {
		case finished:
			s.Done.Add(uint32(n))
			w.over(x.l, uint32(n))
			continue
		case waiting:
			p.due = w.q.Now()
		}
		s.Groups = append(s.Groups, spool.Group{Recipients: []uint32{uint32(n)}, Due: p.due, Attempts: p.attempts,
			Status: mail.Status{DSN: "4.4.1", Text: "try again"}})
	}
	w.open = slices.DeleteFunc(w.open, func(o *work) bool { return o == x })
	if len(s.Groups) == 0 || x.l.deleted.is {
		w.q.Finish(x.Message)
		w.note("finish %s", x.l.id)
		return
	}
	w.q.Put(x.Message, s)
	w.note("put %s until %v", x.l.id, s.Due().Sub(w.q.Now()))
}

// same compares a content with what was sent.
func same(l *letter, content []byte) bool { return ledger.Hash(content) == ledger.Hash(l.content) }
