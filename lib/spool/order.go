package spool

import (
	"errors"
	"slices"

	"postrider/lib/slot"
)

// ErrMoved: the message is in the queue, but no longer where the listing found
// it. It is to be looked for again.
var ErrMoved = errors.New("spool: message moved")

// Reach opens a message that is not open, whenever it is due and though it is on
// hold, so that its state can be changed: an operator wants that. What it returns
// is to be given back by Put, Finish or Corrupt. It returns nil when nothing is
// left of the message, or when it is open. Other errors than ErrMoved are of
// reading.
func (q *Queue) Reach(t Target) (*Message, error) {
	if !q.alive(t.Ref) || q.open[t.Ref] != nil {
		return nil, nil
	}
	if q.IsParked(t.Ref) {
		return q.openNew(t.Ref)
	}
	r := q.runs[t.place.run]
	if r == nil || t.place.slot >= r.slots || r.dead.has(t.place.slot) {
		return nil, ErrMoved
	}
	rec, err := q.readState(r, t.offset)
	if err != nil {
		return nil, q.badState(r, t.place.slot, t.offset, err)
	}
	if rec.Ref != (slot.Ref{File: r.number, Slot: t.place.slot}) || len(rec.Envelope) < stateHead || stateRef(rec.Envelope) != t.Ref {
		return nil, ErrMoved
	}
	return q.revive(r, &rec, t.place.slot, t.offset, nil)
}

// Save files the state of an open message as Put does, but leaves the message
// open: a restart finds what s says. Recipients that are Done by now are done in
// it.
func (q *Queue) Save(m *Message, s State) {
	if q.open[m.Ref] != m || !q.alive(m.Ref) {
		return
	}
	if done, ok := q.marks[m.Ref]; ok {
		s = without(s, done)
	}
	if len(s.Groups) == 0 {
		return // its owner is about to Finish it
	}
	q.buf = appendState(q.buf[:0], m, &s)
	m.place, m.stateAt = q.fileAt(m.Ref, string(m.Envelope.ID), q.buf, m.place, true)
	m.State = s
}

// Ask is what an operator wants of messages, besides what Hold, Release and
// Delete do.
type Ask uint8

// What may be asked for.
const (
	// Expire: they go back to their senders at their next attempts.
	Expire Ask = iota + 1
	// Requeue: they are queued again from the start, now.
	Requeue
)

// Wish returns s with what is asked for, as of now. s has a group for each
// recipient that is not done (see Fresh).
func (s State) Wish(a Ask, q *Queue) State {
	switch a {
	case Expire:
		s.Expired = true
	case Requeue:
		s.Requeue = true
		s.Groups = slices.Clone(s.Groups)
		for i := range s.Groups {
			s.Groups[i].Due = q.Now()
		}
	}
	return s
}

// Fresh returns the state of an open message with a group for each recipient:
// one that was never deferred is due now.
func (q *Queue) Fresh(m *Message) State {
	s := m.State
	if len(s.Groups) > 0 {
		return s
	}
	g := Group{Due: q.Now()}
	for n := range m.Envelope.Recipients {
		if !s.Done.Has(uint32(n)) {
			g.Recipients = append(g.Recipients, uint32(n))
		}
	}
	if len(g.Recipients) > 0 {
		s.Groups = []Group{g}
	}
	return s
}
