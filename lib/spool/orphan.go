package spool

import (
	"slices"

	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// orphans is the search, after state records or parts of the log were lost, for
// messages that live and are named by no living state record. It goes through all
// runs in the background; damage is rare. What it finds goes on hold with every
// recipient that is not known to be done. Of two records of one message the newer
// stays.
type orphans struct {
	runs  []*run             // still to be read
	all   []*run             // for a second time, when some message was named twice
	named map[uint64]*bitmap // by content file
	twice map[slot.Ref]newest
}

// name says that a message has a state record. It reports whether it had none.
func (s *orphans) name(ref slot.Ref) bool {
	b := s.named[ref.File]
	if b == nil {
		b = new(bitmap)
		s.named[ref.File] = b
	}
	return b.set(ref.Slot)
}

// findOrphans begins the search if one is wanted.
func (q *Queue) findOrphans() {
	if !q.space.orphans || q.space.search != nil || q.dead || mutant.On(mutant.NoSearch) {
		return
	}
	if q.writeRuns() != nil {
		return // again when there is space
	}
	q.space.orphans = false
	s := &orphans{named: make(map[uint64]*bitmap), twice: make(map[slot.Ref]newest)}
	for _, r := range q.runs {
		if r.live() > 0 {
			s.all = append(s.all, r)
		}
	}
	s.runs = s.all
	q.space.search = s
	q.searchOn(s)
}

// searchOn reads the next run, in the background.
func (q *Queue) searchOn(s *orphans) {
	for len(s.runs) > 0 && q.runs[s.runs[0].number] != s.runs[0] {
		s.runs = s.runs[1:]
	}
	if len(s.runs) == 0 {
		if len(s.twice) > 0 && s.all != nil {
			s.runs, s.all = s.all, nil // to see which are older
			q.searchOn(s)
			return
		}
		var files []*contentFile
		for _, c := range q.contents {
			files = append(files, c)
		}
		q.orphansIn(s, files)
		return
	}
	r := s.runs[0]
	s.runs = s.runs[1:]
	type record struct {
		ref  slot.Ref
		slot uint32
		gen  uint32
	}
	var list []record
	dead := r.dead.clone(r.slots)
	q.scanRun(r, func(rec *slot.Record) {
		if !dead.has(rec.Ref.Slot) {
			list = append(list, record{stateRef(rec.Envelope), rec.Ref.Slot, rec.Generation})
		}
	}, func(err error) {
		if err != nil && err != errGone {
			q.o.Logf("warning: %v", err)
			q.space.orphans, q.space.search = true, nil // once more
			return
		}
		for _, x := range list {
			p := place{r.number, x.slot}
			n, doubted := s.twice[x.ref]
			switch {
			case err != nil || r.dead.has(x.slot):
			case s.all != nil: // the first time
				if !s.name(x.ref) {
					s.twice[x.ref] = newest{}
				}
			case !doubted:
			case n.at.ok() && int32(x.gen-n.gen) < 0:
				q.killNow(p)
			default:
				if n.at.ok() {
					q.killNow(n.at)
				}
				s.twice[x.ref] = newest{x.gen, p}
			}
		}
		q.searchOn(s)
	})
}

// orphan is a message without state record.
type orphan struct {
	rec slot.Record
	at  contentSpan
}

// orphansIn puts on hold what lives in content files, has been deferred, and is not
// named. Damage that is met meanwhile is for the next search.
func (q *Queue) orphansIn(s *orphans, files []*contentFile) {
	for len(files) > 0 {
		c := files[0]
		files = files[1:]
		var slots []uint32
		for n := range c.slots {
			if q.orphaned(s, c, n) {
				slots = append(slots, n)
			}
		}
		if len(slots) == 0 || q.contents[c.number] != c || c.name == "" && c.store == nil {
			continue
		}
		index, at, store := q.indexer(c), c.span(0), c.store
		if store != nil {
			at = contentSpan{name: storeName(store.number), h: store.header()}
		}
		var found []orphan
		var err error
		q.aside(func() { found, err = q.readOrphans(index, at, c.number, slots) }, func() {
			switch {
			case err != nil || c.store != store:
				if err != nil {
					q.o.Logf("warning: %v", err)
				}
				q.space.orphans = true // once more
			default:
				for _, o := range found {
					if q.orphaned(s, c, o.rec.Ref.Slot) {
						q.holdOrphan(c, &o)
					}
				}
			}
			q.orphansIn(s, files)
		})
		return
	}
	q.space.search = nil
}

func (q *Queue) orphaned(s *orphans, c *contentFile, n uint32) bool {
	named := s.named[c.number]
	return c.stated.has(n) && !c.dead.has(n) && (named == nil || !named.has(n)) && q.open[slot.Ref{File: c.number, Slot: n}] == nil
}

// readOrphans reads messages, in the background. Those that are damaged too are left
// out: they go to corrupt/ when somebody looks at them.
func (q *Queue) readOrphans(load func() (index, error), at contentSpan, file uint64, slots []uint32) (found []orphan, err error) {
	x, err := load()
	if err != nil {
		return nil, err
	}
	for _, n := range slots {
		var ok bool
		if at.record, ok = x.find(slot.Ref{File: file, Slot: n}); !ok {
			continue
		}
		rec, _, err := q.readRecord(at, nil)
		if err != nil {
			continue
		}
		rec.Envelope = slices.Clone(rec.Envelope)
		if rec.Content = slices.Clone(rec.Content); rec.Flags&slot.FlagLarge == 0 {
			rec.Content = nil
		}
		found = append(found, orphan{rec, at})
	}
	return found, nil
}

// holdOrphan puts a message on hold whose state is lost.
func (q *Queue) holdOrphan(c *contentFile, o *orphan) {
	m, err := q.message(c, &o.rec, o.rec.Content, o.at)
	if err != nil {
		return
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
