package header

import "bytes"

const (
	// DefaultLimit is how many bytes of one field are looked at
	// (header_size_limit). What is longer passes by unread, never cut.
	DefaultLimit = 102400
	// maxName bounds a field's name; a longer one begins the body.
	maxName = 998
)

// State says what a call of Scanner.Next found.
type State uint8

// States of a scan.
const (
	More  State = iota // nothing for certain before more content comes
	Found              // a field
	End                // the header ends before what is left
)

// Field is one header field as it stands, folds and line end included. It refers
// to the bytes given to Next.
type Field struct {
	Raw   []byte
	Cut   bool // longer than the limit: Raw is its beginning only
	name  int  // length of the name
	value int  // where the text behind the colon begins
}

// Name returns the name as written.
func (f Field) Name() []byte { return f.Raw[:f.name] }

// Is says whether the field has this name, whatever the case.
func (f Field) Is(name string) bool { return equalFold(f.Raw[:f.name], name) }

// Value returns what stands behind the colon, without the white space at both
// ends, folds left in.
func (f Field) Value() []byte { return bytes.Trim(f.Raw[f.value:], " \t\r\n") }

// ValueAt is where Value begins in Raw.
func (f Field) ValueAt() int {
	return len(f.Raw) - len(bytes.TrimLeft(f.Raw[f.value:], " \t\r\n"))
}

// Text appends the value to dst with its folds undone: line ends vanish, the
// white space behind them stays.
func (f Field) Text(dst []byte) []byte {
	for _, c := range f.Value() {
		if c != '\r' && c != '\n' {
			dst = append(dst, c)
		}
	}
	return dst
}

// Scanner finds the fields of a header in content that comes in pieces. The zero
// Scanner is at the beginning of a message.
type Scanner struct {
	Limit int // bytes of a field that are looked at; 0 means DefaultLimit

	resume  int  // how much of the unconsumed field is known to have no end
	skip    bool // in the rest of a field that is over the limit
	midline bool // of that rest: not at the beginning of a line
}

// Next looks at b, which begins where the bytes consumed so far end; eof says
// that nothing comes behind it. It consumes n bytes, all of them header. At Found
// they end with the field. At More the caller calls again with b[n:] and what came
// since; n is positive only in the rest of a field over the limit. At End b[n:]
// begins with the empty line, with text that is no header although there is no
// empty line, or is empty.
func (s *Scanner) Next(b []byte, eof bool) (f Field, n int, st State) {
	if s.skip {
		if n = s.rest(b); s.skip && !eof {
			return Field{}, n, More
		}
		s.skip = false
	}
	f, st = s.field(b[n:], eof)
	return f, n + len(f.Raw), st
}

// rest passes over what is left of a field over the limit and returns its length.
func (s *Scanner) rest(b []byte) int {
	i := 0
	for {
		if s.midline {
			j := bytes.IndexByte(b[i:], '\n')
			if j < 0 {
				return len(b)
			}
			i += j + 1
			s.midline = false
		}
		if i == len(b) {
			return i
		}
		if !blank(b[i]) {
			s.skip = false
			return i
		}
		s.midline = true
	}
}

func (s *Scanner) field(p []byte, eof bool) (Field, State) {
	name, value, st := fieldName(p, eof)
	if st != Found {
		return Field{}, st
	}
	limit := s.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	whole := func(n int, cut bool) (Field, State) {
		s.resume = 0
		return Field{Raw: p[:n:n], Cut: cut, name: name, value: value}, Found
	}
	for i := max(value, s.resume); ; {
		j := bytes.IndexByte(p[i:], '\n')
		end := i + j + 1
		switch {
		case j >= 0 && end < len(p) && !blank(p[end]):
			return whole(end, false)
		case j >= 0 && end < len(p):
			i = end
			continue
		case eof:
			return whole(len(p), false)
		case len(p) >= limit:
			s.skip, s.midline = true, j < 0
			return whole(len(p), true)
		case j >= 0:
			s.resume = end - 1 // the line end again, when it is known what follows
		default:
			s.resume = len(p)
		}
		return Field{}, More
	}
}

// fieldName finds the name and colon at the beginning of p. Found: there they
// are. End: this is no field.
func fieldName(p []byte, eof bool) (name, value int, st State) {
	for i, c := range p {
		if i > maxName {
			return 0, 0, End
		}
		switch {
		case c == ':':
			if name == 0 {
				name = i
			}
			if name == 0 {
				return 0, 0, End
			}
			return name, i + 1, Found
		case blank(c): // "Name :" is obsolete but legal (RFC 5322, 4.5)
			if i == 0 {
				return 0, 0, End
			}
			if name == 0 {
				name = i
			}
		case c <= ' ' || c >= 0x7f || name != 0:
			return 0, 0, End
		}
	}
	if eof {
		return 0, 0, End
	}
	return 0, 0, More
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// equalFold compares in ASCII only.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
