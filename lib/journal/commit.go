package journal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// committer writes batches. Its fields are its goroutine's alone.
type committer struct {
	j        *Journal
	f        disk.File // nil when a fresh one has yet to be begun
	name     string
	enc      *slot.Encoder
	messages int         // in the file
	quick    bool        // the file was not written in advance
	seals    []slot.Seal // ends of files that no synced record tells of yet
	cut      bool        // one of them cuts a file that failed
	started  bool        // OnDurable may be called
	batch    []answer    // whose records are in the encoder
	envelope []byte
	large    []byte
	tried    time.Time // when a fresh file could last not be begun
	lost     error     // and why
}

// answer is what is owed to a caller of Append.
type answer struct {
	done     func(slot.Ref, error)
	ref      slot.Ref
	maildrop string
}

func (c *committer) run() {
	defer close(c.j.done)
	c.started = true
	var items []item
	for closed := false; !closed; {
		items, closed = c.j.take(items)
		if c.f != nil && c.quick && c.messages > 0 && c.j.k.hasSpare() {
			c.rotate()
		}
		for i := range items {
			c.add(&items[i])
		}
		c.commit()
	}
	c.j.err = c.close()
}

// add puts a message into the batch.
func (c *committer) add(it *item) {
	if c.f == nil {
		if err := c.retry(); err != nil {
			it.done(slot.Ref{}, fmt.Errorf("%w: %w", ErrSync, err)) // it was never written
			return
		}
	}
	e := it.m.Envelope
	r := slot.Record{Type: slot.TypeMessage, ID: e.ID, Content: it.m.Content}
	if e.Replaces.Maildrop != "" {
		r.Flags |= slot.FlagMaildrop
	}
	if l := it.m.Large; l != nil {
		if !l.committed || l.id != e.ID {
			it.done(slot.Ref{}, fmt.Errorf("%w: large content of %s is not committed", ErrSync, e.ID))
			return
		}
		r.Flags |= slot.FlagLarge
		c.large = slot.AppendLarge(c.large[:0], slot.Large{Size: l.size, CRC: l.crc})
		r.Content = c.large
	}
	c.envelope = mail.AppendEnvelope(c.envelope[:0], e)
	r.Envelope = c.envelope
	end := c.enc.End() + c.enc.Size(len(r.ID), len(r.Envelope), len(r.Content)) + slot.HeaderSize // and the seal
	if end > c.j.o.FileSize && c.messages > 0 {
		c.rotate()
		if c.f == nil {
			it.done(slot.Ref{}, fmt.Errorf("%w: %w", ErrSync, c.lost))
			return
		}
	}
	if err := c.enc.Append(&r); err != nil {
		it.done(slot.Ref{}, err)
		return
	}
	c.messages++
	c.batch = append(c.batch, answer{it.done, r.Ref, e.Replaces.Maildrop})
	if cap(c.envelope) > 1<<20 {
		c.envelope = nil
	}
	if b, _ := c.enc.Batch(); len(b) > maxBatch {
		c.commit()
	}
}

// commit makes the batch durable and answers for it.
func (c *committer) commit() {
	if c.f == nil {
		return
	}
	b, _ := c.enc.Batch()
	if len(b) == 0 {
		return
	}
	if mutant.On(mutant.EarlyReply) {
		c.answer(nil)
	}
	if err := c.sync(); err != nil {
		c.failed(err)
		return
	}
	c.answer(nil)
}

// sync is one write and one fdatasync.
func (c *committer) sync() error {
	b, off := c.enc.Batch()
	if _, err := c.f.WriteAt(b, off); err != nil && !mutant.On(mutant.IgnoredWrite) {
		return err
	}
	if !mutant.On(mutant.JournalUnsynced) {
		if err := c.f.Sync(); err != nil {
			return err
		}
	}
	c.enc.Written()
	end := c.enc.End()
	c.enc.Synced(end)
	c.seals, c.cut = c.seals[:0], false // the file's first record told of them
	c.publish()
	c.j.space.current.Store(end)
	return nil
}

// publish tells how far the journal is durable. What waits in the encoder is not: it may
// be the first records of a file.
func (c *committer) publish() {
	_, end := c.enc.Batch()
	p := slot.Position{File: c.enc.Header().Number, Offset: end}
	c.j.mu.Lock()
	c.j.durable = p
	c.j.mu.Unlock()
	if c.started {
		c.j.o.OnDurable(p)
	}
}

func (c *committer) answer(err error) {
	if err == nil {
		for _, a := range c.batch {
			if a.maildrop != "" {
				c.j.names.add(a.maildrop, a.ref)
			}
		}
	}
	for _, a := range c.batch {
		if err != nil {
			a.done(slot.Ref{}, err)
		} else {
			a.done(a.ref, nil)
		}
	}
	clear(c.batch)
	c.batch = c.batch[:0]
}

// failed ends a file whose batch could not be made durable: it is never synced
// again, and a fresh file says where it ends, before anybody hears of it.
func (c *committer) failed(err error) {
	_, durable := c.enc.Batch()
	c.j.o.Logf("journal: %s could not be written or synced: %v; it ends at its byte %d and is not used again", c.name, err, durable)
	c.cutOff(durable)
	c.f.Close() // its error adds nothing
	c.f = nil
	if again := c.begin(); again != nil {
		c.lost = again
		c.answer(fmt.Errorf("%w: %w; then %w", ErrUnknown, err, again))
		return
	}
	c.answer(fmt.Errorf("%w: %w", ErrSync, err))
}

