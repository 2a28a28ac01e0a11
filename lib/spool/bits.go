package spool

import "math/bits"

// bitmap has one bit for each slot of a file; bits beyond its end are clear.
type bitmap []uint64

func (m bitmap) has(n uint32) bool { return int(n>>6) < len(m) && m[n>>6]>>(n&63)&1 != 0 }

// set sets a bit and reports whether it was clear.
func (m *bitmap) set(n uint32) bool {
	if int(n>>6) >= len(*m) {
		m.grow(n)
	}
	w := &(*m)[n>>6]
	was := *w
	*w |= 1 << (n & 63)
	return *w != was
}

// clear clears a bit and reports whether it was set.
func (m bitmap) clear(n uint32) bool {
	if !m.has(n) {
		return false
	}
	m[n>>6] &^= 1 << (n & 63)
	return true
}

// grow makes room for bit n; a file that grows slot by slot doubles.
func (m *bitmap) grow(n uint32) {
	want := int(n>>6) + 1
	if want <= cap(*m) {
		*m = (*m)[:want]
		return
	}
	t := make(bitmap, want, max(want, 2*cap(*m), 4))
	copy(t, *m)
	*m = t
}

// count returns how many of the first n bits are set.
func (m bitmap) count(n uint32) int {
	c := 0
	for i, w := range m {
		if left := int64(n) - int64(i)<<6; left < 64 {
			if left > 0 {
				c += bits.OnesCount64(w & (1<<uint(left) - 1))
			}
			break
		}
		c += bits.OnesCount64(w)
	}
	return c
}

// clone copies the words that hold the first n bits.
func (m bitmap) clone(n uint32) bitmap {
	k := min(len(m), int(n+63)>>6)
	return append(bitmap(nil), m[:k]...)
}
