package ipc

import (
	"encoding/binary"
	"time"
)

// AppendString appends a length and the bytes of s.
func AppendString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendUint appends n as a uvarint.
func AppendUint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// AppendInt appends n as a zigzag varint.
func AppendInt(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

// AppendBool appends one byte.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendTime appends t in microseconds since the epoch; the zero time stays zero.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return AppendInt(b, 0)
	}
	return AppendInt(b, t.UnixMicro())
}

// Decoder reads what the Append functions wrote. After the first thing that does
// not fit, every call returns a zero value and Err says ErrFrame. The zero
// Decoder is empty; set one up with NewDecoder.
type Decoder struct {
	b    []byte
	text string // see NewTextDecoder
	bad  bool
}

// NewDecoder reads from b.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// textMax is how much of a frame one of its strings may keep in memory.
const textMax = 1 << 10

// NewTextDecoder is NewDecoder for a frame with many strings that live as long as each
// other: of a small one, String returns parts of one copy of all of b.
func NewTextDecoder(b []byte) Decoder {
	d := Decoder{b: b}
	if len(b) <= textMax {
		d.text = string(b)
	}
	return d
}

// Err is ErrFrame when something did not fit, else nil.
func (d *Decoder) Err() error {
	if d.bad {
		return ErrFrame
	}
	return nil
}

// End is Err, and ErrFrame also when bytes are left over.
func (d *Decoder) End() error {
	if d.bad || len(d.b) > 0 {
		return ErrFrame
	}
	return nil
}

// Left is how many bytes have not been read.
func (d *Decoder) Left() int { return len(d.b) }

// Uint reads a uvarint.
func (d *Decoder) Uint() uint64 {
	n, k := binary.Uvarint(d.b)
	if k <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[k:]
	return n
}

// Uint32 reads a uvarint that must fit into 32 bits.
func (d *Decoder) Uint32() uint32 {
	n := d.Uint()
	if n > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(n)
}

// Int reads a zigzag varint.
func (d *Decoder) Int() int64 {
	n, k := binary.Varint(d.b)
	if k <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[k:]
	return n
}

// Bool reads one byte, 0 or 1.
func (d *Decoder) Bool() bool {
	c := d.Byte()
	if c > 1 {
		d.fail()
	}
	return c == 1
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// Bytes reads a length and that many bytes, which it does not copy.
func (d *Decoder) Bytes() []byte {
	n := d.Uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// String reads a length and that many bytes as a string.
func (d *Decoder) String() string {
	v := d.Bytes()
	if d.text == "" || len(v) == 0 {
		return string(v)
	}
	end := len(d.text) - len(d.b)
	return d.text[end-len(v) : end]
}

// Time reads what AppendTime wrote.
func (d *Decoder) Time() time.Time {
	n := d.Int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

// Count reads the length of a list whose elements take at least one byte each, so
// that no hostile number makes the reader allocate more than it was sent.
func (d *Decoder) Count() int {
	n := d.Uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// Rest returns everything that is left.
func (d *Decoder) Rest() []byte {
	v := d.b
	d.b = nil
	return v
}

func (d *Decoder) fail() { d.bad, d.b = true, nil }
