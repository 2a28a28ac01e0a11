package spool

import (
	"os"
	"time"

	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// space gives back what nothing needs any more. A file goes through this in
// order: all its slots are dead; the entries that killed them are durable;
// FREE is logged; FREE is durable; the file is gone or free.
type space struct {
	reserved   int64  // bytes of log promised to attempts under way
	passed     uint64 // the highest content file tailed to its end
	freeing    []freeing
	large      []pendingLarge
	store      uint64          // the highest store file
	stored     int64           // bytes of all store files
	left       map[string]bool // files that cannot be copied
	looked     time.Time       // for thin files
	compacting bool
	orphans    bool     // some message may have lost its state record
	search     *orphans // for it
	told       map[string]bool
}

type freeing struct {
	c      *contentFile // or
	r      *run         // or
	s      *storeFile   // or
	old    *contentFile // whose own file is not needed any more
	name   string       // of that
	h      slot.Header
	seq    uint64 // to be durable before the next step
	logged bool
	stored bool // c was in a store file, its own is given back already
}

// pendingLarge is a file in content/ to be removed when seq is durable.
type pendingLarge struct {
	name string
	seq  uint64
}

func (q *Queue) checkContent(c *contentFile) {
	if !q.replaying && c.passed && !c.freeing && c.inUse == 0 && c.ndead >= c.slots && c.dead.count(c.slots) == int(c.slots) {
		c.freeing = true
		q.space.freeing = append(q.space.freeing, freeing{c: c, seq: q.log.next()})
	}
}

func (q *Queue) checkRun(r *run) {
	if !q.replaying && r.sealed && !r.freeing && r.live() == 0 {
		r.freeing = true
		q.space.freeing = append(q.space.freeing, freeing{r: r, seq: q.log.next()})
	}
}

// freeStep moves what is to be freed a step on.
func (q *Queue) freeStep() {
	s := &q.space
	list, kept := s.freeing, s.freeing[:0]
	s.freeing = nil // what comes meanwhile
	for _, f := range list {
		switch {
		case f.seq > q.log.durable && !mutant.On(mutant.EarlyFree):
		case f.old != nil && f.old.inUse > 0:
			// It is read. Messages that are in the store by now count too.
		case f.logged:
			q.gone(f)
			continue
		case f.r != nil && f.r.pins.Load() > 0:
			// A listing reads it: look again next time.
		case f.c != nil && f.c.inUse > 0:
			f.c.freeing = false // checked again when let go
			continue
		default:
			of, n := slot.Content, uint64(0)
			switch {
			case f.r != nil:
				of, n = f.r.kind(), f.r.number
			case f.s != nil:
				of, n = slot.Store, f.s.number
			default:
				n = f.c.number
			}
			q.log.end(appendFree(q.log.begin(), of, n))
			f.stored = f.c != nil && f.c.store != nil
			q.freed(of, n)
			f.logged, f.seq = true, q.log.next()
		}
		kept = append(kept, f)
	}
	clear(list[len(kept):])
	s.freeing = append(kept, s.freeing...)

	n := 0
	for n < len(s.large) && s.large[n].seq <= q.log.durable {
		name := dirContent + "/" + s.large[n].name
		q.bg.do(func() {
			if err := q.fs.Remove(name); err != nil && !notExist(err) {
				q.post(func() { q.o.Logf("warning: %v", err) })
			}
		})
		n++
	}
	s.large = append(s.large[:0], s.large[n:]...)
}

// freed does what a FREE entry says.
func (q *Queue) freed(of slot.Kind, n uint64) {
	switch of {
	case slot.Content:
		if c := q.contents[n]; c != nil {
			q.unstore(c)
		}
		delete(q.contents, n)
		q.space.passed = max(q.space.passed, n)
	case slot.Store:
		if s := q.stores[n]; s != nil {
			q.space.stored -= s.length
		}
		delete(q.stores, n)
		q.space.store = max(q.space.store, n)
	default:
		if r := q.runs[n]; r != nil && q.replaying {
			r.close() // its file, written anew from the log, goes when the directories are compared
		}
		delete(q.runs, n)
	}
}

// gone gives a file back, whose FREE is durable.
func (q *Queue) gone(f freeing) {
	if f.r != nil {
		f.r.close()
		name := f.r.name()
		q.bg.do(func() {
			if err := q.fs.Remove(name); err != nil && !notExist(err) {
				q.post(func() { q.o.Logf("warning: %v", err) })
			}
		})
		return
	}
	switch {
	case f.s != nil:
		q.files.drop(f.s.key)
		q.removeStore(f.s.number)
	case f.old != nil:
		q.files.drop(f.h.Key)
		q.dropIndex(f.h.Number)
		q.recycle(f.name, f.h)
	default:
		q.files.drop(f.c.h.Key)
		delete(q.tail.names, f.c.number)
		q.dropIndex(f.c.number)
		if f.c.name != "" && !f.stored {
			q.recycle(f.c.name, f.c.h)
		}
	}
}

// dropIndex removes the index of a content file.
func (q *Queue) dropIndex(number uint64) {
	q.bg.do(func() { q.fs.Remove(contentIndexName(number)) })
}

// recycle marks a content file free and says so to cleanup.
func (q *Queue) recycle(name string, h slot.Header) {
	delete(q.space.left, dirIncoming+"/"+name)
	q.bg.do(func() {
		f, err := q.fs.OpenFile(dirIncoming+"/"+name, os.O_RDWR, 0)
		if err == nil {
			var is slot.Header
			if is, err = readHeader(f); err == nil && is == h {
				h.Kind = slot.Free
				err = slot.WriteHeader(f, h)
			}
			f.Close()
		}
		q.post(func() {
			switch {
			case err == nil:
				q.o.OnFreed(name)
			case !notExist(err):
				q.o.Logf("warning: %v", err)
			}
		})
	})
}

// What the results of an attempt may take in the log: a DONE for each
// recipient, a PUT with the different replies.
const (
	reserveMessage   = 1024
	reserveRecipient = 16
	reserveReply     = 512
)

// Reserve asks for log space for the results of n recipients of m that are
// about to be tried. False: no attempt may start now, as the log is full until
// a checkpoint is done, or cannot be written; ask again at a later event. The
// space is given back by Put, Finish and Corrupt.
func (q *Queue) Reserve(m *Message, n int) bool {
	l := &q.log
	if l.unsure || l.failed || q.open[m.Ref] != m {
		return false
	}
	tried := m.tried + n
	need := int64(reserveMessage+tried*reserveRecipient+min(tried, maxReplies)*reserveReply) - m.reserved
	if q.logSpace()-q.space.reserved < need && !mutant.On(mutant.Unreserved) {
		return false
	}
	m.tried = tried
	m.reserved += need
	q.space.reserved += need
	return true
}

// logSpace is how much may be logged before a checkpoint that is not even begun
// has to be finished.
func (q *Queue) logSpace() int64 {
	n := q.o.LogSize - q.log.enc.End() - int64(len(q.log.cur.entries))
	if q.ckpt.spare != nil && !q.ckpt.busy {
		n += q.o.LogSize - slot.DataStart
	}
	return n
}
