package spool

import (
	"errors"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// ahead reads what is deferred in a goroutine of its own, so that the owner never
// waits for a disk that is cold: first a run whose minute comes, as a list of what is
// due in it; then, in the order in which they are due, the records of the messages
// that are to be handed out and of their contents. What is read comes back through
// Events. Meanwhile anything may happen to a message: the owner looks at what memory
// says of it when he takes it over, and a record at a place never changes.
type ahead struct {
	bg    background
	jobs  int      // under way
	asked []*asked // in order; the first ones may be ready
}

// askedMax bounds how many messages are being read, or read and not handed out.
const askedMax = 256

// asked is a state record that is being read.
type asked struct {
	run    *run
	slot   uint32
	offset int64
	flush  bool
	refile bool // only to be filed again

	step  step
	rec   slot.Record // the state record
	err   error
	store *storeFile // where the message is looked for; or nil and
	at    contentSpan
	found slot.Record // the message's record, without its content; Type 0: not there
}

type step uint8

const (
	unread step = iota
	reading
	ready
)

// Reading says whether something is being read in the background that is going to
// come through Events.
func (q *Queue) Reading() bool { return q.ahead.jobs > 0 }

// aside has f read in the background, and then done run by the owner.
func (q *Queue) aside(f, done func()) {
	q.ahead.jobs++
	q.ahead.bg.do(func() {
		f()
		q.post(func() {
			if q.ahead.jobs--; !q.dead {
				done()
			}
		})
	})
}

// sendAsked has those read that nobody reads yet.
func (q *Queue) sendAsked() {
	var xs []*asked
	for _, x := range q.ahead.asked {
		if x.step != unread {
			continue
		}
		if x.run.enc != nil { // it is to be in the file
			if x.err = q.writeRun(x.run); x.err != nil {
				x.step = ready
				continue
			}
		}
		x.step = reading
		xs = append(xs, x)
	}
	if len(xs) > 0 {
		q.aside(func() { readStates(q.fs, xs) }, func() { q.statesRead(xs) })
	}
}

// readStates reads state records, in the background.
func readStates(fsys disk.FS, xs []*asked) {
	var f disk.File
	var of *run
	for _, x := range xs {
		if of != x.run {
			if f != nil {
				f.Close()
			}
			of = x.run
			if f, x.err = fsys.OpenFile(x.run.name(), os.O_RDONLY, 0); x.err != nil {
				of, f = nil, nil
				continue
			}
		}
		x.rec, _, x.err = slot.ReadRecord(f, x.run.header(), x.offset, nil)
		if x.err == nil && len(x.rec.Envelope) < stateHead {
			x.err = ErrDamaged
		}
	}
	if f != nil {
		f.Close()
	}
}

// statesRead has the messages read that are still to be handed out.
func (q *Queue) statesRead(xs []*asked) {
	var open []*asked
	for _, x := range xs {
		x.step = ready
		if x.err != nil || x.refile || x.run.dead.has(x.slot) {
			continue
		}
		ref := stateRef(x.rec.Envelope)
		c := q.contents[ref.File]
		if c == nil || c.dead.has(ref.Slot) || q.open[ref] != nil || q.IsHeld(ref) {
			continue
		}
		d := decoder{b: x.rec.Envelope[stateHead:]}
		x.store, x.at = c.store, c.span(int64(d.uint()))
		if c.store != nil || c.name != "" {
			x.step = reading
			open = append(open, x)
		}
	}
	if len(open) == 0 {
		return
	}
	var buf []byte
	q.aside(func() {
		for _, x := range open {
			buf = q.readMessage(x, buf)
		}
	}, func() {
		for _, x := range open {
			x.step = ready
		}
	})
}

// readMessage reads the record of a message, in the background. What goes wrong is
// met again by the owner, who knows what has become of it.
func (q *Queue) readMessage(x *asked, buf []byte) []byte {
	var err error
	if x.store != nil {
		if x.at, err = x.store.span(q.fs, stateRef(x.rec.Envelope)); err != nil {
			return buf
		}
	}
	rec, buf, err := q.readRecord(x.at, buf)
	if err != nil {
		return buf
	}
	rec.Envelope = slices.Clone(rec.Envelope)
	if rec.Flags&slot.FlagLarge != 0 {
		rec.Content = slices.Clone(rec.Content)
	} else {
		rec.Content = nil
	}
	x.found = rec
	return buf
}

// handOut gives the messages at the head of those asked for whose records are there.
func (q *Queue) handOut(limit int, now int64) (out []*Message, err error) {
	a := &q.ahead
	n, weight := 0, 0
	for n < len(a.asked) && len(out) < limit && weight < batchRecipients && a.asked[n].step == ready {
		x := a.asked[n]
		var m *Message
		if m, err = q.takeRead(x); err != nil {
			x.step, x.err = unread, nil // it is read again at the next call
			break
		}
		n++
		if m != nil && !x.flush && m.State.Due().UnixMilli() > now {
			q.Put(m, m.State) // those that were due were crossed off
			m = nil
		}
		if m != nil {
			m.Flushed = x.flush
			out = append(out, m)
			weight += len(m.Envelope.Recipients)
		}
	}
	a.asked = append(a.asked[:0], a.asked[n:]...)
	clear(a.asked[len(a.asked):cap(a.asked)])
	return out, err
}

// takeRead makes an open message of what was read, or nothing when it is not to be
// tried any more.
func (q *Queue) takeRead(x *asked) (*Message, error) {
	if x.run.dead.has(x.slot) || q.runs[x.run.number] != x.run {
		return nil, nil
	}
	if x.err != nil {
		return nil, q.badState(x.run, x.slot, x.offset, x.err)
	}
	return q.takeRecord(x.run, &x.rec, x.slot, x.offset, x)
}

// scanned is what one run holds, read in the background.
type scanned struct {
	seen   bitmap // slots
	damage []*slot.Damage
	err    error // of reading
}

// scanRun reads the records of a run, as far as it goes now. f is called for each in
// the background, then done by the owner, unless the run is gone: without an error all
// of it was read. Slots whose records are damaged are dead then: a search will find
// out whom they were about.
func (q *Queue) scanRun(r *run, f func(rec *slot.Record), done func(error)) {
	name, h, length, slots := r.name(), r.header(), r.length, r.slots
	var s scanned
	q.aside(func() { s.read(q.fs, name, h, length, f) }, func() {
		if q.runs[r.number] != r {
			s.err = errGone
		}
		if notExist(s.err) {
			q.lostRun(r, s.err)
			s.err = errGone
		}
		if s.err == nil {
			q.lostSlotsOf(r, &s, slots)
		}
		done(s.err)
	})
}

// errGone: the run is not there any more.
var errGone = errors.New("the run is gone")

func (s *scanned) read(fsys disk.FS, name string, h slot.Header, length int64, f func(*slot.Record)) {
	file, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		s.err = err
		return
	}
	defer file.Close()
	scan := slot.NewScanner(file, h, length)
	scan.Durable = length
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			return
		}
		var d *slot.Damage
		if errors.As(err, &d) {
			s.damage = append(s.damage, d)
			continue
		}
		s.seen.set(rec.Ref.Slot)
		if len(rec.Envelope) >= stateHead {
			f(rec)
		}
	}
}

