package block

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

const (
	page   = 4096
	sector = 512
)

// image is the content of a disk by pages; nil is zeros. A page is never changed once it
// is in an image, so that a copy of the slice is a copy of the disk.
type image [][]byte

func (m image) size() int64 { return int64(len(m)) * page }

func (m image) read(b []byte, off int64) {
	for len(b) > 0 {
		at := off % page
		n := min(page-at, int64(len(b)))
		if p := m[off/page]; p != nil {
			copy(b[:n], p[at:])
		} else {
			clear(b[:n])
		}
		b, off = b[n:], off+n
	}
}

func (m image) write(b []byte, off int64) {
	for len(b) > 0 {
		at := off % page
		n := min(page-at, int64(len(b)))
		var p []byte
		if n < page || !zero(b[:n]) {
			p = make([]byte, page)
			copy(p, m[off/page])
			copy(p[at:], b[:n])
		}
		m[off/page] = p
		b, off = b[n:], off+n
	}
}

var zeros [page]byte

func zero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

// readImage reads a sparse file.
func readImage(name string) (image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := make(image, st.Size()/page)
	buf := make([]byte, 1<<20)
	for off := int64(0); off < st.Size(); off += int64(len(buf)) {
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return nil, err
		}
		m.write(buf[:n], off)
	}
	return m, nil
}

// entry is one write, or, without data, one flush: everything before it is durable.
type entry struct {
	data []byte
	off  int64
	at   time.Time
}

func (e *entry) flush() bool { return e.data == nil }

// device is a disk in memory. While it records, everything done to it is logged in its
// order. A write counts as done before a flush when it was answered before.
type device struct {
	mu        sync.Mutex
	now       image
	recording bool
	log       []entry
}

func (d *device) size() int64 { d.mu.Lock(); defer d.mu.Unlock(); return d.now.size() }

func (d *device) read(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.read(b, off)
}

func (d *device) write(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.write(b, off)
	if d.recording {
		d.log = append(d.log, entry{bytes.Clone(b), off, time.Now()})
	}
}

func (d *device) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recording {
		d.log = append(d.log, entry{at: time.Now()})
	}
}

// position is how much was logged so far: what happened in the world outside before this
// call, happened before a cut at this position or a later one.
func (d *device) position() int { d.mu.Lock(); defer d.mu.Unlock(); return len(d.log) }

// load changes the disk. Nothing has it mounted.
func (d *device) load(m image) { d.mu.Lock(); defer d.mu.Unlock(); d.now = m }

// record starts or ends the log.
func (d *device) record(on bool) { d.mu.Lock(); defer d.mu.Unlock(); d.recording = on }
