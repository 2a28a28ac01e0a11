package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// tailState is where the journal is read.
type tailState struct {
	durable slot.Position // cleanup synced up to here
	first   uint64        // files below belong to writers that are gone; 0: nobody writes
	cleared uint64        // first when content/ was last looked through
	c       *contentFile  // being read
	at      contentSpan   // its file, or the store file that has what lives of it
	f       disk.File
	scan    *slot.Scanner
	warm    warmth
	moved   *contentFile      // its cursor is ahead of the log's
	rest    bool              // c is read to the end its successor names
	again   bool              // c is read for what was in the active queue at the last stop
	tries   int               // of reading a place that could not be read
	failing int64             // spool time of the first of them, ms
	next    uint32            // slot expected then
	old     []*contentFile    // to be read so
	shut    int               // of those, how many could not be opened in this pass
	why     error             // and why the last of them could not
	names   map[uint64]string // content files there are, by number
	seals   map[uint64]int64  // lengths that later files give
}

func (t *tailState) close() {
	if t.f != nil {
		t.f.Close()
	}
	t.f, t.scan, t.c = nil, nil, nil
}

// Durable says that cleanup synced its journal up to p. Tail reads no further.
func (q *Queue) Durable(p slot.Position) {
	if p.Compare(q.tail.durable) > 0 {
		q.tail.durable = p
	}
}

