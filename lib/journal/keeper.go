package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

const (
	dirIncoming = "incoming/"
	dirContent  = "content"

	// cleanup writes the files, qmgr frees them: both by their group.
	fileMode = 0o660

	// Numbers left out when a file's own cannot be read: it may be the highest.
	numberGap = 1 << 16
)

// status is what the keeper knows of a file in incoming/.
type status uint8

const (
	living  status = iota // has messages, or had: only Recycle changes that
	spare                 // free and written in advance
	current               // being written, or about to be
	making                // the keeper works on it
	bad                   // a write or sync failed: goes when it is free
)

// keeper owns the files that are not being written: it makes files in advance,
// takes back those that qmgr freed, and counts what all take up.
type keeper struct {
	j    *Journal
	done chan struct{}
	wake chan struct{}

	mu      sync.Mutex
	files   map[string]status
	sizes   map[string]int64 // of living files
	spares  []string
	back    []string // freed by qmgr or left half made; to be looked at
	next    uint64   // number of the next file
	newName uint64
	halt    bool
}

// oldFile is a content file found by Open.
type oldFile struct {
	name   string
	header slot.Header
}

func (k *keeper) init(j *Journal) {
	*k = keeper{j: j, done: make(chan struct{}), wake: make(chan struct{}, 1),
		files: map[string]status{}, sizes: map[string]int64{}, next: j.o.Above + 1, newName: 1}
}

// list reads the headers in incoming/ and returns the content files by number.
func (k *keeper) list() ([]oldFile, error) {
	fsys := k.j.o.FS
	// What a dead writer left must not lose its name once it is relied on.
	if err := fsys.SyncDir(dirIncoming); err != nil {
		return nil, err
	}
	entries, err := fsys.ReadDir(dirIncoming)
	if err != nil {
		return nil, err
	}
	var old []oldFile
	var unreadable []string
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		k.newName = max(k.newName, n+1)
		h, size, err := k.header(e.Name())
		switch {
		case err == nil:
		case errors.Is(err, slot.ErrBlank): // left half made
			k.files[e.Name()] = making
			k.back = append(k.back, e.Name())
			continue
		case errors.Is(err, slot.ErrDamage):
			unreadable = append(unreadable, e.Name())
			k.living(e.Name(), size)
			continue
		default:
			return nil, fmt.Errorf("%s%s: %w", dirIncoming, e.Name(), err)
		}
		k.next = max(k.next, h.Number+1)
		switch {
		case h.Kind == slot.Free && size >= k.j.o.FileSize:
			k.files[e.Name()] = spare
			k.spares = append(k.spares, e.Name())
		case h.Kind == slot.Free:
			k.files[e.Name()] = making
			k.back = append(k.back, e.Name())
		default:
			k.living(e.Name(), size)
			if h.Kind == slot.Content {
				old = append(old, oldFile{e.Name(), h})
			}
		}
	}
	if len(unreadable) > 0 {
		k.next += numberGap
		k.j.o.Logf("journal: no file header can be read in %v of %s: numbers go on at %d", unreadable, dirIncoming, k.next)
	}
	slices.SortFunc(old, func(a, b oldFile) int {
		return slot.Position{File: a.header.Number}.Compare(slot.Position{File: b.header.Number})
	})
	k.j.space.countLarge(fsys)
	return old, nil
}

func (k *keeper) living(name string, size int64) {
	k.files[name], k.sizes[name] = living, size
	k.j.space.ended.Add(size)
}

// header reads a file's header, by its copies among the records if need be.
// ErrBlank means that the whole file is zeros.
func (k *keeper) header(name string) (slot.Header, int64, error) {
	f, err := k.j.o.FS.OpenFile(dirIncoming+name, os.O_RDONLY, 0)
	if err != nil {
		return slot.Header{}, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return slot.Header{}, 0, err
	}
	h, err := slot.ReadHeader(f)
	if errors.Is(err, slot.ErrBlank) && !blank(f, size) {
		err = slot.ErrDamage
	}
	if err == nil || errors.Is(err, slot.ErrBlank) || errors.Is(err, slot.ErrVersion) {
		return h, size, err
	}
	h, err = slot.FindHeader(f, size)
	return h, size, err
}

