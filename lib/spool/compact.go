package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Compaction (spool.md, "Space"): what survives in content files of which less than
// a quarter lives is copied to one store file, in the background. The store file
// is synced before the SWAP entry is logged, the old files are given back when
// that is durable and nobody works on a message of theirs.
const (
	thinPart   = 4  // less than one part of so many lives
	worthWhile = 75 // when as many bytes live in percent of all that is kept, thicker files are left alone
)

// thinFile is a file that is to be copied.
type thinFile struct {
	name   string
	h      slot.Header
	length int64
	store  *storeFile        // or nil
	dead   map[uint64]bitmap // by content file: what is in it and not to be copied
	alive  int               // records that have to be found
	bytes  int64             // of them, about
	part   float64
}

// compactStep looks for thin files now and then, and has them copied.
func (q *Queue) compactStep(now time.Time) {
	s := &q.space
	if s.compacting || q.dead || q.replaying || q.log.failed || now.Sub(s.looked) < compactEvery {
		return
	}
	s.looked = now
	from := q.thin()
	if len(from) == 0 {
		return
	}
	s.compacting = true
	s.store++
	number, key, created := s.store, slot.NewKey(), now.UnixMicro()
	q.bg.do(func() {
		c := copier{fs: q.fs, h: slot.Header{Kind: slot.Store, Number: number, Key: key, Created: created}}
		err := c.run(from)
		q.post(func() {
			s.compacting = false
			for _, bad := range c.bad {
				q.o.Logf("warning: %s is not compacted: %v", bad.name, bad.err)
				s.left[bad.name] = true
			}
			if err != nil {
				q.o.Logf("warning: %s: %v", storeName(number), err)
			}
			if err != nil || !q.swap(&c) {
				q.removeStore(number)
			}
		})
	})
}

// thin chooses files that are to be copied into one.
func (q *Queue) thin() []*thinFile {
	old := make(map[*contentFile]bool)
	for _, c := range q.tail.old {
		old[c] = true
	}
	var all []*thinFile
	var kept, living float64
	stores := make(map[*storeFile]*thinFile)
	for _, c := range q.contents {
		alive := int(c.slots) - int(c.ndead)
		if c.slots == 0 || alive == 0 || !c.passed || c.freeing || old[c] || q.tail.c == c || c.store == nil && c.name == "" {
			continue
		}
		t := &thinFile{name: dirIncoming + "/" + c.name, h: c.h, length: c.length, dead: make(map[uint64]bitmap)}
		if c.store != nil {
			if stores[c.store] == nil {
				stores[c.store] = &thinFile{name: storeName(c.store.number), h: c.store.header(), length: c.store.length, store: c.store, dead: make(map[uint64]bitmap)}
				all = append(all, stores[c.store])
			}
			t = stores[c.store]
		} else {
			t.part = float64(alive) / float64(c.slots)
			all = append(all, t)
		}
		t.dead[c.number] = c.dead
		t.alive += alive
		if c.unstated() {
			t.alive = -1 << 30 // what was active before a restart is read from the file itself
		}
	}
	var out []*thinFile
	for _, t := range all {
		if t.alive < 0 || q.space.left[t.name] {
			continue
		}
		if t.store != nil {
			x, err := t.store.index(q.fs)
			if err != nil || len(x) == 0 {
				continue
			}
			t.part = float64(t.alive) / float64(len(x))
		}
		t.bytes = int64(float64(t.length) * t.part)
		kept += float64(t.length)
		living += float64(t.bytes)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *thinFile) int {
		if a.part != b.part {
			return int(1e9 * (a.part - b.part))
		}
		return int(int64(a.h.Number) - int64(b.h.Number))
	})
	most := 1.0 / thinPart
	if kept > float64(4*q.o.StoreSize) && living < kept*worthWhile/100 {
		most = worthWhile / 100.0
	}
	var bytes int64
	for i, t := range out {
		if t.part >= most || i > 0 && bytes+t.bytes > q.o.StoreSize {
			out = out[:i]
			break
		}
		bytes += t.bytes
		for n, dead := range t.dead {
			t.dead[n] = slices.Clone(dead) // for the copier
		}
	}
	return out
}

// unstated says whether a living message of c has no state record.
func (c *contentFile) unstated() bool {
	for n := range c.slots {
		if !c.dead.has(n) && !c.stated.has(n) {
			return true
		}
	}
	return false
}