// cutOff notes that the file ends at length, whatever its bytes say.
func (c *committer) cutOff(length int64) {
	c.seals = append(c.seals, slot.Seal{File: c.enc.Header().Number, Length: length})
	c.cut = true
	c.j.k.ended(c.name, length, true)
}

// rotate seals the file, with the batch, and begins the next.
func (c *committer) rotate() {
	c.enc.Seal()
	b, _ := c.enc.Batch()
	if len(b) > 0 {
		if err := c.sync(); err != nil {
			c.failed(err)
			return
		}
		c.answer(nil)
	}
	h, end := c.enc.Header(), c.enc.End()
	c.seals = append(c.seals, slot.Seal{File: h.Number, Length: end})
	c.j.k.ended(c.name, end, false)
	if err := c.f.Close(); err != nil { // all of it is synced
		c.j.o.Logf("journal: close: %v", err)
	}
	c.f = nil
	if err := c.begin(); err != nil {
		c.lost = err
	}
}

// retry begins a fresh file, at most once a second.
func (c *committer) retry() error {
	if c.j.o.Now().Sub(c.tried).Abs() < time.Second {
		return c.lost
	}
	c.lost = c.begin()
	return c.lost
}

// begin takes a free file, or makes one, and gives it its new life: number and
// key are durable before any record relies on them (S3). Where earlier files
// end and names that must not be forgotten come first in it; they are synced
// here when anything depends on it.
func (c *committer) begin() error {
	const attempts = 3
	j := c.j
	var err error
	var names []slot.Name
	if j.o.Maildrop != "" { // so that no other name can come back
		names = j.names.list()
		if err = j.syncMaildrop(); err != nil {
			c.tried = j.o.Now()
			return fmt.Errorf("journal: %w", err)
		}
	}
	for range attempts {
		if err = c.fresh(names); err == nil {
			return nil
		}
		j.o.Logf("journal: cannot begin a file: %v", err)
	}
	c.tried = j.o.Now()
	return fmt.Errorf("journal: cannot begin a file: %w", err)
}

func (c *committer) fresh(names []slot.Name) (err error) {
	j := c.j
	name, spare := j.k.pop()
	flag := os.O_RDWR
	if !spare {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := j.o.FS.OpenFile(dirIncoming+name, flag, fileMode)
	if err != nil { // the file, if there is one, is left alone
		return err
	}
	h := slot.Header{Kind: slot.Content, Number: j.k.number(), Key: slot.NewKey(), Created: j.o.Now().UnixMicro()}
	if err = slot.WriteHeader(f, h); err == nil {
		err = f.Sync()
	}
	if err == nil && !spare {
		err = j.o.FS.SyncDir(dirIncoming)
	}
	if err != nil {
		f.Close()
		j.k.spoiled(name) // nothing relies on it
		return err
	}
	if c.enc == nil {
		c.enc = slot.NewEncoder(h)
	} else {
		// What waits in the encoder belongs to the failed file and is given up.
		c.enc.Reset(h)
	}
	c.f, c.name, c.quick, c.messages = f, name, !spare, 0
	urgent, err := c.prelude(names)
	if err == nil && urgent {
		if err = c.sync(); err != nil {
			c.cutOff(slot.DataStart)
		}
	}
	if err != nil {
		c.f.Close()
		c.f = nil
		return err
	}
	if !urgent {
		c.publish()
	}
	return nil
}

// prelude puts the first records into the encoder: the ends of earlier files and
// the names of files that are not yet removed for certain. urgent says that they are to
// be synced before anything else happens.
func (c *committer) prelude(old []slot.Name) (urgent bool, err error) {
	if len(c.seals) > 0 && !mutant.On(mutant.NoSeal) {
		r := slot.Record{Type: slot.TypeSeal, Envelope: slot.AppendSeals(nil, c.seals)}
		if err := c.enc.Append(&r); err != nil {
			return false, err
		}
		// A sealed file's own end says the same; of one that failed nothing else
		// does, and readers must not go past its end.
		urgent = c.cut
	}
	if len(old) == 0 {
		return urgent, nil
	}
	r := slot.Record{Type: slot.TypeNames, Envelope: slot.AppendNames(nil, old)}
	if err := c.enc.Append(&r); errors.Is(err, slot.ErrTooLarge) {
		return urgent, fmt.Errorf("%d files in %s wait to be removed: %w", len(old), c.j.o.Maildrop, err)
	} else if err != nil {
		return urgent, err
	}
	return true, nil
}

// close seals the last file.
func (c *committer) close() error {
	if c.f == nil {
		return c.lost
	}
	c.enc.Seal()
	err := c.sync()
	if err != nil {
		// All answers are given and true; the end of the file is found by
		// whoever reads it.
		err = fmt.Errorf("journal: seal %s: %w", c.name, err)
	}
	return errors.Join(err, c.f.Close())
}
