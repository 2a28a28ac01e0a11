package spool

import (
	"fmt"
	"io/fs"
	"sync"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// storeFile is a file in store/: the survivors of content files of which little
// was left (compact.go). They keep the identity that they got from cleanup, so
// the bitmaps of their content files go on telling what lives.
type storeFile struct {
	number  uint64
	key     uint64
	length  int64
	files   map[uint64]bool // content files whose survivors are here
	freeing bool

	mu  sync.Mutex
	idx index // nil until somebody asks
}

func storeName(number uint64) string { return fmt.Sprintf("%s/%08d", dirStore, number) }

func (s *storeFile) header() slot.Header {
	return slot.Header{Kind: slot.Store, Number: s.number, Key: s.key}
}

// index returns where its messages are. From any goroutine.
func (s *storeFile) index(fsys disk.FS) (index, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.idx == nil {
		s.idx, err = loadIndex(fsys, storeIndexName(s.number), storeName(s.number), s.header(), s.length)
	}
	return s.idx, err
}

// span returns where a message is that is in the store.
func (s *storeFile) span(fsys disk.FS, ref slot.Ref) (contentSpan, error) {
	at := contentSpan{name: storeName(s.number), h: s.header()}
	x, err := s.index(fsys)
	if err != nil {
		return at, err
	}
	off, ok := x.find(ref)
	if !ok {
		return at, fmt.Errorf("message %v is not in %s: %w", ref, at.name, ErrDamaged)
	}
	at.record = off
	return at, nil
}

// where returns where the record of a message is; hint is what its state record
// says, which is true as long as the content file itself is there.
func (q *Queue) where(c *contentFile, n uint32, hint int64) (contentSpan, error) {
	if c.store != nil {
		return c.store.span(q.fs, slot.Ref{File: c.number, Slot: n})
	}
	at := c.span(hint)
	if c.name == "" {
		return at, fmt.Errorf("content file %d: %w", c.number, fs.ErrNotExist)
	}
	return at, nil
}

// contentIndex returns where the messages of a content file are.
func (q *Queue) contentIndex(c *contentFile) (index, error) { return q.indexer(c)() }

// indexer is contentIndex for another goroutine.
func (q *Queue) indexer(c *contentFile) func() (index, error) {
	store, passed, number, name, h, length, offset := c.store, c.passed, c.number, dirIncoming+"/"+c.name, c.h, c.length, c.offset
	return func() (index, error) {
		switch {
		case store != nil:
			return store.index(q.fs)
		case passed:
			return loadIndex(q.fs, contentIndexName(number), name, h, length)
		}
		return scanIndex(q.fs, name, h, offset, nil)
	}
}

// span is a place in a file of incoming/.
func (c *contentFile) span(record int64) contentSpan {
	return contentSpan{name: dirIncoming + "/" + c.name, h: c.h, record: record}
}

// swapped does what a SWAP entry says: the living messages of content files are in
// a store file from now on.
func (q *Queue) swapped(number, key uint64, length int64, files []uint64) *storeFile {
	s := q.stores[number]
	if s == nil {
		s = &storeFile{number: number, key: key, length: length, files: make(map[uint64]bool)}
		q.stores[number] = s
		q.space.stored += length
	}
	q.space.store = max(q.space.store, number)
	for _, n := range files {
		c := q.contents[n]
		if c == nil {
			continue
		}
		q.unstore(c)
		c.store = s
		s.files[n] = true
		q.moved.Store(n, s)
	}
	return s
}

// unstore says that a store file does not hold a content file's messages any more.
func (q *Queue) unstore(c *contentFile) {
	if s := c.store; s != nil {
		delete(s.files, c.number)
		c.store = nil
		q.moved.Delete(c.number)
		q.checkStore(s)
	}
}

func (q *Queue) checkStore(s *storeFile) {
	if !q.replaying && !s.freeing && len(s.files) == 0 {
		s.freeing = true
		q.space.freeing = append(q.space.freeing, freeing{s: s, seq: q.log.next()})
	}
}

// original makes the record of a copy what the message's own record was.
func original(rec *slot.Record) error {
	if rec.Type != slot.TypeCopy {
		return nil
	}
	ref, env, err := slot.DecodeCopy(rec.Envelope)
	if err != nil {
		return fmt.Errorf("copy of a message: %w", ErrDamaged)
	}
	rec.Type, rec.Ref, rec.Envelope = slot.TypeMessage, ref, env
	return nil
}
