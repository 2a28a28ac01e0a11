package spool

import (
	"io"

	"postrider/lib/mail"
	"postrider/lib/slot"
)

// findOrphans looks, after state records or parts of the log were lost, for
// messages that live and are named by no living state record, and puts them on
// hold with every recipient that is not known to be done. Of two records of
// one message the newer stays. It reads all runs at once; damage is rare.
func (q *Queue) findOrphans() error {
	if err := q.writeRuns(); err != nil {
		return err
	}
	named := make(map[uint64]*bitmap)
	twice := make(map[slot.Ref]newest)
	each := func(f func(r *run, rec *slot.Record, ref slot.Ref)) error {
		for _, r := range q.runs {
			if r.live() == 0 {
				continue
			}
			file, s, err := q.scan(r)
			if notExist(err) {
				q.lostRun(r, err)
				continue
			}
			if err != nil {
				return err
			}
			for {
				rec, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					q.damagedState(r, file, err)
					continue
				}
				if !r.dead.has(rec.Ref.Slot) && len(rec.Envelope) >= stateHead {
					f(r, rec, stateRef(rec.Envelope))
				}
			}
			file.Close()
		}
		return nil
	}
	err := each(func(_ *run, _ *slot.Record, ref slot.Ref) {
		b := named[ref.File]
		if b == nil {
			b = new(bitmap)
			named[ref.File] = b
		}
		if !b.set(ref.Slot) {
			twice[ref] = newest{}
		}
	})
	if err != nil {
		return err
	}
	if len(twice) > 0 {
		err := each(func(r *run, rec *slot.Record, ref slot.Ref) {
			n, ok := twice[ref]
			if !ok {
				return
			}
			p := place{r.number, rec.Ref.Slot}
			if n.at.ok() && int32(rec.Generation-n.gen) < 0 {
				q.killNow(p)
				return
			}
			if n.at.ok() {
				q.killNow(n.at)
			}
			twice[ref] = newest{rec.Generation, p}
		})
		if err != nil {
			return err
		}
	}
	for _, c := range q.contents {
		if err := q.orphansIn(c, named[c.number]); err != nil {
			return err
		}
	}
	return nil
}

// orphansIn puts on hold what lives in a content file, has been deferred, and
// is not in named.
func (q *Queue) orphansIn(c *contentFile, named *bitmap) error {
	if named == nil {
		named = new(bitmap)
	}
	lost := func(n uint32) bool {
		return c.stated.has(n) && !c.dead.has(n) && !named.has(n) && q.open[slot.Ref{File: c.number, Slot: n}] == nil
	}
	var slots []uint32
	for n := range c.slots {
		if lost(n) {
			slots = append(slots, n)
		}
	}
	if len(slots) == 0 || c.name == "" && c.store == nil {
		return nil
	}
	x, err := q.contentIndex(c)
	if err != nil {
		return err
	}
	for _, n := range slots {
		at := c.span(0)
		if c.store != nil {
			at = contentSpan{name: storeName(c.store.number), h: c.store.header()}
		}
		var ok bool
		if at.record, ok = x.find(slot.Ref{File: c.number, Slot: n}); !ok {
			continue // damaged too
		}
		rec, _, err := q.readRecord(at, nil)
		if err != nil {
			continue
		}
		m, err := q.message(c, &rec, rec.Content, at)
		if err != nil {
			continue // it goes to corrupt/ when somebody looks at it
		}
		st := State{Since: q.clock.spool, Done: q.marks[m.Ref]}
		g := Group{Due: st.Since, Status: mail.Status{DSN: "4.3.0", Text: "on hold: the record of its earlier deliveries is damaged; some recipients may have it already"}}
		for n := range m.Envelope.Recipients {
			if !st.Done.Has(uint32(n)) {
				g.Recipients = append(g.Recipients, uint32(n))
			}
		}
		st.Groups = []Group{g}
		slots := []uint32{m.Ref.Slot}
		c.held.set(m.Ref.Slot)
		q.log.endSlots(appendSlots(q.log.begin(), entHold, c.number, slots), c.number, slots)
		q.o.Logf("warning: %s is on hold: the record of its earlier deliveries is damaged", m.Envelope.ID)
		q.buf = appendState(q.buf[:0], m, &st)
		q.file(m.Ref, string(m.Envelope.ID), q.buf, place{})
	}
	return nil
}
