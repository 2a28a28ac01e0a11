package disk

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Model is a queue directory in memory for tests. It keeps what programs see
// apart from what would survive a power cut: data becomes durable by Sync,
// names by SyncDir, each without the other. All that is random comes from the
// seed. Safe for concurrent use.
type Model struct {
	// Capacity is the size of the disk in bytes, 0 for one that never fills. Once
	// the disk is in use it is changed by SetCapacity.
	Capacity int64
	// Clock gives modification times; nil means that they are zero.
	Clock func() time.Time

	mu     sync.Mutex
	rnd    *rand.Rand
	root   *node
	life   int // handles of an earlier life are dead
	faults []*fault
	calls  map[Op]int
	stopIn int // changing calls until the power fails, counted when > 0
	off    bool
}

// ErrOff is what every call gives when the power has failed.
var ErrOff = errors.New("disk: no power")

// node is a file or a directory.
type node struct {
	mode   fs.FileMode
	mtime  time.Time
	data   []byte  // as programs see it
	disk   []byte  // as it would be after a power cut
	writes []write // not synced, in order

	names, synced map[string]*node // of a directory: as seen, as durable
}

// write is one change of a file that is not synced.
type write struct {
	off  int64
	data []byte
	size bool // a truncation to off
}

// NewModel returns an empty disk.
func NewModel(seed uint64) *Model {
	return &Model{rnd: rand.New(rand.NewPCG(seed, 0)), root: newDir(), calls: map[Op]int{}}
}

func newDir() *node {
	return &node{mode: fs.ModeDir | 0o755, names: map[string]*node{}, synced: map[string]*node{}}
}

// find returns the directory of name, the last part of name, and what is there
// or nil.
func (m *Model) find(op, name string) (dir *node, last string, n *node, err error) {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return m.root, ".", m.root, nil
	}
	dir = m.root
	parent, last := path.Split(name)
	for part := range strings.SplitSeq(strings.Trim(parent, "/"), "/") {
		if part == "" {
			continue
		}
		if dir = dir.names[part]; dir == nil {
			return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT}
		}
		if dir.names == nil {
			return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
		}
	}
	return dir, last, dir.names[last], nil
}

// OpenFile is FS.OpenFile.
func (m *Model) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) (File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	dir, last, n, err := m.reach(OpOpen, "open", name, flag&(os.O_CREATE|os.O_TRUNC) != 0)
	switch {
	case err != nil:
		return nil, err
	case n != nil && n.names != nil:
		return fail(syscall.EISDIR)
	case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return fail(syscall.EEXIST)
	case n == nil && flag&os.O_CREATE == 0:
		return fail(syscall.ENOENT)
	case n == nil:
		n = &node{mode: perm.Perm(), mtime: m.now()}
		dir.names[last] = n
	case flag&os.O_TRUNC != 0:
		n.change(write{size: true})
	}
	return &modelFile{m: m, n: n, name: name, life: m.life, rw: flag&(os.O_RDWR|os.O_WRONLY) != 0}, nil
}

// reach counts a call and finds what name is, unless a fault comes first.
func (m *Model) reach(op Op, verb, name string, changes bool) (dir *node, last string, n *node, err error) {
	if err := m.call(op, name, changes); err != nil {
		return nil, "", nil, &fs.PathError{Op: verb, Path: name, Err: err}
	}
	return m.find(verb, name)
}

// Remove is FS.Remove.
func (m *Model) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, last, n, err := m.reach(OpRemove, "unlink", name, true)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fs.PathError{Op: "unlink", Path: name, Err: syscall.ENOENT}
	case n.names != nil:
		return &fs.PathError{Op: "unlink", Path: name, Err: syscall.EISDIR}
	}
	delete(dir.names, last)
	return nil
}

// Mkdir is FS.Mkdir.
func (m *Model) Mkdir(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, last, n, err := m.reach(OpMkdir, "mkdir", name, true)
	switch {
	case err != nil:
		return err
	case n != nil:
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EEXIST}
	}
	d := newDir()
	d.mode, d.mtime = fs.ModeDir|perm.Perm(), m.now()
	dir.names[last] = d
	return nil
}

// ReadDir is FS.ReadDir.
func (m *Model) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.reach(OpReadDir, "readdir", name, false)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOENT}
	case n.names == nil:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	var out []fs.DirEntry
	for name, c := range n.names {
		out = append(out, fs.FileInfoToDirEntry(c.info(name)))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// SyncDir is FS.SyncDir.
func (m *Model) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.reach(OpSyncDir, "fsync", name, true)
	switch {
	case err != nil:
		return err
	case n == nil || n.names == nil:
		return &fs.PathError{Op: "fsync", Path: name, Err: syscall.ENOENT}
	}
	n.synced = copyMap(n.names)
	return nil
}

