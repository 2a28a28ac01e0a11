package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mbox is a mailbox file (mbox(5)), or any other file that mail is appended to.
type mbox struct {
	Path                  string
	Dotlock, Flock, Fcntl bool
	Attempts              int
	Delay, Stale          time.Duration
	Limit                 int64 // mailbox_size_limit in bytes, 0: none
	Strict                bool  // it must be ours
	Target                bool  // named by an alias or a .forward, not a user's mailbox
}

// errDestination is the kind of error of a file that mail is never put into.
type errDestination string

func (e errDestination) Error() string { return string(e) }

// deliver appends what fill writes. All of it is on the disk when deliver returns nil,
// else the file is as long as before. Nothing but a regular file with one name is
// written to; /dev/null takes everything.
func (m *mbox) deliver(fill func(io.Writer) error) (err error) {
	if m.Target && m.Path == "/dev/null" {
		return fill(io.Discard)
	}
	if m.Dotlock {
		unlock, err := m.dotlock()
		if err != nil && !(m.Target && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS))) {
			return err
		}
		if err == nil {
			defer unlock()
		}
	}
	f, err := m.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.check(f); err != nil {
		return err
	}
	if err := m.lock(f); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(&bounded{f, size, m.Limit}, 64<<10)
	if err = fill(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		if cut := f.Truncate(size); cut != nil {
			err = fmt.Errorf("%w; and it cannot be cut back: %v", err, cut)
		}
		f.Sync()
	}
	return err
}

// open opens the file, or makes it. A symbolic link is followed where only root could
// have made it.
func (m *mbox) open() (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | unix.O_NONBLOCK | unix.O_NOCTTY
	if st, err := os.Lstat(m.Path); err == nil && !st.Mode().IsRegular() && st.Mode()&os.ModeSymlink == 0 {
		return nil, destination("destination %s is not a regular file", m.Path) // not even opened
	}
	f, err := os.OpenFile(m.Path, flags|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if !errors.Is(err, unix.ELOOP) {
		return f, err
	}
	link, err1 := os.Lstat(m.Path)
	dir, err2 := os.Stat(filepath.Dir(m.Path))
	if err1 != nil || err2 != nil || ownerOf(link) != 0 || ownerOf(dir) != 0 || dir.Mode().Perm()&0o022 != 0 {
		return nil, destination("%s is a symbolic link", m.Path)
	}
	return os.OpenFile(m.Path, flags, 0)
}

func destination(format string, args ...any) error {
	return errDestination(fmt.Sprintf(format, args...))
}

func ownerOf(st os.FileInfo) uint32 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Uid
	}
	return 1<<32 - 1
}

func (m *mbox) check(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: m.Path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return destination("destination %s is not a regular file", m.Path)
	case st.Nlink != 1:
		return destination("destination %s has %d names", m.Path, st.Nlink)
	case m.Target && st.Mode&0o111 != 0:
		return destination("executable destination file %s", m.Path)
	case !m.Target && m.Strict && st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("destination %s is not owned by recipient", m.Path)
	}
	return nil
}

// lock takes the kernel's locks that others who use the file look at.
func (m *mbox) lock(f *os.File) error {
	if m.Flock {
		if err := m.try(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
			return fmt.Errorf("unable to lock for exclusive access: %w", err)
		}
	}
	if m.Fcntl {
		l := unix.Flock_t{Type: unix.F_WRLCK} // of the open file, not the process; those of other programs count too
		if err := m.try(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l) }); err != nil {
			return fmt.Errorf("unable to lock for exclusive access: %w", err)
		}
	}
	return nil
}

// try calls f until it gets the lock.
func (m *mbox) try(f func() error) (err error) {
	for n := 0; ; n++ {
		err = f()
		held := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) || errors.Is(err, fs.ErrExist)
		if !held || n+1 >= m.Attempts {
			return err
		}
		time.Sleep(m.Delay)
	}
}

// dotlock makes PATH.lock, and removes one that was forgotten.
func (m *mbox) dotlock() (unlock func(), err error) {
	path := m.Path + ".lock"
	err = m.try(func() error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return f.Close()
		}
		if errors.Is(err, unix.EACCES) {
			return fs.ErrPermission // waiting does not help
		}
		if st, e := os.Lstat(path); e == nil && m.Stale > 0 && time.Since(st.ModTime()) > m.Stale {
			os.Remove(path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("unable to create lock file %s: %w", path, err)
	}
	return func() { os.Remove(path) }, nil
}

// bounded writes to a file that may not grow beyond limit.
type bounded struct {
	f     *os.File
	size  int64
	limit int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.size += int64(len(p)); b.limit > 0 && b.size > b.limit {
		return 0, &os.PathError{Op: "write", Path: b.f.Name(), Err: unix.EFBIG}
	}
	return b.f.Write(p)
}

// fromLines puts ">" before lines that would begin another message in a mailbox file,
// and an empty line at the end.
type fromLines struct {
	w    io.Writer
	held []byte // the begin of a line that may be one
	in   bool   // in the middle of a line
}

var fromMark = []byte("From ")

func (q *fromLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if q.in {
			line := p
			if i := bytes.IndexByte(p, '\n'); i >= 0 {
				line, q.in = p[:i+1], false
			}
			if _, err := q.w.Write(line); err != nil {
				return 0, err
			}
			p = p[len(line):]
			continue
		}
		q.held, p = append(q.held, p[0]), p[1:]
		if bytes.Equal(q.held, fromMark) {
			q.held = append([]byte{'>'}, q.held...)
		} else if bytes.HasPrefix(fromMark, q.held) {
			continue // not enough to tell
		}
		if _, err := q.w.Write(q.held); err != nil {
			return 0, err
		}
		q.in, q.held = q.held[len(q.held)-1] != '\n', q.held[:0]
	}
	return n, nil
}

func (q *fromLines) end() error {
	_, err := q.w.Write(append(q.held, '\n'))
	q.held = nil
	return err
}
