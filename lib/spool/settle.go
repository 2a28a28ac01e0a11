package spool

import (
	"errors"
	"io"
	"maps"
	"slices"

	"postrider/lib/slot"
)

// ends finds the ends of all content files but the last, which may still grow.
func (b *rebuild) ends() error {
	q := b.q
	for n, c := range q.contents {
		if c.name == "" && c.store == nil { // only an old log knows it
			delete(q.contents, n)
		}
	}
	for n, s := range q.stores {
		if len(s.files) == 0 {
			q.space.stored -= s.length
			delete(q.stores, n)
		}
	}
	numbers := slices.Sorted(maps.Keys(q.tail.names))
	numbers = slices.DeleteFunc(numbers, func(n uint64) bool { return q.contents[n] == nil })
	for i, n := range numbers {
		if c := q.contents[n]; i < len(numbers)-1 && c.store == nil {
			if err := b.end(c); err != nil {
				return err
			}
			q.space.passed = max(q.space.passed, n)
		}
	}
	return nil
}

func (b *rebuild) end(c *contentFile) error {
	f, h, err := openSlotFile(b.q.fs, dirIncoming+"/"+c.name, slot.Content, c.number)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	s := slot.NewScanner(f, h, size)
	if l, ok := b.q.tail.seals[c.number]; ok {
		s = slot.NewScanner(f, h, min(size, l))
		s.Durable = min(size, l)
	}
	for {
		rec, err := s.Next()
		if err == io.EOF {
			break
		}
		var d *slot.Damage
		switch {
		case err == nil:
			c.slots = max(c.slots, rec.Ref.Slot+1)
		case errors.As(err, &d) && d.Record != nil:
			c.slots = max(c.slots, d.Record.Ref.Slot+1)
		}
	}
	c.offset, c.length = s.Offset(), s.Offset()
	c.sealed, c.passed = true, true
	return nil
}

// settle decides which state records live. A message without one is tailed anew.
func (b *rebuild) settle() {
	q := b.q
	deferred, unstated := 0, 0
	for n, c := range q.contents {
		all := b.newest[n]
		for i := range all {
			p, ref := all[i].at, slot.Ref{File: n, Slot: uint32(i)}
			if p.ok() && (c.dead.has(ref.Slot) || q.runs[p.run] == nil || q.runs[p.run].dead.has(p.slot)) {
				b.kill(p)
				all[i] = newest{}
			}
		}
		has := func(i uint32) bool {
			if _, ok := b.strays[slot.Ref{File: n, Slot: i}]; ok {
				return true
			}
			return int(i) < len(all) && all[i].at.ok()
		}
		for i := range max(c.slots, uint32(len(c.stated)*64)) {
			switch {
			case c.dead.has(i):
			case has(i):
				deferred++
			default:
				c.stated.clear(i)
				if i < c.slots {
					unstated++
				}
			}
		}
	}
	for ref, s := range b.strays {
		c := q.contents[ref.File]
		if c == nil || c.dead.has(ref.Slot) {
			continue
		}
		n := b.of(ref)
		if n.at.ok() && int32(s.gen-n.gen) < 0 {
			continue
		}
		s.kill = n.at
		q.strays = append(q.strays, s)
	}
	for _, c := range q.contents {
		c.ndead = uint32(c.dead.count(maxNumber))
	}
	q.o.Logf("warning: rebuilt: %d deferred messages, %d others in %d content files", deferred, unstated, len(q.contents))
}

// fileStrays files the state records again that only the log had. The log has
// been begun.
func (q *Queue) fileStrays() {
	for _, s := range q.strays {
		q.file(stateRef(s.state), s.id, s.state, s.kill)
	}
	q.strays = nil
}
