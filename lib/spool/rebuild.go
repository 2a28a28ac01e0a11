package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postrider/lib/slot"
)

// rebuild puts a spool together that has no good checkpoint (spool.md, "Start",
// step 2). Every content file is taken for unfinished, of the state records of
// a message the one with the highest generation counts, and what logs there
// still are is repeated over that. So nothing is lost; what was finished before
// the oldest log may be delivered again.
type rebuild struct {
	q      *Queue
	good   map[uint64]*bitmap  // by run: records that can be read
	newest map[uint64][]newest // by content file and slot
	strays map[slot.Ref]stray  // state records that only the log has
	spool  int64               // latest spool time seen, microseconds
}

// newest is the state record of a message with the highest generation so far.
type newest struct {
	gen uint32
	at  place
}

type stray struct {
	gen   uint32
	id    string
	state []byte
	kill  place
}

func (q *Queue) rebuild() (last time.Time, offset time.Duration, err error) {
	q.empty()
	q.o.Logf("error: there is no good checkpoint in %s/: the spool is rebuilt from all its files. No mail is lost, but mail that was delivered already may be delivered again", dirLog)
	b := &rebuild{q: q, good: make(map[uint64]*bitmap), newest: make(map[uint64][]newest), strays: make(map[slot.Ref]stray)}
	if err := b.contents(); err != nil {
		return last, 0, err
	}
	for _, dir := range []string{dirDeferred, dirHold} {
		if err := b.dir(dir); err != nil {
			return last, 0, err
		}
	}
	b.held()
	p := replay{q: q, limit: make(map[uint64]int64), rebuild: b}
	if err := p.logs(0); err != nil {
		return last, 0, err
	}
	if err := b.ends(); err != nil {
		return last, 0, err
	}
	b.settle()
	q.wheel.number += 1000 // runs may have been lost
	q.rebuilt = true
	if t := time.UnixMicro(b.spool); b.spool != 0 && t.After(p.last) {
		p.last = t
	}
	return p.last, p.offset, nil
}

// contents takes every content file there is for unfinished.
func (b *rebuild) contents() error {
	q := b.q
	if err := q.list(); err != nil {
		return err
	}
	for n := range q.tail.names {
		q.content(n)
	}
	if err := q.list(); err != nil { // learns their headers
		return err
	}
	if err := b.stores(); err != nil {
		return err
	}
	return q.readSeals(0)
}

// stores takes what is in store/ of content files whose own file is gone.
func (b *rebuild) stores() error {
	q := b.q
	es, err := q.fs.ReadDir(dirStore)
	if err != nil {
		return err
	}
	for _, e := range es { // the newer the later: the newest holds
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil {
			continue
		}
		f, h, err := openSlotFile(q.fs, storeName(n), slot.Store, n)
		if errors.Is(err, ErrVersion) {
			return err
		}
		if err != nil {
			q.o.Logf("warning: %v", err)
			if err := q.saveFile("store."+e.Name(), err.Error(), dirStore+"/"+e.Name()); err != nil {
				return err
			}
			continue
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return err
		}
		x, err := scanIndex(q.fs, storeName(n), h, size, q.saveDamage)
		if err != nil {
			return err
		}
		b.stored(&storeFile{number: n, key: h.Key, length: size}, x)
	}
	return nil
}

func (b *rebuild) stored(s *storeFile, x index) {
	q := b.q
	var files []uint64
	there := make(map[uint64]*bitmap)
	for _, e := range x {
		if q.tail.names[e.ref.File] != "" {
			continue
		}
		if there[e.ref.File] == nil {
			there[e.ref.File] = new(bitmap)
			files = append(files, e.ref.File)
		}
		there[e.ref.File].set(e.ref.Slot)
		c := q.content(e.ref.File)
		c.slots = max(c.slots, e.ref.Slot+1)
		c.sealed, c.passed = true, true
	}
	for _, n := range files {
		c := q.contents[n]
		for i := range c.slots {
			if !there[n].has(i) {
				c.dead.set(i)
			}
		}
		q.space.passed = max(q.space.passed, n)
	}
	q.swapped(s.number, s.key, s.length, files)
}

