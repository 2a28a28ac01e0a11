package spool

import (
	"fmt"
	"io"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Snapshot is what was in the queue at one moment, for a listing or a search.
// One goroutine, any one, may use it, until Queue.Close.
type Snapshot struct {
	q     *Queue
	open  []openItem
	new   []newItem // parked without a state record
	runs  []*runView
	files map[uint64]*fileView
	skip  map[slot.Ref]bool // open ones
	marks map[slot.Ref]Set  // done since the last PUT

	f    disk.File
	scan *slot.Scanner
	buf  []byte // for one record

	search *search // for ids, or nil

	strict bool // what is damaged or not there is an error
	short  bool // some of what is in memory could not be written, and is not there

	unread int   // messages that are there and could not be read
	why    error // the last of them
}

// Unreadable is what Next says in place of io.EOF when some of what is in the queue could
// not be read: what it gave before is right, and not all.
type Unreadable struct {
	Count int   // of messages, at most; 0: nobody knows
	Err   error // why one of them could not be
}

func (e *Unreadable) Error() string {
	if e.Count == 0 {
		return fmt.Sprintf("this is not all: parts of the queue cannot be read: %v", e.Err)
	}
	return fmt.Sprintf("this is not all: up to %d messages in the queue cannot be read: %v", e.Count, e.Err)
}

// Unwrap returns Err.
func (e *Unreadable) Unwrap() error { return e.Err }

// skipped counts messages that are passed over.
func (s *Snapshot) skipped(n int, err error) {
	if n > 0 || s.search != nil {
		s.unread += n
		s.why = err
	}
}

// end is what Next says after the last message.
func (s *Snapshot) end() error {
	err := s.why
	s.why = nil
	switch {
	case err == nil, s.search != nil && s.search.given >= len(s.search.ids):
		return io.EOF
	case s.search != nil: // how many have none of the ids nobody knows
		return &Unreadable{0, err}
	}
	return &Unreadable{s.unread, err}
}

type openItem struct {
	m    *Message
	done Set
	held bool
}

// runView and fileView are copies of what the owner may change.
type runView struct {
	r      *run
	dead   bitmap
	live   int // records that are not dead, of which so many are
	seen   int
	err    error // why one was not
	end    int64
	name   string
	sealed bool
	filter *filter // for a search
}

type fileView struct {
	c          contentFile // name and header
	store      *storeFile
	dead, held bitmap
}

// Snapshot fixes what is in the queue at this moment. It must be closed.
func (q *Queue) Snapshot() *Snapshot { return q.fix(nil) }

// fix fixes all, or, of what is open, only the messages with these ids.
func (q *Queue) fix(ids map[string]bool) *Snapshot {
	s := &Snapshot{q: q, files: make(map[uint64]*fileView), skip: make(map[slot.Ref]bool)}
	if err := q.writeRuns(); err != nil {
		s.short = true
		q.o.Logf("warning: a listing is not complete: %v", err)
	}
	for _, r := range q.runs {
		if r.live() == 0 || r.freeing {
			continue
		}
		end := r.length
		if r.enc != nil { // what could not be written cannot be listed
			_, end = r.enc.Batch()
		}
		r.pins.Add(1)
		v := &runView{r: r, dead: r.dead.clone(r.slots), live: r.live(), end: end, name: r.name(), sealed: r.sealed}
		if ids != nil {
			v.filter = r.filter.Load().view()
		}
		s.runs = append(s.runs, v)
	}
	slices.SortFunc(s.runs, func(a, b *runView) int { return byMinute(a.r, b.r) })
	for n, c := range q.contents {
		s.files[n] = &fileView{c: contentFile{name: c.name, h: c.h}, store: c.store, dead: slices.Clone(c.dead), held: slices.Clone(c.held)}
	}
	for ref, m := range q.open {
		if ids != nil && !ids[string(m.Envelope.ID)] {
			continue
		}
		s.skip[ref] = true
		if q.alive(ref) {
			done := slices.Clone(m.State.Done)
			done.Merge(q.marks[ref])
			s.open = append(s.open, openItem{m, done, q.IsHeld(ref)})
		}
	}
	s.new = make([]newItem, 0, len(q.parked))
	for ref, w := range q.parked {
		s.new = append(s.new, newItem{ref, w.at, slices.Clone(q.marks[ref])})
	}
	s.marks = make(map[slot.Ref]Set)
	for ref, done := range q.marks {
		if !s.skip[ref] {
			s.marks[ref] = slices.Clone(done)
		}
	}
	slices.SortFunc(s.open, func(a, b openItem) int { return a.m.Ref.Compare(b.m.Ref) })
	slices.SortFunc(s.new, func(a, b newItem) int { return a.ref.Compare(b.ref) })
	return s
}

// Next returns the next message: the open ones, the parked new ones, then by run, or io.EOF. What
// is damaged is passed over, since the owner meets it in its time, and is counted: then an
// *Unreadable stands in the place of io.EOF.
func (s *Snapshot) Next() (*Item, error) {
	it, err := s.advance()
	if it != nil && s.search != nil {
		s.search.given++
	}
	return it, err
}

func (s *Snapshot) advance() (*Item, error) {
	if s.strict && s.short {
		return nil, errNotWhole
	}
	if len(s.open) > 0 {
		o := s.open[0]
		s.open = s.open[1:]
		return openedItem(o), nil
	}
	if s.search != nil && s.search.refs == nil {
		s.find()
	}
	for len(s.new) > 0 {
		n := s.new[0]
		s.new = s.new[1:]
		it, err := s.newItem(n)
		if err == nil && s.search != nil && !s.search.ids[string(it.ID)] {
			continue
		}
		if err == nil || s.strict {
			return it, err
		}
		s.skipped(1, err)
	}
	for s.scan != nil || len(s.runs) > 0 {
		if s.scan == nil {
			if err := s.next(); err != nil {
				return nil, err
			}
			continue
		}
		rec, err := s.record()
		switch {
		case err == io.EOF:
			s.done()
		case err != nil && s.strict:
			return nil, errNotWhole
		case err != nil:
			s.runs[0].err = err
		default:
			if it, err := s.stated(rec); it != nil || err != nil {
				return it, err
			}
		}
	}
	return nil, s.end()
}

// stated makes an item of a state record: nil when it is over, known otherwise, not looked for
// or damaged.
func (s *Snapshot) stated(rec *slot.Record) (*Item, error) {
	switch {
	case len(rec.Envelope) < stateHead && s.strict:
		return nil, errNotWhole
	case len(rec.Envelope) < stateHead, s.runs[0].dead.has(rec.Ref.Slot):
		return nil, nil
	}
	s.runs[0].seen++
	ref := stateRef(rec.Envelope)
	f := s.files[ref.File]
	if f == nil || f.dead.has(ref.Slot) || s.skip[ref] {
		return nil, nil
	}
	if s.search != nil {
		if !s.search.refs[ref] || !s.search.ids[string(rec.ID)] {
			return nil, nil
		}
		delete(s.search.refs, ref)
	}
	st, err := decodeState(rec.Envelope)
	if err != nil && s.strict {
		return nil, errNotWhole
	}
	if err != nil {
		s.skipped(1, err)
		return nil, nil
	}
	if done, ok := s.marks[ref]; ok {
		st.State = without(st.State, done)
		st.Listed = slices.DeleteFunc(st.Listed, func(r ItemRecipient) bool { return done.Has(r.Number) })
	}
	it := st.item()
	it.ID, it.Queue = rec.ID, InDeferred
	if f.held.has(ref.Slot) {
		it.Queue = InHold
	}
	it.place, it.offset, it.large = place{rec.Ref.File, rec.Ref.Slot}, rec.Offset, st.Large
	it.Target.content = f.c.span(st.content)
	if f.store != nil {
		if it.Target.content, err = f.store.span(s.q.fs, ref); err != nil && s.strict {
			return nil, err
		}
	}
	return it, nil
}

// record reads the next record of a run.
func (s *Snapshot) record() (*slot.Record, error) {
	if s.search != nil {
		return s.search.next(s.runs[0], s.scan)
	}
	return s.scan.Next()
}

// next opens the next run, unless nothing that is looked for is in it.
func (s *Snapshot) next() error {
	v := s.runs[0]
	if s.search != nil && !s.search.begin(v) {
		s.done()
		return nil
	}
	f, err := s.q.fs.OpenFile(v.name, 0, 0)
	if err != nil && !s.strict {
		v.err = err
		s.done()
		return nil
	}
	if err != nil {
		return err
	}
	h := slot.Header{Kind: v.r.kind(), Number: v.r.number, Key: v.r.key}
	s.f, s.scan = f, slot.NewScanner(f, h, v.end)
	s.scan.Durable = v.end
	return nil
}

// done leaves the run that is read.
func (s *Snapshot) done() {
	if s.f != nil {
		s.f.Close()
	}
	s.f, s.scan = nil, nil
	if v := s.runs[0]; v.err != nil {
		s.skipped(v.live-v.seen, v.err)
	}
	s.runs[0].r.pins.Add(-1)
	s.runs = s.runs[1:]
}

// Close lets go of the files the snapshot reads.
func (s *Snapshot) Close() {
	for len(s.runs) > 0 {
		s.done()
	}
	s.open, s.new = nil, nil
}

// newItem reads the envelope of a parked message without a state record.
func (s *Snapshot) newItem(n newItem) (*Item, error) {
	f := s.files[n.ref.File]
	if f == nil {
		return nil, errNotWhole
	}
	at, err := f.c.span(n.at), error(nil)
	if f.store != nil {
		if at, err = f.store.span(s.q.fs, n.ref); err != nil {
			return nil, err
		}
	}
	var rec slot.Record
	if rec, s.buf, err = s.q.readRecord(at, s.buf); err != nil {
		return nil, err
	}
	env, err := mail.DecodeEnvelope(rec.Envelope)
	if err != nil {
		return nil, err
	}
	large := ""
	if rec.Flags&slot.FlagLarge != 0 {
		large = string(env.ID)
	}
	m := &Message{Ref: n.ref, Envelope: env, Large: large, content: at}
	it := openedItem(openItem{m, n.done, f.held.has(n.ref.Slot)})
	it.Open = false
	if it.Queue == InActive {
		it.Queue = InIncoming
	}
	return it, nil
}

// Stored returns how many bytes the files in store/ have: what unfinished mail takes up
// besides incoming/ and content/, which cleanup counts.
func (q *Queue) Stored() int64 { return q.space.stored }

// Stats returns figures for status and tests.
func (q *Queue) Stats() Stats {
	s := q.stats
	s.Open, s.Runs, s.ContentFiles = len(q.open), len(q.runs), len(q.contents)
	s.StoreFiles, s.StoreBytes = len(q.stores), q.space.stored
	s.Used = q.space.stored
	for _, c := range q.contents {
		if c.store == nil {
			s.Used += max(c.length, c.offset)
		}
	}
	s.LogBytes, s.Syncs = q.log.bytes, q.log.syncs
	for _, r := range q.runs {
		s.Used += r.length
		if r.hold {
			s.Held += r.live()
		} else {
			s.Deferred += r.live()
		}
	}
	return s
}
