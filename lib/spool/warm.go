package spool

import "hash/crc32"

// warmth keeps contents that Tail has read and checked at hand for the first attempts,
// which nearly always follow at once: nothing is read twice. It is a ring, so what waits
// longer goes cold and is read again.
type warmth struct {
	buf  []byte
	at   int      // where the next content goes
	list []warmed // in the order of the ring, from head on the oldest first
	head int
	most int // contents beyond are not kept
}

type warmed struct {
	m       *Message
	off, to int
}

// Sizes of the ring, in bytes. It grows when something goes cold that was not used.
const (
	warmMin = 128 << 10
	warmMax = 1 << 20
)

// put keeps a copy of the content of m.
func (w *warmth) put(m *Message, content []byte) {
	n := len(content)
	if n > w.most {
		return
	}
	at, free := w.at, n <= len(w.buf)
	if free && at+n > len(w.buf) {
		free, at = w.evict(at, len(w.buf)), 0
	}
	if !free || !w.evict(at, at+n) {
		// What is warm in the old ring stays so: nobody writes there any more.
		*w = warmth{buf: make([]byte, min(max(2*len(w.buf), warmMin, n), max(warmMax, n))), most: w.most}
		at = 0
	}
	m.warm = w.buf[at : at+n : at+n]
	copy(m.warm, content)
	m.sum = crc32.Checksum(content, castagnoli)
	w.list = append(w.list, warmed{m, at, at + n})
	w.at = at + n
}

// evict makes room between two offsets, the next of the ring. False: it did not, since
// something there was not used yet and the ring may grow.
func (w *warmth) evict(from, to int) bool {
	for ; w.head < len(w.list); w.head++ {
		x := &w.list[w.head]
		if x.to <= from || x.off >= to {
			break
		}
		if x.m.warm != nil && !x.m.used && len(w.buf) < warmMax {
			return false
		}
		x.m.warm, x.m = nil, nil
	}
	if w.head > len(w.list)/2 {
		n := copy(w.list, w.list[w.head:])
		clear(w.list[n:])
		w.list, w.head = w.list[:n], 0
	}
	return true
}

// Warm returns the content of m, checked, when it is at hand since Tail, or nil, and the
// CRC-32C it had then: whoever is given the content checks it against that. It is valid
// until the next call of Tail. The owner's alone.
func (q *Queue) Warm(m *Message) (content []byte, sum uint32) {
	m.used = true
	return m.warm, m.sum
}
