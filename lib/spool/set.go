package spool

import (
	"encoding/binary"
	"math/bits"
)

// Set is a set of recipient numbers, as a bitmap. The zero value is empty.
type Set []uint64

// Has says whether n is in the set.
func (s Set) Has(n uint32) bool { return int(n>>6) < len(s) && s[n>>6]>>(n&63)&1 != 0 }

// Add puts n into the set.
func (s *Set) Add(n uint32) {
	for int(n>>6) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[n>>6] |= 1 << (n & 63)
}

// Merge puts every member of t into the set.
func (s *Set) Merge(t Set) {
	for len(*s) < len(t) {
		*s = append(*s, 0)
	}
	for i, w := range t {
		(*s)[i] |= w
	}
}

// Len returns the number of members.
func (s Set) Len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// members returns the numbers in s, rising.
func members(s Set) []uint32 {
	var ns []uint32
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			ns = append(ns, uint32(i<<6+bits.TrailingZeros64(w)))
		}
	}
	return ns
}

// Numbers are stored as runs: how many runs there are, then for each the gap
// to the end of the one before and its length minus one, all uvarints. One
// number takes three to five bytes, a whole range no more.

// maxNumber bounds recipient and slot numbers read from disk.
const maxNumber = 1 << 31

// appendNumbers appends rising numbers as runs.
func appendNumbers(b []byte, ns []uint32) []byte {
	runs := 0
	for i, n := range ns {
		if i == 0 || n != ns[i-1]+1 {
			runs++
		}
	}
	b = binary.AppendUvarint(b, uint64(runs))
	end := uint32(0)
	for i := 0; i < len(ns); {
		j := i + 1
		for j < len(ns) && ns[j] == ns[j-1]+1 {
			j++
		}
		b = binary.AppendUvarint(b, uint64(ns[i]-end))
		b = binary.AppendUvarint(b, uint64(j-i-1))
		end = ns[j-1] + 1
		i = j
	}
	return b
}

// appendSet appends the members of s as runs.
func appendSet(b []byte, s Set) []byte {
	var a [64]uint32
	ns := a[:0]
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			ns = append(ns, uint32(i<<6+bits.TrailingZeros64(w)))
		}
	}
	return appendNumbers(b, ns)
}

// runs reads runs one after another, without allocating.
type runs struct {
	d    decoder
	left uint64
	end  uint64
}

// next returns the next run as [from, to); false at the end or when the bytes
// are bad (d.bad tells).
func (r *runs) next() (from, to uint32, ok bool) {
	if r.left == 0 || r.d.bad {
		return 0, 0, false
	}
	r.left--
	f := r.end + r.d.uint()
	n := r.d.uint()
	if r.d.bad || f > maxNumber || n > maxNumber || f+n+1 > maxNumber {
		r.d.bad = true
		return 0, 0, false
	}
	r.end = f + n + 1
	return uint32(f), uint32(r.end), true
}

// decoder reads the fields of entries and records. Once something is wrong,
// bad is set and everything else reads as zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	n, k := binary.Uvarint(d.b)
	if k <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[k:]
	return n
}

func (d *decoder) int() int64 {
	n, k := binary.Varint(d.b)
	if k <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[k:]
	return n
}

func (d *decoder) uint32() uint32 {
	n := d.uint()
	if n > 1<<32-1 {
		d.bad, d.b = true, nil
		return 0
	}
	return uint32(n)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// bytes returns a field with its length before it; it refers to the input.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

// runs starts to read numbers stored as runs. The bytes behind them follow in
// the runs' own decoder; take them back with d.after.
func (d *decoder) runs() runs {
	n := d.uint()
	return runs{d: *d, left: n}
}

// after goes on behind r, which was read to its end.
func (d *decoder) after(r *runs) { *d = r.d }

// skipRuns passes over runs and returns their bytes.
func (d *decoder) skipRuns() []byte {
	all := d.b
	r := d.runs()
	for {
		if _, _, ok := r.next(); !ok {
			break
		}
	}
	d.after(&r)
	if d.bad {
		return nil
	}
	return all[:len(all)-len(d.b)]
}

// numbers reads runs of at most max numbers in all.
func (d *decoder) numbers(max int) []uint32 {
	var ns []uint32
	r := d.runs()
	for {
		from, to, ok := r.next()
		if !ok {
			break
		}
		if int(to-from) > max-len(ns) {
			r.d.bad = true
			break
		}
		for n := from; n < to; n++ {
			ns = append(ns, n)
		}
	}
	d.after(&r)
	return ns
}

// set reads runs into a set.
func (d *decoder) set() Set {
	var s Set
	r := d.runs()
	for {
		from, to, ok := r.next()
		if !ok {
			break
		}
		if to > maxRecipients {
			r.d.bad = true
			break
		}
		for n := from; n < to; n++ {
			s.Add(n)
		}
	}
	d.after(&r)
	return s
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