// Stat is FS.Stat.
func (m *Model) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, last, n, err := m.reach(OpStat, "stat", name, false)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, &fs.PathError{Op: "stat", Path: name, Err: syscall.ENOENT}
	}
	return n.info(last), nil
}

// Free is FS.Free.
func (m *Model) Free(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(OpFree, name, false); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return m.free(), nil
}

func (m *Model) free() int64 {
	if m.Capacity == 0 {
		return 1 << 50
	}
	return max(0, m.Capacity-m.root.used())
}

func (n *node) used() int64 {
	sum := int64(len(n.data))
	for _, c := range n.names {
		sum += c.used()
	}
	return sum
}

func (m *Model) now() time.Time {
	if m.Clock == nil {
		return time.Time{}
	}
	return m.Clock()
}

// change does what a program sees and remembers what is not synced.
func (n *node) change(w write) {
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
}

func (w write) apply(b []byte) []byte {
	end := w.off + int64(len(w.data))
	if w.size && end < int64(len(b)) {
		return b[:end]
	}
	if end > int64(len(b)) {
		old := int64(len(b))
		b = slices.Grow(b, int(end-old))[:end]
		clear(b[old:])
	}
	copy(b[w.off:], w.data)
	return b
}

type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (n *node) info(name string) fs.FileInfo {
	return info{name, int64(len(n.data)), n.mode, n.mtime}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

type modelFile struct {
	m      *Model
	n      *node
	name   string
	life   int
	rw     bool
	closed bool
}

func (f *modelFile) begin(op Op, changes bool) error {
	err := f.m.call(op, f.name, changes)
	if err == nil && (f.closed || f.life != f.m.life) {
		err = fs.ErrClosed
	}
	if err == nil && changes && !f.rw && op != OpSync {
		err = syscall.EBADF
	}
	if err != nil {
		return &fs.PathError{Op: string(op), Path: f.name, Err: err}
	}
	return nil
}

func (f *modelFile) Name() string { return f.name }

func (f *modelFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(OpRead, false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt, when it fails, may have written a part.
func (f *modelFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.begin(OpWrite, true)
	if err == nil && f.m.Capacity > 0 && off+int64(len(p))-int64(len(f.n.data)) > f.m.free() {
		err = &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	n := len(p)
	if err != nil {
		if errors.Is(err, ErrOff) || errors.Is(err, fs.ErrClosed) || errors.Is(err, syscall.EBADF) || len(p) == 0 {
			return 0, err
		}
		n = int(min(int64(f.m.rnd.IntN(len(p))), max(0, f.m.free())))
	}
	f.n.change(write{off: off, data: slices.Clone(p[:n])})
	f.n.mtime = f.m.now()
	return n, err
}

func (f *modelFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(OpTruncate, true); err != nil {
		return err
	}
	if size < int64(len(f.n.data)) {
		f.n.change(write{off: size, size: true})
	} else {
		f.n.change(write{off: size})
	}
	return nil
}

// Sync, when it fails, has written some sectors and forgets the others, but
// programs go on seeing them.
func (f *modelFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.begin(OpSync, true)
	if errors.Is(err, ErrOff) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err != nil {
		f.m.settle(f.n)
	}
	for _, w := range f.n.writes {
		f.n.disk = w.apply(f.n.disk)
	}
	f.n.writes = nil
	return err
}

func (f *modelFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(OpStat, false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *modelFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.begin(OpClose, false)
	f.closed = true
	return err
}

// Clone returns a disk that holds the same, so that a test can try many things
// from one beginning. Open files and faults are not taken along.
func (m *Model) Clone(seed uint64) *Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewModel(seed)
	c.Capacity, c.Clock = m.Capacity, m.Clock
	c.root = m.root.clone(map[*node]*node{})
	return c
}

func (n *node) clone(done map[*node]*node) *node {
	if n == nil || done[n] != nil {
		return done[n]
	}
	c := &node{mode: n.mode, mtime: n.mtime, data: slices.Clone(n.data), disk: slices.Clone(n.disk), writes: slices.Clone(n.writes)}
	done[n] = c
	if n.names != nil {
		c.names, c.synced = make(map[string]*node), make(map[string]*node)
		for name, x := range n.names {
			c.names[name] = x.clone(done)
		}
		for name, x := range n.synced {
			c.synced[name] = x.clone(done)
		}
	}
	return c
}
