package postdrop

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"postrider/lib/maildrop"
	"postrider/lib/sysexits"
)

// fileMode lets cleanup read: it is neither the caller, who owns the file, nor
// needs to be in setgid_group. Nobody else reaches the file, since maildrop/ can be
// searched by its owner and the group only (0730) and listed by its owner.
const fileMode = 0o644

// drop copies the message on in to a file in maildrop/, below the working
// directory, and returns its name once it is on the disk. limit bounds the content
// in bytes; 0 does not.
func (e *env) drop(in io.Reader, limit int64) (string, error) {
	r := maildrop.NewReader(in)
	s, err := r.Submission()
	if err != nil {
		return "", inputError(err)
	}
	if len(s.Recipients) == 0 {
		return "", fail(sysexits.DataErr, "no recipients specified")
	}
	s.UID, s.Time = uint32(e.uid), e.now()

	f, err := e.create()
	if errors.Is(err, fs.ErrPermission) { // set-gid has no effect here
		return e.hand(s, r, limit)
	}
	if err != nil {
		return "", fail(sysexits.TempFail, "cannot create a file in %s: %v", maildrop.Dir, err)
	}
	temp := f.Name()
	defer func() {
		f.Close()
		if temp != "" {
			os.Remove(temp)
		}
		e.onSignal("")
	}()
	if err := copyMessage(f, s, r, limit); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", writeError(err)
	}
	name, err := e.publish(temp)
	if err != nil {
		return "", writeError(err)
	}
	temp = ""
	e.onSignal("") // from here on the message may be cleanup's already
	if err := syncName(f); err != nil {
		// Not known to be on the disk, and perhaps on its way: the sender would
		// rather get it twice than not at all.
		return "", writeError(err)
	}
	return name, nil
}

// copyMessage writes s and the rest of r to w.
func copyMessage(to io.Writer, s *maildrop.Submission, r *maildrop.Reader, limit int64) error {
	w := maildrop.NewWriter(to, s)
	for size := int64(0); ; {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return inputError(err)
		}
		if size += int64(len(p)); limit > 0 && size > limit {
			return fail(sysexits.Unavailable, "message file too big")
		}
		if _, err := w.Write(p); err != nil {
			return writeError(err)
		}
	}
	if err := w.Close(); err != nil {
		return writeError(err)
	}
	return nil
}

// create makes the temporary file. When the system is taken down the reader of
// maildrop/ removes it after a day.
func (e *env) create() (*os.File, error) {
	for {
		n, err := random()
		if err != nil {
			return nil, err
		}
		name := filepath.Join(maildrop.Dir, maildrop.TempPrefix+strconv.FormatUint(n, 36))
		e.onSignal(name)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			if err = f.Chmod(fileMode); err != nil {
				f.Close()
				os.Remove(name)
			}
		}
		return f, err
	}
}

// publish gives the finished file a name under which it is read.
func (e *env) publish(temp string) (string, error) {
	for {
		n, err := random()
		if err != nil {
			return "", err
		}
		name := maildrop.NewName(e.now(), n)
		to := filepath.Join(maildrop.Dir, name)
		err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, unix.EEXIST):
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL): // not on this file system
			err = os.Rename(temp, to)
		}
		return name, err
	}
}

// syncName makes the new name durable. The caller's group may not read maildrop/
// and so cannot sync it; then the file is synced once more, which on journaling file
// systems takes the rename along, since that changed the file's own status.
func syncName(f *os.File) error {
	if dir, err := os.Open(maildrop.Dir); err == nil {
		defer dir.Close()
		return dir.Sync()
	}
	return f.Sync()
}

func random() (uint64, error) {
	var a [8]byte
	if n, err := unix.Getrandom(a[:], 0); err != nil || n != len(a) {
		return 0, err
	}
	return binary.LittleEndian.Uint64(a[:]), nil
}

func inputError(err error) error {
	switch {
	case errors.Is(err, maildrop.ErrLimit), errors.Is(err, maildrop.ErrFormat), errors.Is(err, maildrop.ErrIncomplete):
		return fail(sysexits.DataErr, "bad input: %v", err)
	}
	return fail(sysexits.DataErr, "error reading input: %v", err)
}

func writeError(err error) error {
	return fail(sysexits.TempFail, "error writing queue file: %v", err)
}
