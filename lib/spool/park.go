package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"postrider/lib/slot"
)

// Parked names a message that was handed out and given back without a word to the
// log: it waits for room, and its owner remembers where it is. Nothing is lost when
// this is: a start finds the message by its state record, or, when it was never
// deferred, by its content, which no state record names. The zero value names none.
type Parked struct {
	file    uint64 // the run of its state record; or, of new mail, its content file
	slot    uint32
	at      uint32 // the record's offset, in units of slot.Align
	since   int64  // of new mail: State.Since, microseconds
	new     bool   // it was never deferred
	flushed bool   // it is to be tried now, due or not
}

// ParkedSize is how many bytes AppendBinary appends.
const ParkedSize = 8 + 4 + 4 + 8 + 1

// AppendBinary appends p in a form that LoadParked of the same process reads back.
func (p Parked) AppendBinary(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(le.AppendUint64(b, p.file), p.slot), p.at)
	b = le.AppendUint64(b, uint64(p.since))
	var flags byte
	if p.new {
		flags |= 1
	}
	if p.flushed {
		flags |= 2
	}
	return append(b, flags)
}

// LoadParked reads what AppendBinary wrote at the beginning of b, which has
// ParkedSize bytes at least.
func LoadParked(b []byte) Parked {
	le := binary.LittleEndian
	return Parked{file: le.Uint64(b), slot: le.Uint32(b[8:]), at: le.Uint32(b[12:]), since: int64(le.Uint64(b[16:])),
		new: b[24]&1 != 0, flushed: b[24]&2 != 0}
}

// New says whether p was never deferred, so that it has no state record.
func (p Parked) New() bool { return p.new }

// waiting is what is known of parked mail without a state record.
type waiting struct {
	at    int64 // offset of its record
	since int64
}

// Park takes back an open message that cannot be tried now and that nothing new is
// known of: no attempt was made since it was handed out. Nothing is written. From
// now on it is where it was, but neither Tail nor Due gives it again: Open does.
//
// Mail without a state record is read again by each start, and listings look at
// each of it, so its owner bounds how much of it he parks (Parking counts it); for
// what is more there is PutParked.
func (q *Queue) Park(m *Message) Parked {
	if q.open[m.Ref] != m {
		return Parked{}
	}
	p := Parked{file: m.place.run, slot: m.place.slot, at: uint32(m.stateAt / slot.Align), flushed: m.Flushed}
	if !m.place.ok() {
		p = Parked{file: m.Ref.File, slot: m.Ref.Slot, at: uint32(m.content.record / slot.Align), since: m.State.Since.UnixMicro(), new: true}
		if q.alive(m.Ref) {
			q.parked[m.Ref] = waiting{m.content.record, p.since}
		}
	}
	q.letGo(m)
	return p
}

// PutParked is Park for mail without a state record: it gets one first, with every
// recipient due now and dest for State.Dest, so that a start need not read its
// content. The wheel does not give it before the next start.
func (q *Queue) PutParked(m *Message, dest uint64) Parked {
	if q.open[m.Ref] != m {
		return Parked{}
	}
	if !q.alive(m.Ref) || m.place.ok() {
		return q.Park(m)
	}
	s := q.Fresh(m)
	if len(s.Groups) == 0 {
		q.Finish(m)
		return Parked{}
	}
	s.Dest = dest
	if now := s.Groups[0].Due.UnixMilli(); minuteOf(now) > q.wheel.through {
		q.advance(now) // what is filed in a minute that is being read is not read with it
	}
	q.buf = appendState(q.buf[:0], m, &s)
	m.place, m.stateAt = q.fileAt(m.Ref, string(m.Envelope.ID), q.buf, m.place, false)
	return q.Park(m)
}

// Parking returns how many parked messages without a state record there are.
func (q *Queue) Parking() int { return len(q.parked) }

// IsParked says whether ref is a parked message without a state record.
func (q *Queue) IsParked(ref slot.Ref) bool {
	_, ok := q.parked[ref]
	return ok
}

// Open hands a parked message out again, with all that became known of it
// meanwhile. It returns nil when p names it no longer: it is finished, or open, or
// its state was filed anew and the wheel has it. An error is of reading; p stays
// good then.
func (q *Queue) Open(p Parked) (*Message, error) {
	if p.new {
		return q.openNew(slot.Ref{File: p.file, Slot: p.slot})
	}
	r := q.runs[p.file]
	if r == nil || p.slot >= r.slots {
		return nil, nil
	}
	m, err := q.take(r, r.f, p.slot, int64(p.at)*slot.Align)
	if m != nil {
		m.Flushed = p.flushed
	}
	return m, err
}

// Recall is Open for a parked message without a state record, wherever it waits.
func (q *Queue) Recall(ref slot.Ref) (*Message, error) { return q.openNew(ref) }

// openNew opens a parked message that has no state record.
func (q *Queue) openNew(ref slot.Ref) (*Message, error) {
	w, ok := q.parked[ref]
	if !ok {
		return nil, nil
	}
	c := q.content(ref.File)
	span, err := q.where(c, ref.Slot, w.at)
	var rec slot.Record
	if err == nil {
		rec, q.rbuf, err = q.readRecord(span, q.rbuf)
	}
	if err == nil && rec.Ref != ref {
		err = fmt.Errorf("record %v where %v should be: %w", rec.Ref, ref, ErrDamaged)
	}
	var m *Message
	if err == nil {
		m, err = careful(q, OfRecord, ref, func() (*Message, error) { return q.message(c, &rec, rec.Content, span) })
	}
	if errors.Is(err, ErrDamaged) || notExist(err) {
		if err := q.corrupt(ref, string(rec.ID), place{}, largeOf(&rec, err), span, err.Error()); err != nil {
			return nil, err
		}
		delete(q.parked, ref)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	delete(q.parked, ref)
	m.State.Since = time.UnixMicro(w.since)
	m.State.Done = append(Set(nil), q.marks[ref]...)
	q.admit(m)
	return m, nil
}

// Hint is what a run says of a deferred message before it is read.
type Hint struct {
	Dest       uint64    // State.Dest, not 0
	Since      time.Time // State.Since, to the second
	NullSender bool
	Noticed    bool // State.Notices is not 0
}

// hint is the same in less memory.
type hint struct {
	dest  uint64
	since uint32 // seconds
	null  bool
	told  bool
}

func (h hint) hint() Hint { return Hint{h.dest, time.Unix(int64(h.since), 0), h.null, h.told} }

// peek reads the hint of a state record, which has its head at least. Of a damaged
// one it is the zero value: it is damage when it is read.
func peek(b []byte) hint {
	d := decoder{b: b[stateHead:]}
	d.uint()
	since := time.UnixMicro(d.int()).Unix()
	d.int()
	d.uint()
	d.byte()
	told := d.uint() > 0
	if len(d.b) < 8 {
		return hint{}
	}
	h := hint{dest: binary.LittleEndian.Uint64(d.b), since: uint32(max(since, 0)), told: told}
	d.b = d.b[8:]
	n := d.uint()
	h.null = n == 0
	if d.bad {
		return hint{}
	}
	return h
}
