package spool

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"

	"postrider/lib/crash"
	"postrider/lib/disk"
	"postrider/lib/slot"
)

// reader goes through a sealed run in the order in which its records are due.
type reader struct {
	run  *run
	list []dueRecord
	next int
}

type dueRecord struct {
	due    int64 // milliseconds
	hint   hint
	offset uint32
	slot   uint32
}

// refile is a record that was filed at the rim of the wheel.
type refile struct {
	r      *run
	slot   uint32
	offset int64
}

// readRun makes a list of what lives in a sealed run, in the background.
func (q *Queue) readRun(r *run) {
	w := &q.wheel
	type named struct {
		dueRecord
		ref slot.Ref
	}
	dead := r.dead.clone(r.slots)
	list := make([]named, 0, r.live())
	w.scanning = r
	q.scanRun(r, func(rec *slot.Record) {
		if !dead.has(rec.Ref.Slot) {
			x := dueRecord{stateDue(rec.Envelope), peek(rec.Envelope), uint32(rec.Offset / slot.Align), rec.Ref.Slot}
			list = append(list, named{x, stateRef(rec.Envelope)})
		}
	}, func(err error) {
		w.scanning = nil
		if err != nil && err != errGone {
			q.o.Logf("warning: deferred mail has to wait: %v", err)
			w.queue = append(w.queue, r) // others first
			w.patience = q.clock.spool.UnixMilli() + afterError
		}
		if err != nil {
			return
		}
		rd := &reader{run: r, list: make([]dueRecord, 0, len(list))}
		for _, x := range list {
			switch {
			case r.dead.has(x.slot):
				continue
			case !q.alive(x.ref):
				q.kill(place{r.number, x.slot})
				continue
			case r.flush:
				x.due = 0
			case minuteOf(x.due) > max(r.minute, w.through):
				w.refiles = append(w.refiles, refile{r, x.slot, int64(x.offset) * slot.Align})
				continue
			}
			rd.list = append(rd.list, x.dueRecord)
		}
		slices.SortFunc(rd.list, func(a, b dueRecord) int {
			if a.due != b.due {
				return int(min(max(a.due-b.due, -1), 1))
			}
			return int(a.offset) - int(b.offset)
		})
		if len(rd.list) > 0 {
			w.readers = append(w.readers, rd)
		}
	})
}

// Due returns deferred messages whose time has come, at most limit, the
// earliest first (among a minute's runs as far as their lists fit in memory).
// What is due and not returned stays on disk, its place remembered. Recipients
// that were Done since the deferral are in State.Done and in no group.
//
// An error concerns the disk; what could not be read stays due.
func (q *Queue) Due(limit int) ([]*Message, error) { return q.DueOr(limit, nil) }

// DueOr is Due for a caller who knows of some messages by their destination that he
// cannot try them: before it reads one, it asks park whether to know where it is
// will do. One for which park returns true is parked, as if by Park.
func (q *Queue) DueOr(limit int, park func(Hint, Parked) bool) ([]*Message, error) {
	now := q.Now().UnixMilli()
	q.advance(now)
	out, err := q.handOut(limit, now)
	q.ask(now, park)
	q.sendAsked()
	return out, err
}

// ask chooses what is read next: what is due, the earliest first, then what is to be
// filed again.
func (q *Queue) ask(now int64, park func(Hint, Parked) bool) {
	w, a := &q.wheel, &q.ahead
	for looked := 0; len(a.asked) < askedMax && looked < askedMax+maxParked; looked++ {
		var rd *reader
		first := int64(never)
		for _, x := range w.readers {
			if x.list[x.next].due < first {
				rd, first = x, x.list[x.next].due
			}
		}
		if len(w.heap) > 0 && w.heap[0].due <= min(first, now) {
			x := heap.Pop(&w.heap).(lateRecord)
			if !x.run.dead.has(x.slot) {
				a.asked = append(a.asked, &asked{run: x.run, slot: x.slot, offset: x.offset, flush: x.flush})
			}
			continue
		}
		if first > now {
			break
		}
		x := rd.list[rd.next]
		if !rd.run.dead.has(x.slot) && (park == nil || x.hint.dest == 0 ||
			!park(x.hint.hint(), Parked{file: rd.run.number, slot: x.slot, at: x.offset, flushed: rd.run.flush})) {
			a.asked = append(a.asked, &asked{run: rd.run, slot: x.slot, offset: int64(x.offset) * slot.Align, flush: rd.run.flush})
		}
		if rd.next++; rd.next == len(rd.list) {
			w.readers = slices.DeleteFunc(w.readers, func(x *reader) bool { return x == rd })
			q.advance(now)
		}
	}
	n := 0
	for ; n < len(w.refiles) && len(a.asked) < askedMax; n++ {
		if f := w.refiles[n]; !f.r.dead.has(f.slot) {
			a.asked = append(a.asked, &asked{run: f.r, slot: f.slot, offset: f.offset, refile: true})
		}
	}
	if w.refiles = w.refiles[n:]; len(w.refiles) == 0 {
		w.refiles = nil
	}
}