// lostSlotsOf saves what is damaged in a run and marks dead what cannot be read, once:
// damage in which nothing lives any more is no loss.
func (q *Queue) lostSlotsOf(r *run, s *scanned, slots uint32) {
	if len(s.damage) == 0 {
		return
	}
	var lost []uint32
	for n := range slots {
		if !s.seen.has(n) && !r.dead.has(n) {
			lost = append(lost, n)
		}
	}
	if len(lost) == 0 {
		return
	}
	f, err := q.fs.OpenFile(r.name(), os.O_RDONLY, 0)
	if err != nil {
		q.o.Logf("warning: %v", err)
		return
	}
	defer f.Close()
	for _, d := range s.damage {
		q.damagedState(r, f, d)
	}
	for _, n := range lost {
		q.killNow(place{r.number, n})
	}
}

// ReadAhead has what Open is going to read brought into memory by the system, in the
// background, so that Open does not wait for a disk that is cold.
func (q *Queue) ReadAhead(ps []Parked) {
	var xs, fresh []*asked
	for _, p := range ps {
		if p.new {
			ref := slot.Ref{File: p.file, Slot: p.slot}
			if w, c := q.parked[ref], q.contents[p.file]; c != nil && c.store == nil && c.name != "" && w.at != 0 {
				fresh = append(fresh, &asked{at: c.span(w.at)})
			}
		} else if r := q.runs[p.file]; r != nil && p.slot < r.slots && r.enc == nil {
			xs = append(xs, &asked{run: r, slot: p.slot, offset: int64(p.at) * slot.Align})
		}
	}
	q.aside(func() {
		var buf []byte
		for _, x := range fresh {
			buf = q.readMessage(x, buf)
		}
		readStates(q.fs, xs)
	}, func() { q.statesRead(xs) })
}
