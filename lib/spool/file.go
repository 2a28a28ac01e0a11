package spool

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Directories of the spool that this package reads or writes.
const (
	dirIncoming = "incoming"
	dirContent  = "content"
	dirDeferred = "deferred"
	dirHold     = "hold"
	dirStore    = "store"
	dirLog      = "log"
	dirCorrupt  = "corrupt"
)

// contentFile is what memory holds of a journal file: three bits a slot.
type contentFile struct {
	number uint64
	name   string      // within incoming/; "" until it was seen there
	store  *storeFile  // where what lives of it is now; or nil
	h      slot.Header // good when name is set
	slots  uint32      // tailed so far
	offset int64       // where the next slot begins
	length int64       // where the file ends, when sealed
	sealed bool        // its end is known
	passed bool        // tailed to its end

	dead, held, stated bitmap
	ndead              uint32
	inUse              int // messages in memory whose content is here
	growing            growing
	freeing            bool
	tailed             []tailedAt // when its messages were taken over, roughly
}

// tailedAt says that the slots from one on were tailed then or later. What was never
// deferred has no other record of its age.
type tailedAt struct {
	slot uint32
	at   int64 // spool time, microseconds
}

// tailedEvery is how much older than it is a message may seem after a start.
const tailedEvery = 5 * time.Minute

// taken notes when a slot was tailed.
func (c *contentFile) taken(n uint32, at time.Time) {
	if k := len(c.tailed); k == 0 || at.UnixMicro()-c.tailed[k-1].at >= tailedEvery.Microseconds() {
		c.tailed = append(c.tailed, tailedAt{n, at.UnixMicro()})
	}
}

// since returns when a slot was tailed, or now when nobody knows.
func (c *contentFile) since(n uint32, now time.Time) time.Time {
	for i := len(c.tailed) - 1; i >= 0; i-- {
		if t := c.tailed[i]; t.slot <= n && t.at <= now.UnixMicro() {
			return time.UnixMicro(t.at)
		}
	}
	return now
}

// content returns the file with that number, known or not.
func (q *Queue) content(number uint64) *contentFile {
	c := q.contents[number]
	if c == nil {
		c = &contentFile{number: number, offset: slot.DataStart}
		q.contents[number] = c
	}
	return c
}

// alive says whether a message is unfinished. What was not tailed yet is.
func (q *Queue) alive(ref slot.Ref) bool {
	c := q.contents[ref.File]
	return c != nil && !c.dead.has(ref.Slot)
}

// Finished says whether the message is known to be over.
func (q *Queue) Finished(ref slot.Ref) bool {
	if c := q.contents[ref.File]; c != nil {
		return c.dead.has(ref.Slot)
	}
	return q.wasFreed(ref.File)
}

// IsHeld says whether the message is on hold.
func (q *Queue) IsHeld(ref slot.Ref) bool {
	c := q.contents[ref.File]
	return c != nil && c.held.has(ref.Slot)
}

// IsOpen returns the open message with that identity, or nil.
func (q *Queue) IsOpen(ref slot.Ref) *Message { return q.open[ref] }

// bury marks a content slot dead, in memory only.
func (q *Queue) bury(ref slot.Ref) bool {
	c := q.content(ref.File)
	if !c.dead.set(ref.Slot) {
		return false
	}
	c.ndead++
	c.held.clear(ref.Slot)
	delete(q.marks, ref)
	delete(q.strikes, ref)
	delete(q.parked, ref)
	if q.o.OnOver != nil {
		q.o.OnOver(ref)
	}
	q.checkContent(c)
	return true
}

// admit makes m open.
func (q *Queue) admit(m *Message) {
	q.open[m.Ref] = m
	q.content(m.Ref.File).inUse++
}

// letGo makes m no longer open. It reports whether it was.
func (q *Queue) letGo(m *Message) bool {
	if q.open[m.Ref] != m {
		return false
	}
	delete(q.open, m.Ref)
	m.warm = nil
	q.space.reserved -= m.reserved
	m.reserved = 0
	c := q.content(m.Ref.File)
	c.inUse--
	q.checkContent(c)
	return true
}

// openSlotFile opens a numbered file for reading and checks that it is the one
// that is meant.
func openSlotFile(fsys disk.FS, name string, kind slot.Kind, number uint64) (disk.File, slot.Header, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, slot.Header{}, err
	}
	h, err := readHeader(f)
	if err == nil && (h.Kind != kind || h.Number != number) {
		err = fmt.Errorf("%s is %v file %d, not %v file %d: %w", name, h.Kind, h.Number, kind, number, ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, h, err
	}
	return f, h, nil
}

// readHeader reads a file's header, from its copies when it must.
func readHeader(f disk.File) (slot.Header, error) {
	h, err := slot.ReadHeader(f)
	if errors.Is(err, slot.ErrDamage) {
		size, serr := f.Size()
		if serr != nil {
			return h, serr
		}
		h, err = slot.FindHeader(f, size)
	}
	switch {
	case errors.Is(err, slot.ErrVersion):
		err = fmt.Errorf("%s: %w: %w", f.Name(), ErrVersion, err)
	case errors.Is(err, slot.ErrDamage):
		err = fmt.Errorf("%s: %w: %w", f.Name(), ErrDamaged, err)
	}
	return h, err
}

// fileCache keeps content files open for reading. It is safe for concurrent use.
type fileCache struct {
	fs   disk.FS
	mu   sync.Mutex
	open map[uint64]*cachedFile
	idle list.List // of *cachedFile, the longest idle first
}

const maxIdle = 64 // open files that nobody reads

type cachedFile struct {
	key   uint64
	f     disk.File
	users int
	gone  bool // not in the map any more
	at    *list.Element
}

func (c *fileCache) get(at contentSpan) (*cachedFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.open[at.h.Key]; e != nil {
		if e.at != nil {
			c.idle.Remove(e.at)
			e.at = nil
		}
		e.users++
		return e, nil
	}
	f, err := c.fs.OpenFile(at.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	e := &cachedFile{key: at.h.Key, f: f, users: 1}
	c.open[at.h.Key] = e
	return e, nil
}

func (c *fileCache) put(e *cachedFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	if e.gone {
		e.f.Close()
		return
	}
	e.at = c.idle.PushBack(e)
	if c.idle.Len() > maxIdle {
		old := c.idle.Remove(c.idle.Front()).(*cachedFile)
		delete(c.open, old.key)
		old.f.Close()
	}
}

// drop forgets a file that was freed.
func (c *fileCache) drop(key uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.open[key]
	if e == nil {
		return
	}
	delete(c.open, key)
	if e.at != nil {
		c.idle.Remove(e.at)
		e.at = nil
	}
	if e.gone = true; e.users == 0 {
		e.f.Close()
	}
}

func (c *fileCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.open {
		if e.gone = true; e.users == 0 {
			e.f.Close()
		}
	}
	c.open = map[uint64]*cachedFile{}
	c.idle.Init()
}
