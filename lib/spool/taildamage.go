package spool

import (
	"errors"
	"fmt"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

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

// tailUnreadable decides about a place of the file that could not be read: it is met again
// (the error), or it counts as lost.
func (q *Queue) tailUnreadable(err error) error {
	t, c := &q.tail, q.tail.c
	var d *slot.Damage
	if errors.As(err, &d); d != nil && d.Err != nil && q.tryAgain() {
		t.meetAgain()
		return err // the disk may only fail for a moment
	}
	if !t.again {
		if err := q.damagedContent(c, t.f, err); err != nil {
			return err
		}
		t.moved = c
		return nil
	}
	if d != nil {
		name := fmt.Sprintf("content.%d.%d", c.number, d.From)
		if err := q.save(name, err.Error(), t.f, d.From, d.To); err != nil {
			t.meetAgain()
			return err
		}
	}
	return nil // the slots that are missing are lost
}

// meetAgain lets the next call begin with the file that is being read.
func (t *tailState) meetAgain() {
	if t.again {
		t.old = append([]*contentFile{t.c}, t.old...)
	}
	t.close()
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
