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
	large   atomic.Int64 // in content/, as last counted and since written
	checked atomic.Int64 // when free space was last asked for, in nanoseconds
	low     atomic.Bool  // less than the reserve was free then
}

// Usage returns how many bytes unfinished mail takes up, and the limit
// (journal_size_limit), 0 for none.
func (j *Journal) Usage() (used, limit int64) {
	s := &j.space
	return s.ended.Load() + s.current.Load() + s.large.Load(), j.o.SizeLimit
}

// hasRoom gives ErrFull when no message may be taken.
func (j *Journal) hasRoom() error {
	used, limit := j.Usage()
	over := limit > 0 && used >= limit
	now, last := j.o.Now().UnixNano(), j.space.checked.Load()
	if d := now - last; (d < 0 || d > int64(time.Second)) && j.space.checked.CompareAndSwap(last, now) {
		j.space.low.Store(j.lowDisk())
		if over {
			j.k.poke() // count content/ again
		}
	}
	if over {
		return fmt.Errorf("%w: %d of %d bytes in use (journal_size_limit)", ErrFull, used, limit)
	}
	if j.space.low.Load() {
		return fmt.Errorf("%w: less than %d bytes are free on the disk", ErrFull, j.o.MinFree)
	}
	return nil
}

// lowDisk says whether less than the reserve is free, or cannot be told.
func (j *Journal) lowDisk() bool {
	n, err := j.o.FS.Free(dirIncoming)
	if err != nil {
		j.o.Logf("journal: %v", err)
	}
	return err != nil || n < j.o.MinFree
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
