package spool

import (
	"errors"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// list learns the names of the content files.
func (q *Queue) list() error {
	es, err := q.fs.ReadDir(dirIncoming)
	if err != nil {
		return err
	}
	names := make(map[uint64]string)
	for _, e := range es {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := q.fs.OpenFile(dirIncoming+"/"+e.Name(), 0, 0)
		if notExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		h, err := readHeader(f)
		f.Close()
		switch {
		case errors.Is(err, slot.ErrBlank):
			continue
		case errors.Is(err, ErrVersion):
			return err
		case err != nil && !errors.Is(err, ErrDamaged) && q.tryAgain():
			return err
		case err != nil:
			if !q.space.told[e.Name()] {
				q.space.told[e.Name()] = true
				q.o.Logf("warning: %s/%s is left alone: %v", dirIncoming, e.Name(), err)
			}
			continue
		}
		if h.Kind != slot.Content {
			continue
		}
		if q.wasFreed(h.Number) {
			if q.replaying { // by whoever wrote the log
				q.recycle(e.Name(), h)
			}
			continue
		}
		if c := q.contents[h.Number]; c != nil && c.store != nil {
			if q.replaying { // what lives of it was copied
				q.recycle(e.Name(), h)
			}
			continue
		}
		names[h.Number] = e.Name()
		if c := q.contents[h.Number]; c != nil {
			c.name, c.h = e.Name(), h
		}
	}
	q.tail.names = names
	return nil
}

// readSeals reads the first records of the files behind number: a writer that
// could not sync says there where its older file ends.
func (q *Queue) readSeals(number uint64) error {
	for n, name := range q.tail.names {
		if n <= number {
			continue
		}
		f, h, err := openSlotFile(q.fs, dirIncoming+"/"+name, slot.Content, n)
		if err != nil {
			continue // freed or damaged
		}
		rec, _, err := slot.ReadRecord(f, h, slot.DataStart, nil)
		f.Close()
		if err != nil || rec.Type != slot.TypeSeal {
			continue
		}
		seals, err := slot.DecodeSeals(rec.Envelope)
		if err != nil {
			continue
		}
		for _, s := range seals {
			if old, ok := q.tail.seals[s.File]; !ok || s.Length < old {
				q.tail.seals[s.File] = s.Length
			}
		}
	}
	return nil
}

// WriterGone says that the writers of all content files numbered below first
// are gone (0: of every one there is): those left open are synced and sealed
// as far as they are good, so that Tail may read them to their ends. After an
// error nothing may be taken for read to its end.
func (q *Queue) WriterGone(first uint64) error {
	t := &q.tail
	t.first = first
	if err := q.list(); err != nil {
		return err
	}
	if err := q.readSeals(0); err != nil {
		return err
	}
	numbers := make([]uint64, 0, len(t.names))
	for n := range t.names {
		if (first == 0 || n < first) && n >= q.cursorFile() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if c := q.contents[n]; c != nil && (c.sealed || c.passed) {
			continue
		}
		if err := q.sealContent(n); err != nil {
			return err
		}
	}
	return nil
}

// cursorFile is the number of the file the journal was tailed to.
func (q *Queue) cursorFile() uint64 {
	var n uint64
	for k, c := range q.contents {
		if c.slots > 0 || c.passed {
			n = max(n, k)
		}
	}
	return max(n, q.space.passed)
}

// wasFreed says that a content file held nothing any more, whatever its header
// still says.
func (q *Queue) wasFreed(n uint64) bool { return q.contents[n] == nil && n <= q.cursorFile() }

// sealContent finds the end of the file a dead writer left, makes it durable up
// to there and logs that.
func (q *Queue) sealContent(n uint64) error {
	c := q.content(n)
	f, err := q.fs.OpenFile(dirIncoming+"/"+q.tail.names[n], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	length, limited := q.tail.seals[n]
	if limited {
		size = min(size, length)
	}
	s := slot.NewScanner(f, h, size)
	s.MoveTo(c.offset)
	if limited {
		s.Durable = length
	}
	durable := c.offset // by the word of its writer
	for {
		rec, err := s.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			durable = max(durable, rec.SyncedBelow)
		}
	}
	if limited {
		durable = length
	}
	if err := disk.Rewrite(f, durable, min(s.Offset(), size)); err != nil {
		return err
	}
	c.name, c.h = q.tail.names[n], h
	c.sealed, c.length = true, s.Offset()
	q.log.end(appendSeal(q.log.begin(), slot.Content, n, c.length))
	q.Durable(slot.Position{File: n, Offset: c.length})
	if q.tail.c == c && !q.tail.again {
		q.tail.close() // with the end now known
	}
	return nil
}
