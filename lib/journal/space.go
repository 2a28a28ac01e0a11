package journal

import (
	"fmt"
	"sync/atomic"
	"time"

	"postrider/lib/disk"
)

// space counts bytes.
type space struct {
	ended   atomic.Int64 // in files that are written to their end and not free
	current atomic.Int64 // in the file being written
	stored  atomic.Int64 // in store/, as qmgr said
	large   atomic.Int64 // in content/, as last counted and since written
	checked atomic.Int64 // when free space was last asked for, in nanoseconds
	free    atomic.Int64 // what was free then
}

// Usage returns how many bytes unfinished mail takes up, and the limit
// (journal_size_limit), 0 for none.
func (j *Journal) Usage() (used, limit int64) {
	s := &j.space
	return s.ended.Load() + s.current.Load() + s.large.Load() + s.stored.Load(), j.o.SizeLimit
}

// Stored says how many bytes of unfinished mail qmgr keeps in files of its own.
func (j *Journal) Stored(bytes int64) { j.space.stored.Store(bytes) }

// hasRoom gives ErrFull when no message may be taken. One that takes over recipients of
// a message in the queue, as a report or a forwarded message does, may use half of the
// reserve: a disk full of mail that cannot be delivered would never become empty
// otherwise.
func (j *Journal) hasRoom(takesOver bool) error {
	used, limit := j.Usage()
	over := limit > 0 && used >= limit
	now, last := j.o.Now().UnixNano(), j.space.checked.Load()
	if d := now - last; (d < 0 || d > int64(time.Second)) && j.space.checked.CompareAndSwap(last, now) {
		j.space.free.Store(j.freeDisk())
		if over {
			j.k.poke() // count content/ again
		}
	}
	reserve := j.o.MinFree
	if takesOver {
		over, reserve = false, j.o.FileSize
	}
	if over {
		return fmt.Errorf("%w: %d of %d bytes in use (journal_size_limit)", ErrFull, used, limit)
	}
	if j.space.free.Load() < reserve {
		return fmt.Errorf("%w: less than %d bytes are free on the disk", ErrFull, reserve)
	}
	return nil
}

// freeDisk is how much is free on the disk; 0 when that cannot be told.
func (j *Journal) freeDisk() int64 {
	n, err := j.o.FS.Free(dirIncoming)
	if err != nil {
		j.o.Logf("journal: %v", err)
		return 0
	}
	return n
}

// countLarge adds up content/, whose files qmgr removes.
func (s *space) countLarge(fsys disk.FS) {
	entries, err := fsys.ReadDir(dirContent)
	if err != nil {
		return // the last count stands
	}
	var sum int64
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			sum += i.Size()
		}
	}
	s.large.Store(sum)
}
