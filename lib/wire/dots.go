package wire

import "bytes"

// Unstuffer turns what follows DATA into content: it finds the end, takes away the dots
// that the sender put in front of lines (RFC 5321, section 4.5.2), and makes every line
// end CRLF. The zero value is ready for a message; any split of the input gives the same.
//
// Only CRLF.CRLF ends the data, or .CRLF at its very beginning. A bare LF ends a line and
// becomes CRLF, but neither before nor behind a dot does it count for the end: a
// line with a lone dot that is not the end stays as it is. CRs in front of CRLF are
// dropped, and any other run of bare CRs becomes one blank. So content never holds a
// bare CR or LF that a later hop might take for the end of the message.
type Unstuffer struct {
	BareLF bool // a line of the content ended in a bare LF

	state uint8
}

// States of an Unstuffer. What has been seen but not put out is in the name.
const (
	lineStart   = iota // the line before ended in CRLF, or there is none; must be zero
	afterBareLF        // start of a line; the one before ended in a bare LF
	dot                // "." where a line starts after CRLF
	dotCR              // ".\r" there
	bareDot            // "." where a line starts after a bare LF
	bareDotCR          // ".\r" there, or ".\r\r" at any start: a lone dot, if LF follows
	text               // within a line
	textCR             // "\r" within a line
	dataEnd            // CRLF.CRLF has gone by
)

// Append appends the content in src to dst, at most twice as many bytes and one. It
// returns how many bytes of src it used: all of them, or up to the end when done is true.
func (u *Unstuffer) Append(dst, src []byte) (out []byte, n int, done bool) {
	for i := 0; i < len(src); {
		if u.state == text || u.state <= afterBareLF && src[i] != '.' {
			k := u.plain(src[i:])
			dst = append(dst, src[i:i+k]...)
			if i += k; i == len(src) {
				break
			}
		}
		c := src[i]
		i++
		switch u.state {
		case lineStart, afterBareLF:
			if c == '.' {
				u.state = [...]uint8{lineStart: dot, afterBareLF: bareDot}[u.state]
				continue
			}
			dst = u.text(dst, c)
		case text:
			dst = u.text(dst, c)
		case textCR:
			switch c {
			case '\n':
				dst = append(dst, '\r', '\n')
				u.state = lineStart
			case '\r':
			default:
				dst = u.text(append(dst, ' '), c)
			}
		case dot, bareDot:
			switch c {
			case '\r':
				u.state += dotCR - dot
			case '\n':
				dst = append(dst, '.', '\r', '\n')
				u.state, u.BareLF = afterBareLF, true
			default:
				dst = u.text(dst, c)
			}
		case dotCR, bareDotCR:
			switch {
			case c == '\r':
				u.state = bareDotCR
			case c != '\n':
				dst = u.text(append(dst, ' '), c)
			case u.state == bareDotCR:
				dst = append(dst, '.', '\r', '\n')
				u.state = lineStart
			default:
				u.state = dataEnd
				return dst, i, true
			}
		case dataEnd:
			return dst, i - 1, true
		}
	}
	return dst, len(src), u.state == dataEnd
}

// text takes one byte that belongs to a line's text or ends it.
func (u *Unstuffer) text(dst []byte, c byte) []byte {
	switch c {
	case '\r':
		u.state = textCR
		return dst
	case '\n':
		u.state, u.BareLF = afterBareLF, true
		return append(dst, '\r', '\n')
	}
	u.state = text
	return append(dst, c)
}

// lookahead bounds how far plain looks for the end of a line, so that no input makes it
// look at the same bytes over and over.
const lookahead = 1024

// plain is how many bytes at the beginning of b are content as they stand: lines that
// end in CRLF, and the beginning of one. The state is then the one behind them. b
// begins within a line, or starts one with something else than a dot.
func (u *Unstuffer) plain(b []byte) int {
	n := 0
	for n < len(b) && !(n > 0 && u.state == lineStart && b[n] == '.') {
		part := b[n:min(n+lookahead, len(b))]
		lf := bytes.IndexByte(part, '\n')
		if lf >= 0 {
			part = part[:lf]
		}
		cr := bytes.IndexByte(part, '\r')
		if lf > 0 && cr == lf-1 {
			n += lf + 1
			u.state = lineStart
			continue
		}
		if cr >= 0 {
			part = part[:cr]
		}
		if len(part) > 0 {
			u.state = text
		}
		n += len(part)
		if lf >= 0 || cr >= 0 {
			break // a bare one
		}
	}
	return n
}

// Stuffer puts a dot in front of every line that starts with one, in content whose lines
// end in CRLF. The zero value is ready for a message; any split of the input gives the
// same.
type Stuffer struct {
	last uint8 // how the content so far ends
}

// Ends of the content so far.
const (
	endsLine = iota // with CRLF, or is empty; must be zero
	endsText
	endsCR
)

var lineDot = []byte("\r\n.")

// Append appends src to dst, stuffed.
func (s *Stuffer) Append(dst, src []byte) []byte {
	if len(src) == 0 {
		return dst
	}
	// What the block before ended with decides about the first bytes of this one.
	switch {
	case s.last == endsLine && src[0] == '.':
		dst = append(dst, '.')
	case s.last == endsCR && len(src) > 1 && src[0] == '\n' && src[1] == '.':
		dst = append(dst, '\n', '.')
		src = src[1:]
	}
	n := len(src)
	before := s.last
	s.last = endsText
	switch {
	case src[n-1] == '\r':
		s.last = endsCR
	case src[n-1] == '\n' && (n > 1 && src[n-2] == '\r' || n == 1 && before == endsCR):
		s.last = endsLine
	}
	// A dot is looked for first: what is large is mostly base64, which has none. Where there
	// is one, some lines are looked at.
	for at := 0; ; {
		i := bytes.IndexByte(src[at:], '.')
		if i < 0 {
			return append(dst, src...)
		}
		from := max(at+i-len(lineDot)+1, 0)
		to := min(from+lookahead, len(src))
		i = bytes.Index(src[from:to], lineDot)
		switch {
		case i >= 0:
			end := from + i + len(lineDot)
			dst = append(append(dst, src[:end]...), '.')
			src, at = src[end:], 0
		case to == len(src):
			return append(dst, src...)
		default:
			at = to // a dot here may end what stands before it
		}
	}
}

// End appends the end of the data, after CRLF if the last line has none, and makes the
// Stuffer ready for another message.
func (s *Stuffer) End(dst []byte) []byte {
	if s.last != endsLine {
		dst = append(dst, '\r', '\n')
	}
	*s = Stuffer{}
	return append(dst, '.', '\r', '\n')
}
