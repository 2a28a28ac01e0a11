package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Find is a Snapshot of the messages with these ids only. It does not read all that
// is deferred: the indexes of the content files tell which messages have the ids, and
// the filters of the runs where their state records may be.
func (q *Queue) Find(ids []string) *Snapshot {
	f := &search{ids: make(map[string]bool, len(ids)), hashes: make(map[uint64]bool, len(ids))}
	for _, id := range ids {
		f.ids[id] = true
		f.hashes[hashID(mail.QueueID(id))] = true
	}
	s := q.fix(f.ids)
	s.search = f
	stores := make(map[*storeFile]bool)
	for n, c := range q.contents {
		switch {
		case int(c.slots) <= int(c.ndead):
		case c.store != nil:
			if !stores[c.store] {
				stores[c.store] = true
				f.stores = append(f.stores, c.store)
			}
		default:
			f.files = append(f.files, searched{number: n, h: c.h, name: dirIncoming + "/" + c.name,
				passed: c.passed, end: c.offset, idx: c.growing.view()})
		}
	}
	return s
}

// search is what a Snapshot looks for.
type search struct {
	ids    map[string]bool
	given  int // messages
	hashes map[uint64]bool
	files  []searched
	stores []*storeFile
	refs   map[slot.Ref]bool // found, and their state records are not yet; nil until looked for
	parts  []stretch         // of the run that is read
	made   *filter           // of the run that is read, when it had none
	read   int               // records
}

// searched is a content file.
type searched struct {
	number uint64
	h      slot.Header
	name   string
	passed bool
	end    int64
	idx    index // while it is tailed
}

// find learns which messages have the ids.
func (s *Snapshot) find() {
	f := s.search
	f.refs = make(map[slot.Ref]bool)
	parked := make(map[slot.Ref]newItem, len(s.new))
	for _, n := range s.new {
		parked[n.ref] = n
	}
	s.new = nil
	found := func(id uint64, ref slot.Ref) {
		if !f.hashes[id] || s.files[ref.File] == nil || s.files[ref.File].dead.has(ref.Slot) || s.skip[ref] {
			return
		}
		if n, ok := parked[ref]; ok {
			s.new = append(s.new, n)
			delete(parked, ref)
			return
		}
		f.refs[ref] = true
	}
	for i := range f.files {
		c := &f.files[i]
		if c.idx != nil {
			for _, e := range c.idx {
				found(e.id, e.ref)
			}
			continue
		}
		if c.passed && searchIndex(s.q.fs, contentIndexName(c.number), c.h.Key, found) == nil {
			continue
		}
		x, err := scanIndex(s.q.fs, c.name, c.h, c.end, nil)
		if err != nil { // the file is lost, or was given back meanwhile
			if !notExist(err) {
				s.skipped(0, err)
			}
			continue
		}
		for _, e := range x {
			found(e.id, e.ref)
		}
		if c.passed {
			x.write(s.q.fs, contentIndexName(c.number), c.h.Key)
		}
	}
	for _, st := range f.stores {
		x, err := st.index(s.q.fs)
		if err != nil {
			if !notExist(err) {
				s.skipped(0, err)
			}
			continue
		}
		for _, e := range x {
			if v := s.files[e.ref.File]; v != nil && v.store == st {
				found(e.id, e.ref)
			}
		}
	}
}

// searchIndex tells what an index says, without keeping it. The error is ErrDamaged or
// one of reading.
func searchIndex(fsys disk.FS, name string, key uint64, each func(id uint64, ref slot.Ref)) error {
	b, err := disk.ReadAll(fsys, name, 0)
	if err != nil {
		return err
	}
	if b, err = indexEntries(b, key); err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(b) >= indexEntry; b = b[indexEntry:] {
		each(le.Uint64(b), slot.Ref{File: le.Uint64(b[8:]), Slot: le.Uint32(b[16:])})
	}
	return nil
}

// indexEntries checks an index and returns its entries. The error is ErrDamaged.
func indexEntries(b []byte, key uint64) ([]byte, error) {
	le := binary.LittleEndian
	n := len(b) - 4
	if n < indexHead || string(b[:len(indexMagic)]) != indexMagic || le.Uint64(b[len(indexMagic):]) != key ||
		crc32.Checksum(b[:n], castagnoli) != le.Uint32(b[n:]) || le.Uint64(b[len(indexMagic)+8:]) != uint64((n-indexHead)/indexEntry) {
		return nil, ErrDamaged
	}
	return b[indexHead:n], nil
}

// begin chooses what is read of a run for a search. False: nothing.
func (f *search) begin(v *runView) bool {
	f.parts, f.made = nil, nil
	if v.filter == nil {
		v.filter = v.r.filter.Load() // another search made it meanwhile
	}
	if v.filter == nil { // for the next search, if not for this one
		f.made, f.parts = &filter{}, []stretch{{slot.DataStart, v.end}}
		return true
	}
	f.parts = v.filter.stretches(f.refs, v.end)
	return len(f.parts) > 0
}

// next reads the next record of a run that may be one of those looked for. It ends
// with io.EOF.
func (f *search) next(v *runView, scan *slot.Scanner) (*slot.Record, error) {
	for len(f.parts) > 0 {
		p := f.parts[0]
		if scan.Offset() < p.from {
			scan.MoveTo(p.from)
		}
		rec, err := scan.Next()
		if err == io.EOF || err == nil && rec.Offset >= p.to {
			if f.parts = f.parts[1:]; err == io.EOF {
				f.parts = nil
			}
			continue
		}
		if err != nil {
			if d, ok := errors.AsType[*slot.Damage](err); !ok || d.Err != nil {
				v.err = err
			}
			continue // what is damaged is passed over
		}
		f.read++
		if f.made != nil && len(rec.Envelope) >= stateHead {
			f.made.add(stateRef(rec.Envelope), rec.Offset)
		}
		return rec, nil
	}
	if f.made != nil && v.sealed {
		v.r.filter.CompareAndSwap(nil, f.made)
	}
	return nil, io.EOF
}

// writeIndex keeps the index of a content file that was tailed to its end, if
// something in it lives: in the background, and whether that succeeds matters to
// nobody.
func (q *Queue) writeIndex(c *contentFile) {
	x, whole := index(c.growing.view()), c.growing.whole
	c.growing = growing{}
	if int(c.ndead) >= int(c.slots) || c.store != nil || c.name == "" {
		return
	}
	number, name, h, length := c.number, dirIncoming+"/"+c.name, c.h, c.length
	q.bg.do(func() {
		if !whole {
			var err error
			if x, err = scanIndex(q.fs, name, h, length, nil); err != nil {
				return
			}
		}
		x.write(q.fs, contentIndexName(number), h.Key)
	})
}

// growing is the index of a content file that is being tailed.
type growing struct {
	all   index
	whole bool // from its first record on
}

// view returns what there is, for another goroutine; nil when that is not all.
func (g *growing) view() index {
	if !g.whole {
		return nil
	}
	return g.all[:len(g.all):len(g.all)]
}
