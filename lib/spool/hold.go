package spool

import (
	"io"
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
	f     disk.File
	scan  *slot.Scanner
	sweep *run
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
// due time, what is finished is forgotten. It reports whether more is to do.
func (q *Queue) sweepHold() (more bool) {
	h := &q.hold
	if h.sweep == nil && len(h.queue) == 0 {
		if !h.again {
			return false
		}
		h.again = false
		if h.run != nil {
			if q.seal(h.run) != nil {
				h.again = true // cannot be read yet
				return false
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
	for n := 0; n < sweepStep; n++ {
		if h.sweep == nil {
			if len(h.queue) == 0 {
				return h.again
			}
			r := h.queue[0]
			h.queue = h.queue[1:]
			if q.runs[r.number] != r || r.freeing {
				continue
			}
			if q.seal(r) != nil {
				h.again = true // it is in memory: the disk was full at the start
				continue
			}
			f, s, err := q.scan(r)
			if notExist(err) {
				q.lostRun(r, err)
				continue
			}
			if err != nil {
				q.o.Logf("warning: %v", err)
				continue
			}
			h.f, h.scan, h.sweep = f, s, r
		}
		rec, err := h.scan.Next()
		if err == io.EOF {
			h.f.Close()
			h.f, h.scan, h.sweep = nil, nil, nil
			continue
		}
		if err != nil {
			q.damagedState(h.sweep, h.f, err)
			continue
		}
		p := place{h.sweep.number, rec.Ref.Slot}
		if h.sweep.dead.has(p.slot) || len(rec.Envelope) < stateHead {
			continue
		}
		ref := stateRef(rec.Envelope)
		switch {
		case !q.alive(ref):
			q.kill(p)
		case !q.IsHeld(ref) && q.open[ref] == nil:
			q.move(ref, string(rec.ID), rec.Envelope, p)
		}
	}
	return true
}