// dir reads the state records of all runs in a directory.
func (b *rebuild) dir(dir string) error {
	es, err := b.q.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range es {
		if err := b.run(dir, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (b *rebuild) run(dir, name string) error {
	q := b.q
	f, err := q.fs.OpenFile(dir+"/"+name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // what the last program wrote is relied on
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	r := &run{hold: dir == dirHold, sealed: true}
	if m, _, ok := strings.Cut(name, "."); ok {
		r.minute, _ = strconv.ParseInt(m, 10, 64)
	}
	h, err := readHeader(f)
	switch {
	case errors.Is(err, ErrVersion):
		return err
	case errors.Is(err, slot.ErrBlank):
		return nil // its first records are not written, or only in the log
	case err != nil && !errors.Is(err, ErrDamaged):
		return err
	case err == nil:
		r.number, r.key = h.Number, h.Key
	}
	if err != nil || h.Kind != r.kind() || r.name() != dir+"/"+name {
		return q.save("run."+name, "its header is lost, or it is not the file that its name says", f, 0, size)
	}
	b.spool = max(b.spool, h.Created)
	q.wheel.number = max(q.wheel.number, r.number+1)
	q.runs[r.number] = r
	good := new(bitmap)
	b.good[r.number] = good
	s := slot.NewScanner(f, h, size)
	s.Durable = size
	for {
		rec, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.damaged(r, f, err)
			continue
		}
		for n := r.slots; n < rec.Ref.Slot; n++ {
			r.dead.set(n)
		}
		r.slots, r.length = rec.Ref.Slot+1, rec.End()
		good.set(rec.Ref.Slot)
		b.record(r, rec)
	}
	r.ndead = uint32(r.dead.count(r.slots))
	return nil
}

// damaged saves what is lost of a run, unless it was never written.
func (b *rebuild) damaged(r *run, f io.ReaderAt, err error) {
	var d *slot.Damage
	if !errors.As(err, &d) {
		return
	}
	buf := make([]byte, min(d.To-d.From, 1<<20))
	n, _ := f.ReadAt(buf, d.From)
	if !slices.ContainsFunc(buf[:n], func(c byte) bool { return c != 0 }) {
		return
	}
	name := fmt.Sprintf("%v.%d.%d", r.kind(), r.number, d.From)
	if err := b.q.save(name, err.Error(), f, d.From, d.To); err != nil {
		b.q.o.Logf("warning: %v", err)
	}
}

// record takes a state record if it is the newest of a message that there is.
func (b *rebuild) record(r *run, rec *slot.Record) {
	q := b.q
	at := place{r.number, rec.Ref.Slot}
	b.generation(rec.Generation)
	if len(rec.Envelope) < stateHead {
		r.dead.set(at.slot)
		return
	}
	ref := stateRef(rec.Envelope)
	c := q.contents[ref.File]
	if c == nil { // its content file was freed, so it was finished
		r.dead.set(at.slot)
		return
	}
	n := b.of(ref)
	if n.at.ok() && int32(rec.Generation-n.gen) < 0 {
		r.dead.set(at.slot)
		return
	}
	if n.at.ok() {
		b.kill(n.at)
	}
	*n = newest{rec.Generation, at}
	c.stated.set(ref.Slot)
}

func (b *rebuild) generation(g uint32) {
	if int32(g-b.q.wheel.puts) > 0 {
		b.q.wheel.puts = g
	}
}

// kill marks a state record dead, also of the run that is being read.
func (b *rebuild) kill(p place) {
	if r := b.q.runs[p.run]; r != nil && r.dead.set(p.slot) {
		r.ndead++
	}
}

func (b *rebuild) of(ref slot.Ref) *newest {
	all := b.newest[ref.File]
	if int(ref.Slot) >= len(all) {
		all = append(all, make([]newest, int(ref.Slot)+1-len(all))...)
		b.newest[ref.File] = all
	}
	return &all[ref.Slot]
}

// held puts on hold what is in hold/; the logs may know better.
func (b *rebuild) held() {
	for file, all := range b.newest {
		for n, s := range all {
			if r := b.q.runs[s.at.run]; s.at.ok() && r != nil && r.hold {
				b.q.contents[file].held.set(uint32(n))
			}
		}
	}
}

// put is what replay does with a PUT entry.
func (b *rebuild) put(e *entry) {
	q := b.q
	b.generation(e.gen)
	q.wheel.number = max(q.wheel.number, e.at.run+1)
	if c := q.contents[e.ref.File]; c == nil || c.dead.has(e.ref.Slot) {
		return
	}
	q.put(e.ref, e.kill)
	if g := b.good[e.at.run]; g != nil && g.has(e.at.slot) {
		return // it was read
	}
	if n := b.of(e.ref); n.at.ok() && int32(e.gen-n.gen) < 0 {
		return
	}
	if s, ok := b.strays[e.ref]; !ok || int32(e.gen-s.gen) >= 0 {
		b.strays[e.ref] = stray{gen: e.gen, id: string(e.id), state: slices.Clone(e.state)}
	}
}