// Tail returns the next new messages, at most limit, in the order of the
// journal; after a start first those that were open before it and have no
// state record. What a message replaces is crossed off in the entry that moves
// the cursor past it. An empty answer without error means that all that is
// durable was tailed.
func (q *Queue) Tail(limit int) ([]*Message, error) {
	t := &q.tail
	q.Now()
	defer func() {
		if t.moved != nil {
			q.logCursor(t.moved, slot.Ref{}, nil)
			t.moved = nil
		}
	}()
	var out []*Message
	for weight := 0; len(out) < limit && weight < batchRecipients; {
		if t.scan == nil {
			if more, err := q.nextContent(); err != nil || !more {
				return out, err
			}
		}
		m, err := q.tailRecord()
		if err == errAllTailed {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if m == nil {
			continue
		}
		if out == nil {
			out = make([]*Message, 0, min(limit, 16))
		}
		out = append(out, m)
		weight += len(m.Envelope.Recipients)
	}
	return out, nil
}

// errAllTailed ends Tail: what comes next in the file being read is not durable yet.
var errAllTailed = errors.New("spool: all that is durable was tailed")

// tailRecord reads the next record of the file being read: its message, or nil when there is
// none to hand out, be it a record that is known, lost or over, or the end of the file.
func (q *Queue) tailRecord() (*Message, error) {
	t, c := &q.tail, q.tail.c
	if !t.again {
		n := q.readable(c)
		t.scan.Extend(n)
		t.scan.Durable = max(t.scan.Durable, n)
	}
	rec, err := t.scan.Next()
	switch {
	case err == io.EOF && t.again:
		q.lostSlots(c, t.next, c.slots)
		t.close()
		return nil, nil
	case err == io.EOF:
		return nil, q.tailEnded()
	case err != nil:
		return nil, q.tailUnreadable(err)
	}
	t.tries = 0
	if original(rec) != nil || rec.Ref.File != c.number {
		return nil, nil // of another content file, in a store file
	}
	return q.tailMessage(rec)
}

// tailMessage makes a message of a record, and keeps what is known of it.
func (q *Queue) tailMessage(rec *slot.Record) (*Message, error) {
	t, c := &q.tail, q.tail.c
	ref := slot.Ref{File: c.number, Slot: rec.Ref.Slot}
	slots, offset, grown := c.slots, c.offset, c.growing
	if t.again && q.tailedBefore(rec, ref) || !t.again && q.tailedAhead(rec, ref) {
		return nil, nil
	}
	if rec.Type != slot.TypeMessage {
		q.bury(ref)
		return nil, nil
	}
	m, err := careful(q, OfRecord, ref, func() (*Message, error) { return q.tailed(c, rec) })
	if errors.Is(err, ErrDamaged) {
		err = q.corrupt(ref, string(rec.ID), place{}, largeOf(rec, err), t.span(rec), err.Error())
	}
	if err != nil {
		if !t.again {
			c.slots, c.offset, c.growing = slots, offset, grown
		}
		t.meetAgain()
		return nil, err
	}
	if c.dead.has(ref.Slot) {
		return nil, nil
	}
	if !t.again || q.rebuilt {
		q.replace(c, m)
	}
	if t.again {
		m.State.Since = c.since(ref.Slot, q.clock.spool)
	} else {
		c.taken(ref.Slot, q.clock.spool)
		m.State.Since = q.clock.spool
	}
	m.State.Done = slices.Clone(q.marks[ref])
	q.holdTailed(c, m)
	q.admit(m)
	return m, nil
}

// tailedBefore takes notice of a record of a file that is read again for what was in the
// active queue at the last stop, and says whether it is over or known otherwise.
func (q *Queue) tailedBefore(rec *slot.Record, ref slot.Ref) (known bool) {
	t, c := &q.tail, q.tail.c
	q.lostSlots(c, t.next, min(ref.Slot, c.slots))
	t.next = ref.Slot + 1
	return rec.Ref.Slot >= c.slots || c.dead.has(ref.Slot) || c.stated.has(ref.Slot) || q.open[ref] != nil || q.IsParked(ref)
}

// tailedAhead moves the cursor of the file past a record, and says whether it is known from
// a log whose cursor entry was lost.
func (q *Queue) tailedAhead(rec *slot.Record, ref slot.Ref) (known bool) {
	t, c := &q.tail, q.tail.c
	if rec.Ref.Slot > c.slots { // between them was something
		q.lostSlots(c, c.slots, rec.Ref.Slot)
	}
	if c.offset == slot.DataStart {
		c.growing = growing{whole: true}
	}
	c.slots, c.offset = rec.Ref.Slot+1, rec.End()
	if c.growing.whole && rec.Type == slot.TypeMessage {
		c.growing.all = append(c.growing.all, indexed{id: hashID(rec.ID), ref: ref, at: uint32(rec.Offset / slot.Align)})
	}
	t.moved = c
	return c.dead.has(ref.Slot) || c.stated.has(ref.Slot)
}

// replace crosses off what m stands for from now on, in the entry that moves the cursor past m.
func (q *Queue) replace(c *contentFile, m *Message) {
	r := &m.Envelope.Replaces
	if r.ID == "" || len(r.Recipients) == 0 {
		return
	}
	old, rs := slot.Ref{File: r.File, Slot: r.Slot}, rising(r.Recipients)
	if !q.alive(old) {
		old, rs = slot.Ref{}, nil
	}
	q.logCursor(c, old, rs)
	q.tail.moved = nil
	if len(rs) == 0 {
		return
	}
	m.Replaced = true
	q.mark(old, rs)
	if q.open[old] == nil { // nobody else would see that it is over
		q.crossed(old, r.ID)
	}
}

// batchRecipients ends what Tail and Due hand out at once, so that a caller's memory does not
// depend on how many recipients messages have.
const batchRecipients = 20_000

// tailed makes a message of a record that the tail's scanner read lazily.
func (q *Queue) tailed(c *contentFile, rec *slot.Record) (*Message, error) {
	if rec.Flags&slot.FlagLarge == 0 {
		m, err := q.message(c, rec, nil, q.tail.span(rec))
		if err == nil && len(rec.Content) > 0 {
			q.tail.warm.put(m, rec.Content)
		}
		return m, err
	}
	full, buf, err := slot.ReadRecord(q.tail.f, q.tail.at.h, rec.Offset, q.rbuf)
	q.rbuf = buf
	if errors.Is(err, slot.ErrDamage) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	if err := original(&full); err != nil {
		return nil, err
	}
	return q.message(c, &full, full.Content, q.tail.span(rec))
}

func (q *Queue) logCursor(c *contentFile, old slot.Ref, recipients []uint32) {
	if q.clock.spool.Sub(q.wal.clock) >= clockLogged { // so that a start knows when that was
		q.logClock()
	}
	b := appendCursor(q.log.begin(), c.number, c.slots, c.offset, old, recipients)
	if len(recipients) > 0 {
		q.log.endRef(b, old)
	} else {
		q.log.end(b)
	}
}
