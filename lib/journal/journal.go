package journal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Kinds of errors of Append and Large.
var (
	// ErrFull: the journal is at its size limit, or the disk at its reserve.
	// Nothing was written; 452 4.3.1.
	ErrFull = errors.New("journal: no space")
	// ErrSync: the message could not be made durable and will never be
	// delivered; 451 4.3.0.
	ErrSync = errors.New("journal: write or sync failed")
	// ErrUnknown: whether the message is safe cannot be said. The client must
	// get no reply at all.
	ErrUnknown = errors.New("journal: outcome unknown")
	// ErrClosed: Close was called. Nothing was written.
	ErrClosed = errors.New("journal: closed")
)

// Options are the settings of a journal. Zero values give the defaults named.
type Options struct {
	FS          disk.FS
	FileSize    int64 // bytes of a file; 64 MiB
	InlineLimit int64 // largest content in a record, bytes (journal_inline_limit); 256 KiB
	SizeLimit   int64 // bytes in all unfinished files (journal_size_limit); 0 for none
	MinFree     int64 // bytes that stay free on the disk (queue_minfree); never less than two files
	Spares      int   // files kept written in advance; 2

	// Above is a number that all new files exceed, for a caller that knows of
	// files whose headers may be lost; 0 when it knows of none.
	Above    uint64
	Maildrop string // directory whose files messages may replace; "" for none

	// OnDurable is called after each sync, before any message of it is
	// answered, from the committer's goroutine. For Open's own sync see
	// Journal.Durable.
	OnDurable func(slot.Position)
	Now       func() time.Time
	Logf      func(format string, args ...any) // what an operator should see
}

const (
	reserveFiles = 2       // free space that belongs to qmgr, in files
	maxWaiting   = 8 << 20 // bytes of messages that wait for the committer
	maxBatch     = 4 << 20 // bytes written and synced at once, but for one large record
)

// Message is what Append takes. It must not be changed until the answer came.
type Message struct {
	Envelope *mail.Envelope
	Content  []byte
	Large    *Large // committed, in the place of Content
}

// Journal appends messages to the files in incoming/. Its methods may be called
// from any goroutine.
type Journal struct {
	o Options

	mu      sync.Mutex
	waiting []item
	bytes   int64 // of what waits
	closed  bool
	room    sync.Cond     // waiting has become shorter
	wake    chan struct{} // there is something for the committer

	c       committer // touched by the committer's goroutine only, after Open
	k       keeper
	names   names
	dirs    dirSync
	large   chan struct{} // bounds the syncs of large files at one time
	first   uint64
	durable slot.Position // guarded by mu
	space   space
	done    chan struct{} // closed when the committer has ended
	err     error         // of Close
}

// item is a message that waits for the committer.
type item struct {
	m    *Message
	done func(slot.Ref, error)
	size int64
}

// Open begins a fresh file, numbered above all that it finds, and starts the
// committer and the keeper. The directories exist. Other writers are gone: the
// caller holds the spool's lock.
func Open(o Options) (*Journal, error) {
	o.FileSize = cmp.Or(o.FileSize, defaultFileSize)
	o.InlineLimit = min(cmp.Or(o.InlineLimit, 256<<10), slot.MaxContent)
	o.Spares = cmp.Or(o.Spares, 2)
	o.MinFree = max(o.MinFree, reserveFiles*o.FileSize)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.OnDurable == nil {
		o.OnDurable = func(slot.Position) {}
	}
	j := &Journal{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), large: make(chan struct{}, 16)}
	j.room.L = &j.mu
	j.space.free.Store(math.MaxInt64) // until it is asked for
	j.dirs.sync = func() error { return o.FS.SyncDir(dirContent) }
	j.k.init(j)
	if err := disk.NoCOW(o.FS, dirIncoming); err != nil {
		o.Logf("journal: %v: writing will be slower", err)
	}
	last, err := j.k.list()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.names.load(j, last); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.c.j = j
	if err := j.c.begin(); err != nil {
		return nil, err
	}
	j.first = j.c.enc.Header().Number
	go j.c.run()
	go j.k.run()
	return j, nil
}

// First returns the number of the first file that this process writes: lower
// ones belong to writers that are gone.
func (j *Journal) First() uint64 { return j.first }

// Durable returns up to where this process's files are durable and may be read.
// Of files before First it says nothing.
func (j *Journal) Durable() slot.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// InlineLimit returns the size in bytes above which a content must be written
// by NewLarge.
func (j *Journal) InlineLimit() int64 { return j.o.InlineLimit }

// Append makes m durable and then calls done from the committer's goroutine,
// which waits for it: done must be quick and must not call Append. Append does
// not wait for the disk, but it does while more than a few megabytes wait
// already. done gets ErrFull, ErrSync, ErrUnknown, ErrClosed or
// slot.ErrTooLarge.
func (j *Journal) Append(m *Message, done func(slot.Ref, error)) {
	size := int64(len(m.Content)) + 512 + 64*int64(len(m.Envelope.Recipients))
	err := j.hasRoom(m.Envelope.Replaces.ID != "")
	if err == nil && int64(len(m.Content)) > j.o.InlineLimit {
		err = fmt.Errorf("%w: content of %d bytes", slot.ErrTooLarge, len(m.Content))
	}
	if err != nil {
		done(slot.Ref{}, err)
		return
	}
	j.mu.Lock()
	for j.bytes > maxWaiting && !j.closed {
		j.room.Wait()
	}
	if j.closed {
		j.mu.Unlock()
		done(slot.Ref{}, ErrClosed)
		return
	}
	j.waiting = append(j.waiting, item{m, done, size})
	j.bytes += size
	j.mu.Unlock()
	j.poke()
}

func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// take waits for messages and returns all that there are, in a slice that is
// given back by the next call.
func (j *Journal) take(old []item) (items []item, closed bool) {
	<-j.wake
	// Whoever was answered last and has the next message ready runs first, so
	// that it is in this batch; no time is waited.
	runtime.Gosched()
	clear(old)
	j.mu.Lock()
	items, closed = j.waiting, j.closed
	j.waiting, j.bytes = old[:0], 0
	j.mu.Unlock()
	j.room.Broadcast()
	return items, closed
}

// Close makes durable what waits, seals the file and ends the goroutines.
func (j *Journal) Close() error {
	j.mu.Lock()
	already := j.closed
	j.closed = true
	j.mu.Unlock()
	j.room.Broadcast()
	if !already {
		j.poke()
		j.k.stop()
	}
	<-j.done
	<-j.k.done
	return j.err
}
