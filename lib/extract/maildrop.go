package extract

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"postrider/lib/disk"
	"postrider/lib/maildrop"
)

// maildrop writes what postdrop left.
func (w *writer) maildrop() error {
	return eachDrop(w.spool, func(name string, f disk.File, err error) error {
		if err != nil {
			w.dropLost(name, err)
			return nil
		}
		return w.drop(name, f)
	})
}

func (w *writer) dropLost(name string, err error) {
	w.result.Skipped++
	w.report(fmt.Sprintf("%s/%s: offset 0: %v", maildrop.Dir, name, err))
}

// drop writes one file. It is read to its end first, for its last record says
// whether it is a message.
func (w *writer) drop(name string, f disk.File) error {
	var size int64
	sub, err := readDrop(f, func(p []byte) error { size += int64(len(p)); return nil })
	if err != nil {
		w.dropLost(name, err)
		return nil
	}
	body := func(to io.Writer) error {
		_, err := readDrop(f, func(p []byte) error { _, err := to.Write(p); return err })
		return err
	}
	path, err := w.write(name, body, func(e *envelope) { e.submission(name, sub, size) }, maildrop.Dir+"/"+name)
	w.drops[name] = path
	return err
}

// forget removes what was written of files that have become messages.
func (w *writer) forget(taken map[string]bool) error {
	for name, path := range w.drops {
		if !taken[name] {
			continue
		}
		w.result.Messages--
		if err := errors.Join(os.Remove(path+".eml"), os.Remove(path+".envelope")); err != nil {
			return err
		}
	}
	return nil
}

// Submissions calls f with each whole submission in maildrop/, with the bytes of its
// content. What cannot be read is passed over; the error is that of the directory.
func Submissions(fsys disk.FS, f func(name string, s *maildrop.Submission, size int64)) error {
	return eachDrop(fsys, func(name string, file disk.File, err error) error {
		if name == "" {
			return err
		}
		var size int64
		if err == nil {
			if s, err := readDrop(file, func(p []byte) error { size += int64(len(p)); return nil }); err == nil {
				f(name, s, size)
			}
		}
		return nil
	})
}

// readDrop reads a file to its end.
func readDrop(f disk.File, piece func([]byte) error) (*maildrop.Submission, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return readSubmission(io.NewSectionReader(f, 0, size), piece)
}

func readSubmission(from io.Reader, piece func([]byte) error) (*maildrop.Submission, error) {
	r := maildrop.NewReader(from)
	s, err := r.Submission()
	if err != nil {
		return nil, err
	}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return s, nil
		}
		if err == nil {
			err = piece(p)
		}
		if err != nil {
			return nil, err
		}
	}
}

// errForeign says that a file in maildrop/ is not postdrop's.
var errForeign = errors.New("not a file of postdrop's")

// eachDrop calls f with each file in maildrop/ that is whole by its name, open; or
// with why it cannot be opened. It follows no link and waits for no FIFO.
func eachDrop(fsys disk.FS, f func(name string, file disk.File, err error) error) error {
	es, err := fsys.ReadDir(maildrop.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return f("", nil, err)
	}
	for _, e := range es {
		name := e.Name()
		if maildrop.Temporary(name) {
			continue // nobody was told that it is taken
		}
		var file disk.File
		err := errForeign
		if e.Type().IsRegular() && maildrop.ValidName(name) {
			file, err = fsys.OpenFile(maildrop.Dir+"/"+name, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue // taken meanwhile
			}
		}
		err = f(name, file, err)
		if file != nil {
			file.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
