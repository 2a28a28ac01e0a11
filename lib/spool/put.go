package spool

import (
	"slices"

	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

func queueID(s string) mail.QueueID { return mail.QueueID(s) }

// rising returns the numbers sorted and without repetition; sorted ones as
// they are.
func rising(ns []uint32) []uint32 {
	for i := 1; i < len(ns); i++ {
		if ns[i] <= ns[i-1] {
			ns = slices.Clone(ns)
			slices.Sort(ns)
			return slices.Compact(ns)
		}
	}
	return ns
}

// Put files an open message until s.Due(), or on hold when it is held. Every
// recipient is in s.Done or in one group of s, or was Done meanwhile. With no
// group left that is Finish. It takes m back from the caller; a deleted
// message is gone afterwards.
func (q *Queue) Put(m *Message, s State) {
	if q.open[m.Ref] != m {
		return
	}
	if !q.alive(m.Ref) {
		q.kill(m.place)
		q.letGo(m)
		return
	}
	if done, ok := q.marks[m.Ref]; ok {
		s = without(s, done)
	}
	if len(s.Groups) == 0 {
		q.Finish(m)
		return
	}
	q.buf = appendState(q.buf[:0], m, &s)
	q.file(m.Ref, string(m.Envelope.ID), q.buf, m.place)
	q.letGo(m)
}

// without returns s with more recipients done.
func without(s State, done Set) State {
	d := slices.Clone(s.Done)
	d.Merge(done)
	s.Done = d
	groups := make([]Group, 0, len(s.Groups))
	for _, g := range s.Groups {
		if slices.ContainsFunc(g.Recipients, done.Has) {
			g.Recipients = slices.DeleteFunc(slices.Clone(g.Recipients), done.Has)
		}
		if len(g.Recipients) > 0 {
			groups = append(groups, g)
		}
	}
	s.Groups = groups
	return s
}

// file puts a state record where it belongs and logs that, with the death of
// the one it replaces, as one entry.
func (q *Queue) file(ref slot.Ref, id string, state []byte, kill place) place {
	at, _ := q.fileAt(ref, id, state, kill, true)
	return at
}

// fileAt is file for who wants to know the offset, too. Without note the wheel does not give the
// message when its minute is read already.
func (q *Queue) fileAt(ref slot.Ref, id string, state []byte, kill place, note bool) (at place, offset int64) {
	due := stateDue(state)
	held := q.IsHeld(ref)
	var r *run
	late := false
	if held {
		r = q.hold.current(q)
	} else {
		r, late = q.wheel.target(q, due)
	}
	q.wheel.puts++
	gen := q.wheel.puts
	at, offset = q.append(r, gen, id, state)
	replaced := kill
	if mutant.On(mutant.TwoStates) {
		replaced = place{}
	}
	q.log.endRef(appendPut(q.log.begin(), gen, replaced, at, offset, id, state), ref)
	if r.slots == 1 || due < r.first {
		r.first = due
	}
	switch {
	case late && (!note || mutant.On(mutant.NotNoted)):
	case mutant.On(mutant.EndlessFlush):
		q.wheel.push(lateRecord{run: r, slot: at.slot, offset: offset, flush: true})
	case late:
		q.wheel.note(q, r, at.slot, offset, due)
	case !held:
		q.wheel.soonest = min(q.wheel.soonest, due)
	}
	q.put(ref, kill)
	return at, offset
}

// move files a state record again as it is. What was done since it was filed
// is logged anew behind it, since a PUT says that its record knows all.
func (q *Queue) move(ref slot.Ref, id string, state []byte, from place) place {
	done := q.marks[ref]
	at := q.file(ref, id, state, from)
	if done != nil {
		q.Done(ref, members(done)...)
	}
	return at
}

// put does what a PUT entry says, but for the record itself.
func (q *Queue) put(ref slot.Ref, kill place) {
	q.kill(kill)
	if s := q.space.search; s != nil {
		s.name(ref)
	}
	delete(q.marks, ref)
	q.content(ref.File).stated.set(ref.Slot)
}
