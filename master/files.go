package master

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/table"
)

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
	uid, gid uint32
}

// copyMax is how large a table may be to be handed out as a copy, bytes.
const copyMax = 64 << 20

// openWatched opens the file. It must be a regular one: anything else could
// make its readers wait. The text of a table is copied into memory that nobody can
// change: all daemons read the same, also one that is started while the file is being
// written. An indexed file is not: postmap puts a new one in its place, whole, and it may
// be too large to hold.
func openWatched(path string, text bool) watched {
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
	if text && st.Size() <= copyMax && !strings.HasSuffix(path, table.IndexSuffix) {
		sealed, err := sealedCopy(w.file, w.id)
		w.file.Close()
		w.file, w.err = sealed, err
	}
	return w
}

// sealedCopy returns a memory file with the contents and the owner of f that cannot be
// changed: local runs the commands of aliases as who owns their file.
func sealedCopy(f *os.File, id identity) (*os.File, error) {
	return memoryFile(f.Name(), f, id)
}

// memoryFile returns a memory file with what r has, which nobody can change.
func memoryFile(name string, r io.Reader, id identity) (*os.File, error) {
	fd, err := unix.MemfdCreate("table", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memory file", err)
	}
	m := os.NewFile(uintptr(fd), name)
	if _, err = io.Copy(m, r); err == nil && os.Geteuid() == 0 {
		err = m.Chown(int(id.uid), int(id.gid))
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("copy %s: %w", name, err)
	}
	return m, nil
}

// differs says whether the path shows another state of the file than w. A file that
// has gone does not: what was granted serves on.
func (w *watched) differs() bool {
	st, err := os.Stat(w.path)
	if err != nil {
		return false
	}
	return identify(st) != w.id
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
	return identity{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano(), sys.Uid, sys.Gid}
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
			w := openWatched(path, false)
			if w.err != nil {
				lines = append(lines, fmt.Sprintf("table %s: %v: mail that needs it is deferred; %s", path, unwrapped(w.err), p.mend(path)))
			}
			w.close()
		}
	}
	return lines
}

// mend says what to do about a table that cannot be opened.
func (p *plan) mend(path string) string {
	name, ok := strings.CutSuffix(path, table.IndexSuffix)
	if !ok {
		return "make the file, or take it out of main.cf"
	}
	command := "postmap "
	for _, spec := range append(slices.Clone(p.config.List("alias_maps")), p.config.List("alias_database")...) {
		if slices.Contains(table.Files([]string{spec}), path) {
			command = "postalias "
		}
	}
	advice := fmt.Sprintf("run %q", command+name)
	for _, suffix := range []string{".db", ".lmdb"} {
		if _, err := os.Stat(name + suffix); err == nil {
			return advice + " (" + name + suffix + " is Postfix's)"
		}
	}
	return advice
}

// unwrapped is the cause of a *PathError whose path was said already.
func unwrapped(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// sound returns what is wrong with the text of a table file, with lines: what a reader
// would have to leave out. What merely comes twice is no fault.
func (p *plan) sound(path string, f *os.File) error {
	o := address.TableOptions(p.config, func(string) (*io.SectionReader, error) {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return io.NewSectionReader(f, 0, st.Size()), nil
	})
	for _, spec := range p.specs[path] {
		if _, err := table.Open([]string{spec}, o); errors.Is(err, table.ErrText) {
			return err
		}
	}
	return nil
}

// noteSpecs notes by which names the tables of a configuration are read.
func (p *plan) noteSpecs(c *config.Config) {
	for _, param := range config.Params() {
		if param.Kind != config.KindList && param.Kind != config.KindMatch {
			continue
		}
		p.noteTables(c.List(param.Name))
	}
	p.noteTables(c.ClassTables())
}

// noDatabases refuses parameters that name a database: programs ask their tables in the
// middle of other work, where nobody can wait for one. Mail that depends on it would be
// deferred for good.
func noDatabases(c *config.Config) error {
	for _, param := range config.Params() {
		if param.Kind != config.KindList && param.Kind != config.KindMatch {
			continue
		}
		for _, spec := range table.Leaves(c.List(param.Name)) {
			if spec.Database() {
				return fmt.Errorf("%s = %s: only lookup in sched.cf asks databases; make an indexed table of its contents with postmap and write hash: here", param.Name, spec)
			}
		}
	}
	return nil
}

// noteTables is noteSpecs for some tables.
func (p *plan) noteTables(specs []string) {
	for _, spec := range table.Leaves(specs) {
		for _, path := range spec.Files() {
			if !slices.Contains(p.specs[path], spec.String()) {
				p.specs[path] = append(p.specs[path], spec.String())
			}
		}
	}
}
