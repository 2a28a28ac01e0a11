package master

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settled is how old a change of a table must be before daemons get the file:
// whoever writes it in place is done then.
const settled = 2 * time.Second

// watched is a file that daemons read by a descriptor of ours.
type watched struct {
	path string
	file *os.File // nil: not there
	id   identity
	err  error // why file is nil
}

// identity tells one state of a file from another.
type identity struct {
	dev, ino uint64
	size     int64
	mtime    int64 // nanoseconds
}

// openWatched opens the file. It must be a regular one: anything else could
// make its readers wait.
func openWatched(path string) watched {
	w := watched{path: path}
	w.file, w.err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if w.err != nil {
		return w
	}
	st, err := w.file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("no regular file")}
	}
	if err != nil {
		w.file.Close()
		w.file, w.err = nil, err
		return w
	}
	w.id = identify(st)
	return w
}

// differs says whether the path shows another state of the file than w, and how
// old that state is. A file that has gone does not: what was granted serves on.
func (w *watched) differs() (bool, time.Duration) {
	st, err := os.Stat(w.path)
	if err != nil {
		return false, 0
	}
	return identify(st) != w.id, time.Since(st.ModTime()).Abs()
}

func (w *watched) close() {
	if w.file != nil {
		w.file.Close()
	}
}

func identify(st os.FileInfo) identity {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano()}
}

// checkTables returns a line for each table file that cannot be read.
func (p *plan) checkTables() []string {
	var lines []string
	seen := map[string]bool{}
	for _, i := range p.instances {
		for _, path := range p.tables[i.name] {
			if seen[path] {
				continue
			}
			seen[path] = true
			w := openWatched(path)
			if w.err != nil {
				lines = append(lines, fmt.Sprintf("table %s: %v: mail that needs it is deferred; make the file, or take it out of main.cf", path, unwrapped(w.err)))
			}
			w.close()
		}
	}
	return lines
}

// unwrapped is the cause of a *PathError whose path was said already.
func unwrapped(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