// take makes an open message of the state record at that place, or nothing
// when it is not to be tried: dead, open or on hold.
func (q *Queue) take(r *run, f disk.File, number uint32, offset int64) (*Message, error) {
	if r.dead.has(number) || q.runs[r.number] != r {
		return nil, nil
	}
	rec, err := q.stateAt(r, f, offset)
	if err != nil {
		return nil, q.badState(r, number, offset, err)
	}
	return q.takeRecord(r, &rec, number, offset, nil)
}

// takeRecord is take with the record read; x has more that was, or is nil.
func (q *Queue) takeRecord(r *run, rec *slot.Record, number uint32, offset int64, x *asked) (*Message, error) {
	p, ref := place{r.number, number}, stateRef(rec.Envelope)
	switch {
	case !q.alive(ref):
		q.kill(p)
		return nil, nil
	case q.open[ref] != nil:
		return nil, nil
	case q.IsHeld(ref), x != nil && x.refile:
		q.move(ref, string(rec.ID), rec.Envelope, p)
		return nil, nil
	}
	return q.revive(r, rec, number, offset, x)
}

// revive makes an open message of a state record that lives. x may have the record of
// its content.
func (q *Queue) revive(r *run, rec *slot.Record, number uint32, offset int64, x *asked) (*Message, error) {
	p, ref := place{r.number, number}, stateRef(rec.Envelope)
	st, err := careful(q, OfState, ref, func() (*record, error) { return decodeState(rec.Envelope) })
	if err != nil {
		return nil, q.badState(r, number, offset, err)
	}
	if done, ok := q.marks[ref]; ok {
		if st.State = without(st.State, done); len(st.State.Groups) == 0 {
			q.finishNow(ref, p, st.Large)
			return nil, nil
		}
	}
	c := q.content(ref.File)
	span, err := q.where(c, ref.Slot, st.content)
	var crec slot.Record
	switch {
	case err != nil:
	case x != nil && x.found.Type != 0 && x.found.Ref == ref:
		crec = x.found
	default:
		crec, q.rbuf, err = q.readRecord(span, q.rbuf)
	}
	if c.store == nil && (errors.Is(err, ErrDamaged) || err == nil && crec.Ref != ref) {
		// After a rebuild the state record may speak of a copy that is not used.
		if x, xerr := q.contentIndex(c); xerr == nil {
			if off, ok := x.find(ref); ok && off != span.record {
				span.record = off
				crec, q.rbuf, err = q.readRecord(span, q.rbuf)
			}
		}
	}
	var m *Message
	if err == nil && crec.Ref != ref {
		err = fmt.Errorf("record %v where %v should be: %w", crec.Ref, ref, ErrDamaged)
	}
	if err == nil {
		m, err = careful(q, OfRecord, ref, func() (*Message, error) {
			crash.At("due", crec.Envelope)
			return q.message(c, &crec, crec.Content, span)
		})
	}
	if errors.Is(err, ErrDamaged) || notExist(err) {
		if e := q.corrupt(ref, string(rec.ID), p, st.Large, span, err.Error()); e != nil {
			return nil, e
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.State, m.place, m.stateAt = st.State, p, offset
	q.admit(m)
	return m, nil
}

func (q *Queue) stateAt(r *run, f disk.File, offset int64) (slot.Record, error) {
	if f == nil || r.enc != nil {
		return q.readState(r, offset)
	}
	rec, buf, err := slot.ReadRecord(f, r.header(), offset, q.rbuf)
	q.rbuf = buf
	return rec, err
}
