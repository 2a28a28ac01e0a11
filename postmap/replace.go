package postmap

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"postrider/lib/table"
)

// replacement is a new index beside the old one, until it takes its place.
type replacement struct {
	target string
	like   fs.FileInfo // whose permissions it gets; nil: 0644
	file   *os.File
}

// begin makes the new file, which is the lock as well: a second run waits for the first,
// and what a run that was killed has left is used again.
func (r *replacement) begin() error {
	tmp := r.target + ".tmp"
	for {
		f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			f.Close()
			return fmt.Errorf("lock %s: %w", tmp, err)
		}
		// Whoever had it may have renamed or removed it.
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(tmp)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			r.file = f
			return f.Truncate(0)
		}
		f.Close()
		if err2 != nil && !errors.Is(err2, fs.ErrNotExist) {
			return err2
		}
	}
}

// write writes the index and puts it in the place of the old one: whoever looks finds the
// old one or the new one, also after a power cut.
func (r *replacement) write(records []table.Record, nul bool) error {
	w := bufio.NewWriterSize(r.file, 1<<20)
	err := table.WriteIndex(w, records, nul)
	if err == nil {
		err = w.Flush()
	}
	mode := os.FileMode(0o644)
	if r.like != nil {
		mode = r.like.Mode().Perm() & 0o666
	}
	if err == nil {
		err = r.file.Chmod(mode)
	}
	if err == nil {
		err = r.file.Sync()
	}
	if err == nil {
		err = os.Rename(r.file.Name(), r.target)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", r.target, err)
	}
	r.file.Close()
	r.file = nil
	d, err := os.Open(filepath.Dir(r.target))
	if err != nil {
		return nil // a directory that may not be listed: nothing can be synced by it
	}
	defer d.Close()
	d.Sync()
	return nil
}

// abort removes a new file that has not become the index.
func (r *replacement) abort() {
	if r.file != nil {
		os.Remove(r.file.Name())
		r.file.Close()
	}
}

// asOwner calls f with the effective rights of a file's owner when root was called and
// the file is another's: whatever is written on the way is his (-o turns it off). A file
// in a directory where the owner may not write is his to make by -o alone.
func (c *command) asOwner(like fs.FileInfo, f func() error) error {
	if like == nil || c.keepRoot || os.Geteuid() != 0 {
		return f()
	}
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return f()
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(-1, int(st.Gid), -1), syscall.Setresuid(-1, int(st.Uid), -1)); err != nil {
		return fmt.Errorf("become the owner of %s: %w", like.Name(), err)
	}
	defer func() {
		if err := errors.Join(syscall.Setresuid(-1, 0, -1), syscall.Setresgid(-1, 0, -1), syscall.Setgroups(groups)); err != nil {
			panic(err) // never go on with half of the rights
		}
	}()
	return f()
}
