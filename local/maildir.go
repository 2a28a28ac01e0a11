package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maildir is a mailbox with a file for each message (maildir(5)).
type maildir struct {
	Dir  string
	Host string // part of file names
}

// counter makes names in tmp/ different that are made in one microsecond.
var counter atomic.Uint64

// writers are the buffers of deliveries.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 32<<10) }}

// deliver makes a message of what fill writes. It is in new/, and on the disk, when
// deliver returns nil; else nothing of it is there. A death in the middle leaves at
// most a file in tmp/, which mail readers clear away. An error of fill is returned as
// it is.
func (m maildir) deliver(fill func(io.Writer) error) error {
	now := time.Now()
	host := strings.NewReplacer("/", `\057`, ":", `\072`).Replace(m.Host)
	f, err := m.create(fmt.Sprintf("%d.P%dQ%d.%s", now.Unix(), os.Getpid(), counter.Add(1), host))
	if err != nil {
		return fmt.Errorf("create maildir file: %w", err)
	}
	defer f.Close()
	tmp := f.Name()
	w := writers.Get().(*bufio.Writer)
	w.Reset(f)
	defer func() { w.Reset(nil); writers.Put(w) }()
	if err = fill(w); err == nil {
		if err = w.Flush(); err == nil {
			err = f.Sync()
		}
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	name := fmt.Sprintf("%d.V%xI%xM%dP%d.%s", now.Unix(), uint64(st.Dev), st.Ino, now.Nanosecond()/1000, os.Getpid(), host)
	final := filepath.Join(m.Dir, "new", name)
	err = rename(tmp, final)
	if errors.Is(err, fs.ErrNotExist) {
		if err = m.make("new", "cur"); err == nil {
			err = rename(tmp, final)
		}
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("create maildir file: %w", err)
	}
	if err := syncDir(filepath.Dir(final)); err != nil {
		os.Remove(final) // it will be delivered again
		return err
	}
	return nil
}

// create makes a file in tmp/, and the Maildir when it is missing.
func (m maildir) create(name string) (*os.File, error) {
	open := func() (*os.File, error) {
		return os.OpenFile(filepath.Join(m.Dir, "tmp", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	}
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err := m.make("tmp", "new", "cur"); err != nil {
			return nil, err
		}
		f, err = open()
	}
	return f, err
}

func (m maildir) make(names ...string) error {
	for _, n := range names {
		if err := makeDir(filepath.Join(m.Dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory and those above it that are missing, so that they survive
// a power cut.
func makeDir(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(path)
		if parent == path {
			return err
		}
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // whether it is a directory shows when it is used
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// rename moves a file to a name that is not there yet.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) { // an old kernel, or NFS
		if err = unix.Link(from, to); err == nil {
			os.Remove(from) // what is left of it is harmless
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