// copier writes a store file, in the background.
type copier struct {
	fs      disk.FS
	h       slot.Header
	f       disk.File
	enc     *slot.Encoder
	idx     index
	done    []*thinFile
	bad     []badFile
	scratch []byte
}

type badFile struct {
	name string
	err  error
}

func (c *copier) run(from []*thinFile) (err error) {
	name := storeName(c.h.Number)
	if c.f, err = c.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	defer c.f.Close()
	if err := slot.WriteHeader(c.f, c.h); err != nil {
		return err
	}
	c.enc = slot.NewEncoder(c.h)
	for _, t := range from {
		n, err := c.copy(t)
		if err != nil {
			return err
		}
		if n != t.alive {
			c.bad = append(c.bad, badFile{t.name, fmt.Errorf("%d of %d messages can be read", n, t.alive)})
			continue
		}
		c.done = append(c.done, t)
	}
	if len(c.done) == 0 {
		return nil
	}
	c.enc.Seal()
	if err := c.write(); err != nil {
		return err
	}
	if err := errors.Join(c.f.Sync(), c.fs.SyncDir(dirStore)); err != nil {
		return err
	}
	c.idx.sort()
	c.idx.write(c.fs, storeIndexName(c.h.Number), c.h.Key)
	return nil
}

// copy copies what lives in a file and says how many messages it found.
func (c *copier) copy(t *thinFile) (n int, err error) {
	f, err := c.fs.OpenFile(t.name, os.O_RDONLY, 0)
	if err != nil {
		c.bad = append(c.bad, badFile{t.name, err})
		return 0, nil
	}
	defer f.Close()
	s := slot.NewScanner(f, t.h, t.length)
	s.Durable = t.length
	for {
		rec, err := s.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			continue // missed in n when it lived
		}
		out := slot.Record{Type: slot.TypeCopy, Flags: rec.Flags, ID: rec.ID, Content: rec.Content}
		if original(rec) != nil || rec.Type != slot.TypeMessage {
			continue
		}
		ref := rec.Ref
		dead, ok := t.dead[ref.File]
		if !ok || dead.has(ref.Slot) {
			continue
		}
		c.scratch = append(slot.AppendCopy(c.scratch[:0], ref), rec.Envelope...)
		out.Envelope = c.scratch
		if err := c.enc.Append(&out); err != nil {
			continue // the envelope has no room for the few bytes of the reference
		}
		n++
		c.idx = append(c.idx, indexed{id: hashID(rec.ID), ref: ref, at: uint32(out.Offset / slot.Align)})
		if b, _ := c.enc.Batch(); len(b) > 1<<20 {
			if err := c.write(); err != nil {
				return n, err
			}
		}
	}
}

func (c *copier) write() error {
	b, off := c.enc.Batch()
	if _, err := c.f.WriteAt(b, off); err != nil {
		return err
	}
	c.enc.Written()
	return nil
}

// swap makes a store file that is durable the place of what was copied. It reports
// whether anything is there.
func (q *Queue) swap(cp *copier) bool {
	var files []uint64
	var retired []freeing
	for _, t := range cp.done {
		if t.store != nil {
			for n := range t.dead {
				if c := q.contents[n]; c != nil && c.store == t.store {
					files = append(files, n)
				}
			}
			continue
		}
		c := q.contents[t.h.Number]
		if c == nil || c.freeing || c.store != nil {
			continue
		}
		files = append(files, c.number)
		retired = append(retired, freeing{old: c, name: c.name, h: c.h})
	}
	if len(files) == 0 || q.dead {
		return false
	}
	slices.Sort(files)
	length := cp.enc.End()
	q.log.end(appendSwap(q.log.begin(), cp.h.Number, cp.h.Key, length, files))
	s := q.swapped(cp.h.Number, cp.h.Key, length, files)
	s.mu.Lock()
	s.idx = cp.idx
	s.mu.Unlock()
	for _, f := range retired {
		f.seq, f.logged = q.log.next(), true
		delete(q.tail.names, f.old.number)
		q.space.freeing = append(q.space.freeing, f)
	}
	q.stats.Compacted += len(files)
	return true
}

// removeStore removes a store file and its index, in the background.
func (q *Queue) removeStore(number uint64) {
	q.bg.do(func() {
		for _, name := range []string{storeName(number), storeIndexName(number)} {
			if err := q.fs.Remove(name); err != nil && !notExist(err) {
				q.post(func() { q.o.Logf("warning: %v", err) })
			}
		}
	})
}