// blank says whether f holds nothing but zeros.
func blank(f disk.File, size int64) bool {
	b := make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(b)) {
		n, err := f.ReadAt(b, off)
		if err != nil && err != io.EOF || slices.ContainsFunc(b[:n], func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	return true
}

// number gives the next file number. It is never given again: the highest one is
// in a header that is durable before anything relies on it.
func (k *keeper) number() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next++
	return k.next - 1
}

// pop returns a spare, or the name of a file to be made.
func (k *keeper) pop() (name string, isSpare bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.poke()
	if len(k.spares) > 0 {
		name = k.spares[0]
		k.spares = slices.Delete(k.spares, 0, 1)
		isSpare = true
	} else {
		name = k.name()
	}
	k.files[name] = current
	return name, isSpare
}

// name returns the name of a new file; files are never renamed.
func (k *keeper) name() string {
	k.newName++
	return fmt.Sprintf("%06d", k.newName-1)
}

func (k *keeper) hasSpare() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.spares) > 0
}

// ended says that a file is written to its end, at length bytes.
func (k *keeper) ended(name string, length int64, failed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.living(name, max(length, k.j.o.FileSize))
	if failed {
		k.files[name] = bad
	}
	k.j.space.current.Store(0)
}

// spoiled gives up a file that could not be begun.
func (k *keeper) spoiled(name string) {
	k.mu.Lock()
	k.files[name] = bad
	k.mu.Unlock()
	k.j.o.FS.Remove(dirIncoming + name) // if that fails too, it is found free at the next start
}

// Recycle says that qmgr has made the header of the file name, in incoming/,
// free and durable: it may have a new life.
func (j *Journal) Recycle(name string) {
	k := &j.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch s, ok := k.files[name]; {
	case ok && s == living:
		k.files[name] = making
	case ok && s == bad: // it will be removed
	default: // said twice, known from the start, or no file of ours
		return
	}
	k.back = append(k.back, name)
	k.poke()
}

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) stop() {
	k.mu.Lock()
	k.halt = true
	k.mu.Unlock()
	k.poke()
}

func (k *keeper) halted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.halt
}

func (k *keeper) run() {
	defer close(k.done)
	k.poke()
	for range k.wake {
		k.work()
		if k.halted() {
			return
		}
	}
}

// work looks at what came back, makes what spares are missing and removes what
// is too many: after a large backlog its space goes back to the system.
func (k *keeper) work() {
	for !k.halted() {
		k.mu.Lock()
		var name string
		had := len(k.back) > 0
		few, many := len(k.spares) < k.j.o.Spares, len(k.spares) > 2*k.j.o.Spares+4
		switch {
		case had:
			name = k.back[0]
			k.back = slices.Delete(k.back, 0, 1)
		case many:
			name = k.spares[len(k.spares)-1]
			k.spares = k.spares[:len(k.spares)-1]
			k.files[name] = making
		case few:
			name = k.name()
			k.files[name] = making
		}
		s := k.files[name]
		k.mu.Unlock()

		var err error
		switch {
		case name == "":
			k.j.space.countLarge(k.j.o.FS)
			return
		case had && s == bad:
			err = k.removeBad(name)
		case many && !had:
			err = k.remove(name)
		case !had && k.j.freeDisk() < k.j.o.MinFree+k.j.o.FileSize:
			k.forget(name) // it would take of the reserve, without which no mail is accepted
			return
		default:
			err = k.prepare(name, !had)
		}
		if err != nil {
			if !k.halted() {
				k.j.o.Logf("journal: %s%s: %v", dirIncoming, name, err)
			}
			if !had {
				return // until something happens again
			}
		}
	}
}

func (k *keeper) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.files, name)
}

// remove takes a free file away. The highest number stays: it is in the file
// being written.
func (k *keeper) remove(name string) error {
	if err := k.j.o.FS.Remove(dirIncoming + name); err != nil {
		return err
	}
	k.gone(name)
	return nil
}

func (k *keeper) removeBad(name string) error {
	if h, _, err := k.header(name); err != nil || h.Kind != slot.Free {
		return fmt.Errorf("said to be free, but is not: %v, %w", h.Kind, err)
	}
	return k.remove(name)
}

// gone stops counting a living file.
func (k *keeper) gone(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.j.space.ended.Add(-k.sizes[name])
	delete(k.sizes, name)
	delete(k.files, name)
}
