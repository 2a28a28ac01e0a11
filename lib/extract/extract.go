// Package extract writes every unfinished message of a spool into a folder, as
// plain files (postsuper -x), and checks the files of a spool (postsuper -s). It
// takes no lock and changes nothing in the spool, which may be in use, copied or
// damaged; it needs no configuration and no other program.
//
// Of each message the folder gets ID.eml, the content as it is stored, and
// ID.envelope, lines of the form "name: value" (envelope.go). What is there of a
// message whose record or content is damaged goes to ID.damaged. What was put away
// in corrupt/ comes to a folder of that name in the same form.
//
// It imports disk, mail, maildrop, slot and spool.
package extract

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"postrider/lib/disk"
	"postrider/lib/spool"
)

// Result says what became of a spool.
type Result struct {
	Messages int // written
	Skipped  int // parts of the spool that could not be used, each reported
	Corrupt  int // files of corrupt/ that were copied to the folder of that name
}

// Run writes the unfinished messages of the spool in folder from into folder to,
// which it makes. It calls wrote for each message, and report with a line for each part
// that it could not use, and goes on. What it wrote is durable when the error is nil; an error is
// about to, or the kind of spool.ErrVersion, or says that from is no spool.
func Run(from, to string, wrote func(), report func(line string)) (Result, error) {
	var r Result
	if _, err := os.Stat(filepath.Join(from, "incoming")); err != nil {
		return r, fmt.Errorf("%s is no spool: %w", from, err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return r, err
	}
	w := &writer{dir: to, spool: disk.OS(from), drops: make(map[string]string), result: &r, wrote: wrote, report: report}
	// maildrop/ first: what cleanup takes from there meanwhile is then found twice
	// rather than never, and the copy goes.
	err := w.maildrop()
	if err == nil {
		var s *spool.Surveyed
		if s, err = spool.Survey(w.spool, w.message, w.lost); err == nil {
			err = w.forget(s.Names)
		}
	}
	if err == nil {
		err = w.err
	}
	if err == nil {
		err = w.corrupt()
	}
	if err == nil {
		err = sync(to)
	}
	return r, err
}

type writer struct {
	dir    string
	spool  disk.FS
	drops  map[string]string // names in maildrop/ to names of what was written
	result *Result
	wrote  func()
	report func(string)
	err    error // of writing what is damaged
}

// lost reports what could not be used, and keeps what is there of a message.
func (w *writer) lost(l spool.Loss) {
	w.result.Skipped++
	who := ""
	if l.ID != "" {
		who = string(l.ID) + ": "
	}
	w.report(fmt.Sprintf("%s%s: offset %d: %s", who, l.File, l.Offset, l.Reason))
	if l.Raw == nil || !l.ID.Valid() || w.err != nil {
		return
	}
	name, f, err := w.create(string(l.ID), ".damaged")
	if err == nil {
		_, err = io.Copy(f, l.Raw)
		var bad *fs.PathError
		if errors.As(err, &bad) && bad.Op == "read" {
			err = nil // as much as there is
		}
		err = errors.Join(err, f.Close())
		w.report(fmt.Sprintf("%s: what is there of it is in %s", l.ID, name))
	}
	w.err = err
}

// message writes one.
func (w *writer) message(m *spool.Found) error {
	if w.err != nil {
		return w.err
	}
	id := string(m.Envelope.ID)
	if !m.Envelope.ID.Valid() {
		id = fmt.Sprintf("%d.%d", m.Ref.File, m.Ref.Slot)
	}
	_, err := w.write(id, m.WriteContent, func(e *envelope) { e.message(m) }, m.LargeName())
	return err
}

// write writes the files of a message: its content by body, from the file named
// in the spool. It returns their path without the suffix.
func (w *writer) write(id string, body func(io.Writer) error, head func(*envelope), from string) (string, error) {
	name, f, err := w.create(id, ".eml")
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, strings.TrimSuffix(name, ".eml"))
	err = body(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	damaged := errors.Is(err, spool.ErrDamaged)
	switch {
	case damaged:
		w.result.Skipped++
		w.report(fmt.Sprintf("%s: %s: offset 0: %v", id, from, err))
		if err := os.Rename(path+".eml", path+".damaged"); err != nil {
			return "", err
		}
	case err != nil:
		return "", errors.Join(err, os.Remove(path+".eml"))
	default:
		w.result.Messages++
		w.wrote()
	}
	var e envelope
	head(&e)
	return path, os.WriteFile(path+".envelope", e.b, 0o600)
}

// create makes a file ID.eml, or, when there is one, ID.2.eml and so on.
func (w *writer) create(id, suffix string) (string, *os.File, error) {
	name := id + suffix
	for n := 2; ; n++ {
		f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return name, f, err
		}
		name = fmt.Sprintf("%s.%d%s", id, n, suffix)
	}
}

// sync makes everything in the file system of a folder durable: one call for a
// million files.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &fs.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}
