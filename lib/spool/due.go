package spool

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// reader goes through a sealed run in the order in which its records are due.
type reader struct {
	run  *run
	f    disk.File
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

// read seals a run and makes a list of what lives in it. It returns nil when
// nothing does.
func (q *Queue) read(r *run) (*reader, error) {
	if err := q.seal(r); err != nil {
		return nil, err
	}
	if r.freeing || r.live() == 0 {
		return nil, nil
	}
	f, s, err := q.scan(r)
	if notExist(err) {
		q.lostRun(r, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rd := &reader{run: r, f: f, list: make([]dueRecord, 0, r.live())}
	for {
		rec, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			q.damagedState(r, f, err)
			continue
		}
		if r.dead.has(rec.Ref.Slot) || len(rec.Envelope) < stateHead {
			continue
		}
		if !q.alive(stateRef(rec.Envelope)) {
			q.kill(place{r.number, rec.Ref.Slot})
			continue
		}
		due := stateDue(rec.Envelope)
		switch {
		case r.flush:
			due = 0
		case minuteOf(due) > max(r.minute, q.wheel.through):
			q.wheel.refiles = append(q.wheel.refiles, refile{r, rec.Ref.Slot, rec.Offset})
			continue
		}
		rd.list = append(rd.list, dueRecord{due, peek(rec.Envelope), uint32(rec.Offset / slot.Align), rec.Ref.Slot})
	}
	if len(rd.list) == 0 {
		f.Close()
		return nil, nil
	}
	slices.SortFunc(rd.list, func(a, b dueRecord) int {
		if a.due != b.due {
			return int(min(max(a.due-b.due, -1), 1))
		}
		return int(a.offset) - int(b.offset)
	})
	return rd, nil
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
	w := &q.wheel
	n := min(len(w.refiles), maxRefile)
	for i, f := range w.refiles[:n] {
		if err := q.refile(f); err != nil {
			w.refiles = w.refiles[i:]
			return nil, err
		}
	}
	if w.refiles = w.refiles[n:]; len(w.refiles) == 0 {
		w.refiles = nil
	}
	var out []*Message
	for looked := 0; len(out) < limit && looked < limit+maxRefile; looked++ {
		var rd *reader
		first := int64(never)
		for _, x := range w.readers {
			if x.list[x.next].due < first {
				rd, first = x, x.list[x.next].due
			}
		}
		late := len(w.heap) > 0 && w.heap[0].due < first
		if late {
			first = w.heap[0].due
		}
		if first > now {
			break
		}
		var m *Message
		var err error
		if late {
			x := w.heap[0]
			if m, err = q.take(x.run, x.run.f, x.slot, x.offset); err == nil {
				heap.Pop(&w.heap)
			}
			if m != nil {
				m.Flushed = x.flush
			}
		} else {
			x := rd.list[rd.next]
			if park != nil && !rd.run.dead.has(x.slot) && x.hint.dest != 0 &&
				park(x.hint.hint(), Parked{file: rd.run.number, slot: x.slot, at: x.offset, flushed: rd.run.flush}) {
				rd.next++
			} else if m, err = q.take(rd.run, rd.f, x.slot, int64(x.offset)*slot.Align); err == nil {
				rd.next++
			}
			if m != nil {
				m.Flushed = rd.run.flush
			}
			if rd.next == len(rd.list) {
				rd.f.Close()
				w.readers = slices.DeleteFunc(w.readers, func(x *reader) bool { return x == rd })
				if len(w.queue) > 0 {
					q.advance(now)
				}
			}
		}
		if err != nil {
			return out, err
		}
		if m != nil && !m.Flushed && m.State.Due().UnixMilli() > now {
			q.Put(m, m.State) // those that were due were crossed off
			m = nil
		}
		if m != nil {
			out = append(out, m)
		}
	}
	return out, nil
}

// refile files a record again that was beyond the rim of the wheel.
func (q *Queue) refile(f refile) error {
	p := place{f.r.number, f.slot}
	if f.r.dead.has(f.slot) {
		return nil
	}
	rec, err := q.readState(f.r, f.offset)
	if err != nil {
		return q.badState(f.r, f.slot, f.offset, err)
	}
	ref := stateRef(rec.Envelope)
	switch {
	case !q.alive(ref):
		q.kill(p)
	case q.open[ref] == nil:
		q.move(ref, string(rec.ID), rec.Envelope, p)
	}
	return nil
}

// take makes an open message of the state record at that place, or nothing
// when it is not to be tried: dead, open or on hold.
func (q *Queue) take(r *run, f disk.File, number uint32, offset int64) (*Message, error) {
	p := place{r.number, number}
	if r.dead.has(number) || q.runs[r.number] != r {
		return nil, nil
	}
	rec, err := q.stateAt(r, f, offset)
	if err != nil {
		return nil, q.badState(r, number, offset, err)
	}
	ref := stateRef(rec.Envelope)
	switch {
	case !q.alive(ref):
		q.kill(p)
		return nil, nil
	case q.open[ref] != nil:
		return nil, nil
	case q.IsHeld(ref):
		q.move(ref, string(rec.ID), rec.Envelope, p)
		return nil, nil
	}
	return q.revive(r, &rec, number, offset)
}

// revive makes an open message of a state record that lives.
func (q *Queue) revive(r *run, rec *slot.Record, number uint32, offset int64) (*Message, error) {
	p, ref := place{r.number, number}, stateRef(rec.Envelope)
	st, err := decodeState(rec.Envelope)
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
	if err == nil {
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
		m, err = q.message(c, &crec, crec.Content, span)
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
