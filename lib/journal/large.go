package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"syscall"

	"postrider/lib/disk"
	"postrider/lib/mail"
)

// Large is a content too large for a record, being written to a file of its
// own, content/ID. For one goroutine at a time.
type Large struct {
	j         *Journal
	f         disk.File
	id        mail.QueueID
	size      int64
	crc       uint32
	err       error
	committed bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewLarge begins the content of message id. Commit or Abort ends it. The error
// is ErrFull or ErrSync.
func (j *Journal) NewLarge(id mail.QueueID) (*Large, error) {
	if err := j.hasRoom(false); err != nil {
		return nil, err
	}
	if !id.Valid() {
		return nil, fmt.Errorf("%w: %q is no queue id", ErrSync, id)
	}
	l := &Large{j: j, id: id}
	f, err := j.o.FS.OpenFile(l.name(), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, l.kind(err)
	}
	l.f = f
	return l, nil
}

func (l *Large) name() string { return dirContent + "/" + string(l.id) }

// Write appends p; it wants large pieces. Errors are ErrFull or ErrSync; all
// calls after the first that failed fail too.
func (l *Large) Write(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.f.WriteAt(p, l.size)
	l.size += int64(n)
	l.j.space.large.Add(int64(n))
	l.crc = crc32.Update(l.crc, castagnoli, p[:n])
	if err != nil {
		l.err = l.kind(err)
	}
	return n, l.err
}

// Size returns the bytes written so far.
func (l *Large) Size() int64 { return l.size }

// Commit makes the file and its name durable; then a Message may carry l. After
// an error the file is gone, and the message was never taken; Abort is then not
// to be called.
func (l *Large) Commit() error {
	if l.err == nil {
		l.j.large <- struct{}{}
		l.err = l.f.Sync()
		if cerr := l.f.Close(); l.err == nil {
			l.err = cerr
		}
		l.f = nil
		<-l.j.large
		if l.err == nil {
			l.err = l.j.dirs.do()
		}
		if l.err != nil {
			l.err = l.kind(l.err)
		}
	}
	if l.err != nil {
		l.Abort()
		return l.err
	}
	l.committed = true
	return nil
}

// Abort gives the content up and removes its file. It must not be called once a
// message that carries l was given to Append, unless that was refused with
// anything but ErrUnknown.
func (l *Large) Abort() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	l.committed = false
	l.j.space.large.Add(-l.size)
	if err := l.j.o.FS.Remove(l.name()); err != nil {
		l.j.o.Logf("journal: %v (it is removed at the next start)", err)
	}
	if l.err == nil {
		l.err = fmt.Errorf("%w: given up", ErrSync)
	}
}

func (l *Large) kind(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrSync, err)
}

// dirSync lets all who wait for a directory share one sync: one that began
// after they came.
type dirSync struct {
	sync func() error

	mu      sync.Mutex
	running bool
	next    *dirTurn
}

type dirTurn struct {
	done chan struct{}
	err  error
}

func (d *dirSync) do() error {
	d.mu.Lock()
	if d.next == nil {
		d.next = &dirTurn{done: make(chan struct{})}
	}
	mine := d.next
	lead := !d.running
	d.running = true
	d.mu.Unlock()
	if lead {
		for {
			d.mu.Lock()
			turn := d.next
			d.next = nil
			d.running = turn != nil
			d.mu.Unlock()
			if turn == nil {
				break
			}
			turn.err = d.sync()
			close(turn.done)
		}
	}
	<-mine.done
	return mine.err
}
