package spool

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
	if w.buf == nil {
		w.buf = make([]byte, warmMin)
	}
	if w.at+n > len(w.buf) {
		w.evict(w.at, len(w.buf))
		w.at = 0
	}
	if w.evict(w.at, w.at+n) || n > len(w.buf) {
		// The old ring lives on as long as what is in it is warm.
		w.buf, w.at, w.list, w.head = make([]byte, max(2*len(w.buf), n)), 0, nil, 0
	}
	m.warm = w.buf[w.at : w.at+n : w.at+n]
	copy(m.warm, content)
	w.list = append(w.list, warmed{m, w.at, w.at + n})
	w.at += n
}

// evict makes room between two offsets. True: the ring should be larger.
func (w *warmth) evict(from, to int) bool {
	for ; w.head < len(w.list); w.head++ {
		x := &w.list[w.head]
		if x.to <= from || x.off >= to {
			break
		}
		if x.m.warm != nil && !x.m.used && len(w.buf) < warmMax {
			return true
		}
		x.m.warm = nil
		x.m = nil
	}
	if w.head > len(w.list)/2 {
		n := copy(w.list, w.list[w.head:])
		clear(w.list[n:])
		w.list, w.head = w.list[:n], 0
	}
	return false
}

// Warm returns the content of m, checked, when it is at hand since Tail, or nil. It is
// valid until the next call of Tail. The owner's alone.
func (q *Queue) Warm(m *Message) []byte {
	m.used = true
	return m.warm
}
