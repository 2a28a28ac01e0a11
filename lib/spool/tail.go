package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mutant"
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

// How often a place that cannot be read is tried, in as many calls of Tail, and for how
// long at least, before what is there counts as lost: a cable, a path or a server that is
// away for some seconds takes no message to corrupt/.
const (
	maxTries = 5
	patience = time.Minute
)

// tryAgain says whether what cannot be read is to be tried again, and counts.
func (q *Queue) tryAgain() bool {
	t, now := &q.tail, q.Now().UnixMilli()
	if t.tries == 0 {
		t.failing = now
	}
	t.tries++
	return t.tries <= maxTries || now-t.failing < patience.Milliseconds()
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
	var out []*Message
	var moved *contentFile // its cursor is ahead of the log's
	defer func() {
		if moved != nil {
			q.logCursor(moved, slot.Ref{}, nil)
		}
	}()
	weight := 0
	for len(out) < limit && weight < batchRecipients {
		if t.scan == nil {
			ok, err := q.nextContent()
			if err != nil || !ok {
				return out, err
			}
		}
		c := t.c
		if !t.again {
			n := q.readable(c)
			t.scan.Extend(n)
			t.scan.Durable = max(t.scan.Durable, n)
		}
		rec, err := t.scan.Next()
		if err == io.EOF {
			if t.again {
				q.lostSlots(c, t.next, c.slots)
				t.close()
				continue
			}
			end := t.durable.File > c.number || c.sealed
			if end && t.durable.File > c.number && !c.sealed && !t.scan.Sealed() {
				// Its writer went on without saying so in this file: the
				// next one may say where it ends.
				if err := q.list(); err != nil {
					return out, err
				}
				q.readSeals(c.number)
				size, err := t.f.Size()
				if err != nil {
					return out, err
				}
				if l, ok := t.seals[c.number]; ok {
					size = min(size, l)
					t.scan.Durable = l
				}
				if t.scan.Extend(size); t.scan.Offset() < size && !t.rest {
					t.rest = true
					continue
				}
			}
			if !end && !t.scan.Sealed() {
				if t.shut == 0 {
					return out, nil
				}
				t.close() // so that the next call begins with what could not be opened
				return out, t.unopened()
			}
			moved = nil
			q.passed(c, t.scan.Offset())
			t.close()
			continue
		}
		if err != nil {
			var d *slot.Damage
			if errors.As(err, &d); d != nil && d.Err != nil && q.tryAgain() {
				// The disk may only fail for a moment: it is met again.
				if t.again {
					t.old = append([]*contentFile{c}, t.old...)
				}
				t.close()
				return out, err
			}
			if t.again {
				if d != nil {
					name := fmt.Sprintf("content.%d.%d", c.number, d.From)
					if err := q.save(name, err.Error(), t.f, d.From, d.To); err != nil {
						t.old = append([]*contentFile{c}, t.old...)
						t.close()
						return out, err
					}
				}
				continue // the slots that are missing are lost
			}
			if err := q.damagedContent(c, t.f, err); err != nil {
				return out, err
			}
			moved = c
			continue
		}
		t.tries = 0
		if original(rec) != nil || rec.Ref.File != c.number {
			continue // of another content file, in a store file
		}
		ref := slot.Ref{File: c.number, Slot: rec.Ref.Slot}
		var before contentFile
		if t.again {
			q.lostSlots(c, t.next, min(ref.Slot, c.slots))
			t.next = ref.Slot + 1
			if rec.Ref.Slot >= c.slots || c.dead.has(ref.Slot) || c.stated.has(ref.Slot) || q.open[ref] != nil || q.IsParked(ref) {
				continue
			}
		} else {
			before = *c
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
			moved = c
			if c.dead.has(ref.Slot) || c.stated.has(ref.Slot) {
				continue // known from a log whose cursor entry was lost
			}
		}
		if rec.Type != slot.TypeMessage {
			q.bury(ref)
			continue
		}
		m, err := careful(q, OfRecord, ref, func() (*Message, error) { return q.tailed(c, rec) })
		if errors.Is(err, ErrDamaged) {
			err = q.corrupt(ref, string(rec.ID), place{}, largeOf(rec, err), t.span(rec), err.Error())
		}
		if err != nil { // it is met again
			if t.again {
				t.old = append([]*contentFile{c}, t.old...)
			} else {
				c.slots, c.offset, c.growing = before.slots, before.offset, before.growing
			}
			t.close()
			return out, err
		}
		if c.dead.has(ref.Slot) {
			continue
		}
		if r := &m.Envelope.Replaces; (!t.again || q.rebuilt) && r.ID != "" && len(r.Recipients) > 0 {
			old := slot.Ref{File: r.File, Slot: r.Slot}
			rs := rising(r.Recipients)
			if !q.alive(old) {
				old, rs = slot.Ref{}, nil
			}
			q.logCursor(c, old, rs)
			moved = nil
			if len(rs) > 0 {
				m.Replaced = true
				q.mark(old, rs)
				if q.open[old] == nil { // nobody else would see that it is over
					q.crossed(old, r.ID)
				}
			}
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
		if out == nil {
			out = make([]*Message, 0, min(limit, 16))
		}
		out = append(out, m)
		weight += len(m.Envelope.Recipients)
	}
	return out, nil
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

// readable is how far a content file may be read.
func (q *Queue) readable(c *contentFile) int64 {
	switch {
	case mutant.On(mutant.TailUnsynced):
		return 1 << 40
	case c.sealed:
		return c.length
	case q.tail.durable.File == c.number:
		return q.tail.durable.Offset
	}
	return c.offset
}

// nextContent opens the next file to be tailed. False means that there is none.
func (q *Queue) nextContent() (bool, error) {
	t := &q.tail
	if ok := q.nextOld(); ok {
		return true, nil
	}
	ok, err := q.nextNew()
	if err == nil && !ok && t.shut > 0 {
		err = t.unopened()
	}
	return ok, err
}

// unopened says why old files could not be opened, when nothing else is left to be read.
// The next call tries them again.
func (t *tailState) unopened() error {
	err := t.why
	t.shut, t.why = 0, nil
	return err
}

// nextOld opens the next file with messages that were open at the last stop. One that
// cannot be opened holds up no other, and is kept.
func (q *Queue) nextOld() bool {
	t := &q.tail
	for t.shut < len(t.old) {
		c := t.old[t.shut]
		if c.store == nil && c.name == "" {
			q.o.Logf("warning: content file %d is lost", c.number)
			t.old = slices.Delete(t.old, t.shut, t.shut+1)
			continue
		}
		err := q.openOld(c)
		if err == nil || mutant.On(mutant.ForgetShut) {
			t.old = slices.Delete(t.old, t.shut, t.shut+1)
		}
		if err == nil {
			return true
		}
		if mutant.On(mutant.ForgetShut) {
			continue
		}
		t.shut, t.why = t.shut+1, err
	}
	return false
}

func (q *Queue) openOld(c *contentFile) error {
	if c.store != nil {
		return q.openStored(c)
	}
	return q.openTail(c, slot.DataStart, c.offset, true)
}

// nextNew opens the file that is to be read on.
func (q *Queue) nextNew() (bool, error) {
	t := &q.tail
	n, ok := q.following()
	if !ok && t.durable.File > 0 && t.names[t.durable.File] == "" {
		if err := q.list(); err != nil {
			return false, err
		}
		n, ok = q.following()
	}
	if !ok {
		return false, nil
	}
	c := q.content(n)
	if c.name == "" {
		if err := q.list(); err != nil {
			return false, err
		}
		if c.name == "" {
			return false, nil
		}
	}
	return true, q.openTail(c, c.offset, q.readable(c), false)
}

// following returns the number of the file to be tailed now: the first one
// that was not passed, as long as anything in it is durable.
func (q *Queue) following() (uint64, bool) {
	from, best := q.cursorFile(), uint64(0)
	for n := range q.tail.names {
		if n < from || n > q.tail.durable.File || n == from && (q.contents[n] == nil || q.contents[n].passed) {
			continue
		}
		if best == 0 || n < best {
			best = n
		}
	}
	return best, best != 0
}

func (q *Queue) openTail(c *contentFile, from, size int64, again bool) error {
	f, err := q.fs.OpenFile(dirIncoming+"/"+c.name, 0, 0)
	if err != nil {
		return err
	}
	q.tail.begin(c, f, c.span(0), from, size)
	if q.tail.again = again; !again {
		q.tail.scan.Warm, q.tail.warm.most = q.o.Warm, q.o.Warm
	}
	return nil
}

// openStored opens what lives of a content file in the store.
func (q *Queue) openStored(c *contentFile) error {
	x, err := c.store.index(q.fs)
	if err != nil {
		return err
	}
	from, to := c.store.length, int64(slot.DataStart) // of its messages
	for _, e := range x {
		if off := int64(e.at) * slot.Align; e.ref.File == c.number {
			from, to = min(from, off), max(to, off)
		}
	}
	at := contentSpan{name: storeName(c.store.number), h: c.store.header()}
	f, err := q.fs.OpenFile(at.name, 0, 0)
	if err != nil {
		return err
	}
	if rec, _, err := slot.ReadRecord(f, at.h, to, nil); err == nil {
		to = rec.End()
	} else {
		to = c.store.length
	}
	q.tail.begin(c, f, at, from, to)
	q.tail.again = true
	return nil
}

func (t *tailState) begin(c *contentFile, f disk.File, at contentSpan, from, size int64) {
	t.c, t.f, t.at, t.rest, t.next = c, f, at, false, 0
	t.scan = slot.NewScanner(f, at.h, size)
	t.scan.Lazy, t.scan.Durable = true, size
	t.scan.MoveTo(from)
}

// span is where a record is that the scanner gave.
func (t *tailState) span(rec *slot.Record) contentSpan {
	at := t.at
	at.record, at.size = rec.Offset, rec.Size
	return at
}

// passed says that a content file was tailed to its end.
func (q *Queue) passed(c *contentFile, length int64) {
	c.passed, c.offset = true, length
	if !c.sealed {
		c.sealed, c.length = true, length
	}
	q.space.passed = max(q.space.passed, c.number)
	q.logCursor(c, slot.Ref{}, nil)
	q.log.end(appendSeal(q.log.begin(), slot.Content, c.number, length))
	q.writeIndex(c)
	q.checkContent(c)
}

// damagedContent saves a part of a journal file that is lost.
func (q *Queue) damagedContent(c *contentFile, f disk.File, err error) error {
	var d *slot.Damage
	if !errors.As(err, &d) {
		return err
	}
	name := fmt.Sprintf("content.%d.%d", c.number, d.From)
	if d.Record != nil {
		name = string(d.Record.ID)
	}
	if err := q.save(name, err.Error(), f, d.From, d.To); err != nil {
		q.tail.close() // it is met again
		return err
	}
	c.offset = d.To
	if d.Record != nil {
		q.lostSlots(c, c.slots, d.Record.Ref.Slot+1)
		c.slots = max(c.slots, d.Record.Ref.Slot+1)
	}
	return nil
}

// lostSlots finishes the slots from n up to number that nobody can read and
// nothing else knows; what they were is in corrupt/.
func (q *Queue) lostSlots(c *contentFile, n, number uint32) {
	for n < number {
		var lost []uint32
		for ; n < number && len(lost) < entrySlots; n++ {
			if c.dead.has(n) || c.stated.has(n) || q.open[slot.Ref{File: c.number, Slot: n}] != nil || q.IsParked(slot.Ref{File: c.number, Slot: n}) {
				continue
			}
			lost = append(lost, n)
			q.bury(slot.Ref{File: c.number, Slot: n})
		}
		if len(lost) > 0 {
			q.log.endSlots(appendSlots(q.log.begin(), entDelete, c.number, lost), c.number, lost)
		}
	}
}
