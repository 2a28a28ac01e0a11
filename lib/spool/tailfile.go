package spool

import (
	"slices"

	"postrider/lib/disk"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// tailEnded decides what the end of what may be read of the file is: its own end, so that the
// next file is read, or errAllTailed.
func (q *Queue) tailEnded() error {
	t, c := &q.tail, q.tail.c
	left := t.durable.File > c.number // its writer went on to another file
	if left && !c.sealed && !t.scan.Sealed() {
		// It did so without saying so in this file: the next one may say where it ends.
		if err := q.list(); err != nil {
			return err
		}
		q.readSeals(c.number)
		size, err := t.f.Size()
		if err != nil {
			return err
		}
		if l, ok := t.seals[c.number]; ok {
			size = min(size, l)
			t.scan.Durable = l
		}
		if t.scan.Extend(size); t.scan.Offset() < size && !t.rest {
			t.rest = true
			return nil
		}
	}
	if !left && !c.sealed && !t.scan.Sealed() {
		if t.shut == 0 {
			return errAllTailed
		}
		t.close() // so that the next call begins with what could not be opened
		return t.unopened()
	}
	t.moved = nil
	q.passed(c, t.scan.Offset())
	t.close()
	return nil
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
