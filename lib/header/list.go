package header

import (
	"bytes"

	"postrider/lib/mail"
)

// List is the addresses of one field with their places, so that some can be written
// anew and everything else stays as it is. Its memory is used again by the next Read;
// the zero List is ready.
type List struct{ p parser }

// Read finds the addresses in value as Addresses does. value must not change while the
// list is used.
func (l *List) Read(value []byte, limit int) error {
	l.p = parser{in: value, words: l.p.words[:0], found: l.p.found[:0], limit: limit}
	return l.p.list()
}

// Forget lets go of the text that was read.
func (l *List) Forget() { l.p.in = nil }

// Len is the number of addresses.
func (l *List) Len() int { return len(l.p.found) }

// Address is one address in internal form; it refers to the list's memory.
func (l *List) Address(i int) []byte {
	f := l.p.found[i]
	return l.p.words[f.lo:f.hi]
}

// Rewrite reads value and returns it with other addresses in the place of those that change
// has one for, or nil when there are none. Words are in internal form. An error of change
// ends it; a list over the limit stays as it is. It takes no memory where nothing changes.
func (l *List) Rewrite(value []byte, limit int, change func(word []byte) (to mail.Address, yes bool, err error)) ([]byte, error) {
	if l.Read(value, limit) != nil {
		return nil, nil
	}
	defer l.Forget()
	var with map[int]mail.Address
	for i := range l.Len() {
		a, yes, err := change(l.Address(i))
		if err != nil {
			return nil, err
		}
		if yes {
			if with == nil {
				with = map[int]mail.Address{}
			}
			with[i] = a
		}
	}
	if with == nil {
		return nil, nil
	}
	return l.Replace(nil, with), nil
}

// longLine is the column, in bytes, that a line is folded before when addresses in it
// have become longer (RFC 5322, 2.1.1: 998).
const longLine = 900

// Replace appends the text with other addresses in it: for each index that is in with.
// Between two that nothing separated comes a comma, for completed they could not be told
// apart from one that is wrong.
func (l *List) Replace(dst []byte, with map[int]mail.Address) []byte {
	in, done := l.p.in, 0
	begin := len(dst) // of the line
	for i, f := range l.p.found {
		gap := in[done:f.at]
		_, changed := with[i]
		if _, before := with[i-1]; f.crowded && (changed || before) {
			dst = append(dst, ',')
		}
		dst = append(dst, gap...)
		if nl := bytes.LastIndexByte(dst[begin:], '\n'); nl >= 0 {
			begin += nl + 1
		}
		text := in[f.at:f.end]
		if changed {
			text = []byte(with[i].External())
		}
		if n := len(dst); n > begin && n-begin+len(text) > longLine && i > 0 {
			switch dst[n-1] {
			case ' ', '\t':
				dst = append(dst[:n-1], "\r\n "...)
				begin = n + 1
			case ',':
				dst = append(dst, "\r\n "...)
				begin = n + 2
			}
		}
		dst, done = append(dst, text...), f.end
	}
	return append(dst, in[done:]...)
}
