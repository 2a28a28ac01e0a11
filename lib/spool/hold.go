package spool

import (
	"errors"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// holdState is hold/: runs without a due time, and the sweep that files what
// is off hold again.
type holdState struct {
	run   *run // grows
	again bool // a sweep is wanted
	queue []*run
	sweep *sweep // of the run that is read
	// patience is until when no sweep begins, after a run could not be read; ms.
	patience int64
}

// sweep goes through one run in steps, which are read in the background.
type sweep struct {
	run    *run
	f      disk.File
	scan   *slot.Scanner
	seen   bitmap
	found  []swept
	damage []*slot.Damage
	err    error // io.EOF at the end
}

// swept is a state record that a sweep met.
type swept struct {
	slot  uint32
	id    string
	state []byte
}

const sweepStep = 500 // records looked at in one turn

func (h *holdState) current(q *Queue) *run {
	if h.run != nil && h.run.slots >= uint32(q.o.RunSlots) && q.seal(h.run) == nil {
		h.run = nil
	}
	if h.run == nil {
		h.run = q.newRun(true, 0)
	}
	return h.run
}

// Hold puts messages on hold: deferred ones are not tried any more. For one
// that is open the owner ends its attempts and Puts it; Put files it in hold/.
// It returns how many of them were alive and not on hold.
func (q *Queue) Hold(ts []Target) int {
	return q.verb(entHold, ts, func(c *contentFile, n uint32) bool { return c.held.set(n) })
}

// Release takes messages off hold; they are due when they were. Open ones
// only lose the mark. It returns how many were on hold.
func (q *Queue) Release(ts []Target) int {
	n := q.verb(entRelease, ts, func(c *contentFile, n uint32) bool { return c.held.clear(n) })
	if n > 0 {
		q.hold.again = true
	}
	return n
}

// Delete finishes messages for good: later results for them are dropped (S8).
// An open one stays open, for its owner to Put or Finish without effect. It
// returns how many were alive.
func (q *Queue) Delete(ts []Target) int {
	var large, plain []Target
	for _, t := range ts {
		if t.large != "" {
			large = append(large, t)
		} else {
			plain = append(plain, t)
		}
	}
	n := q.verb(entDelete, plain, func(c *contentFile, n uint32) bool {
		return q.bury(slot.Ref{File: c.number, Slot: n})
	})
	for _, t := range large {
		if q.alive(t.Ref) {
			q.finishNow(t.Ref, t.place, t.large)
			n++
		}
	}
	for _, t := range plain {
		q.kill(t.place)
	}
	if n > 0 {
		q.hold.again = true // for runs in hold/ that hold nothing now
	}
	return n
}

// verb logs and does something to the content slots of messages that are
// alive, a file at a time. It counts those that do returns true for.
func (q *Queue) verb(kind entryKind, ts []Target, do func(*contentFile, uint32) bool) int {
	ts = slices.Clone(ts)
	slices.SortFunc(ts, func(a, b Target) int { return a.Ref.Compare(b.Ref) })
	n := 0
	var slots []uint32
	for i := 0; i < len(ts); {
		file := ts[i].Ref.File
		slots = slots[:0]
		for ; i < len(ts) && ts[i].Ref.File == file && len(slots) < entrySlots; i++ {
			c := q.contents[file]
			if c != nil && q.alive(ts[i].Ref) && do(c, ts[i].Ref.Slot) {
				slots = append(slots, ts[i].Ref.Slot)
			}
		}
		if len(slots) > 0 {
			q.log.endSlots(appendSlots(q.log.begin(), kind, file, slots), file, slots)
			n += len(slots)
		}
	}
	return n
}

const entrySlots = 300 // in one entry, so that a lost log block names few

// Expedite makes deferred messages due now, but not those on hold. It returns
// how many.
func (q *Queue) Expedite(ts []Target) int {
	n := 0
	for _, t := range ts {
		r := q.runs[t.place.run]
		if r == nil || r.hold || r.dead.has(t.place.slot) || !q.alive(t.Ref) || q.open[t.Ref] != nil || q.IsHeld(t.Ref) {
			continue
		}
		q.wheel.push(lateRecord{run: r, slot: t.place.slot, offset: t.offset, flush: true})
		n++
	}
	return n
}

// sweepHold goes a step through hold/: what is off hold is filed under its old
// due time, what is finished is forgotten.
func (q *Queue) sweepHold() {
	h := &q.hold
	switch {
	case h.sweep != nil, len(h.queue) == 0 && !h.again: // it is read, or not wanted
		return
	case len(h.queue) == 0 && q.clock.spool.UnixMilli() < h.patience:
		return
	case len(h.queue) == 0:
		h.again = false
		if h.run != nil {
			if q.seal(h.run) != nil {
				h.again = true // cannot be read yet
				return
			}
			h.run = nil
		}
		for _, r := range q.runs {
			if r.hold && r.live() > 0 {
				h.queue = append(h.queue, r)
			}
		}
		slices.SortFunc(h.queue, byMinute)
	}
	for len(h.queue) > 0 && h.sweep == nil {
		r := h.queue[0]
		h.queue = h.queue[1:]
		if q.runs[r.number] != r || r.freeing {
			continue
		}
		if q.seal(r) != nil {
			h.again = true // it is in memory: the disk was full at the start
			continue
		}
		h.sweep = &sweep{run: r}
		q.readSweep(h.sweep)
	}
}

// readSweep reads the next records in the background.
func (q *Queue) readSweep(s *sweep) {
	name, h, length := s.run.name(), s.run.header(), s.run.length
	q.aside(func() { s.read(q.fs, name, h, length) }, func() {
		if q.sweepRun(s) {
			q.readSweep(s)
			return
		}
		q.hold.sweep = nil
		q.sweepHold()
	})
}

func (s *sweep) read(fsys disk.FS, name string, h slot.Header, length int64) {
	s.found = s.found[:0]
	if s.f == nil {
		if s.f, s.err = fsys.OpenFile(name, os.O_RDONLY, 0); s.err != nil {
			return
		}
		s.scan = slot.NewScanner(s.f, h, length)
		s.scan.Durable = length
	}
	for range sweepStep {
		rec, err := s.scan.Next()
		if err == io.EOF {
			s.f.Close()
			s.err = err
			return
		}
		var d *slot.Damage
		if errors.As(err, &d) {
			s.damage = append(s.damage, d)
			continue
		}
		s.seen.set(rec.Ref.Slot)
		if len(rec.Envelope) >= stateHead {
			s.found = append(s.found, swept{rec.Ref.Slot, string(rec.ID), slices.Clone(rec.Envelope)})
		}
	}
}

// sweepRun acts on what was read of a run in hold/. It reports whether there is more.
func (q *Queue) sweepRun(s *sweep) (more bool) {
	r := s.run
	switch {
	case q.runs[r.number] != r:
		return false
	case notExist(s.err):
		q.lostRun(r, s.err)
		return false
	case s.err != nil && s.err != io.EOF:
		q.o.Logf("warning: what was released has to wait: %v", s.err)
		q.hold.again, q.hold.patience = true, q.clock.spool.UnixMilli()+afterError
		return false
	}
	for _, x := range s.found {
		p, ref := place{r.number, x.slot}, stateRef(x.state)
		switch {
		case r.dead.has(x.slot):
		case !q.alive(ref):
			q.kill(p)
		case q.open[ref] != nil:
		case q.crossedOff(ref, p, x.state):
		case !q.IsHeld(ref):
			q.move(ref, x.id, x.state, p)
		}
	}
	if s.err == nil {
		return true
	}
	q.lostSlotsOf(r, &scanned{seen: s.seen, damage: s.damage}, r.slots)
	return false
}

// crossedOff finishes a message that is filed when nobody is left of its recipients:
// another message has taken them over meanwhile. It reports whether it did.
func (q *Queue) crossedOff(ref slot.Ref, p place, state []byte) bool {
	done, ok := q.marks[ref]
	if !ok {
		return false
	}
	st, err := decodeState(state)
	if err != nil || len(without(st.State, done).Groups) > 0 {
		return false
	}
	q.finishNow(ref, p, st.Large)
	return true
}
