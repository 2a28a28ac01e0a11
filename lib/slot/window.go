package slot

import (
	"io"

	"postrider/lib/mutant"
)

const (
	chunk = 128 << 10 // read at once
	block = 4 << 10   // lost at once when a sector is bad
)

// window reads a file front to back through a buffer. Blocks that cannot be
// read are zeros, so that what lies around them is still found; errEnd and err
// tell of them.
type window struct {
	r      io.ReaderAt
	size   int64 // nothing behind it is read
	buf    []byte
	base   int64
	err    error // of the last block that could not be read
	errEnd int64 // and where it ends
}

// bytes returns n bytes at off, less where the file ends. They are valid until
// the next call.
func (w *window) bytes(off int64, n int) []byte {
	if left := w.size - off; int64(n) > left {
		n = int(max(left, 0))
	}
	if n == 0 {
		return nil
	}
	if mutant.On(mutant.SlowSearch) {
		w.buf = nil
	}
	if off < w.base || off+int64(n) > w.base+int64(len(w.buf)) {
		w.fill(off, n)
	}
	i := off - w.base
	return w.buf[i:min(i+int64(n), int64(len(w.buf)))]
}

func (w *window) fill(off int64, n int) {
	var kept int
	want := int(min(int64(max(n, chunk)), w.size-off))
	old := w.buf
	if off >= w.base && off < w.base+int64(len(old)) {
		old = old[off-w.base:]
	} else {
		old = nil
	}
	if cap(w.buf) < want || cap(w.buf) > 8*chunk && want <= chunk {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	kept = copy(w.buf, old)
	w.base = off
	k, err := w.r.ReadAt(w.buf[kept:], off+int64(kept))
	if err == nil || err == io.EOF {
		w.buf = w.buf[:kept+k]
		return
	}
	for i := kept; i < want; {
		at := off + int64(i)
		j := min(want, i+int(block-at%block))
		if k, err := w.r.ReadAt(w.buf[i:j], at); err == io.EOF {
			w.buf = w.buf[:i+k]
			return
		} else if err != nil {
			clear(w.buf[i:j])
			w.err, w.errEnd = err, off+int64(j)
		}
		i = j
	}
}
