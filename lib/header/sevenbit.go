package header

import (
	"bytes"
	"strings"
)

// wholeLine is how much of a line is looked at as a whole: a boundary is shorter.
const wholeLine = 4 << 10

// SevenBit turns the parts of a message that call themselves 8bit or binary into
// quoted-printable (RFC 6152, section 3; RFC 2045, 6.7), for a server that does not offer
// 8BITMIME. Multiparts, and messages within the message, become 7bit, and what they hold is
// looked at in its turn. Everything else passes as it is, also eight-bit text that calls itself
// nothing, as in Postfix. The zero SevenBit is at the beginning of a message; lines end with
// CRLF, and the content may come in any pieces.
type SevenBit struct {
	scanner Scanner
	held    []byte // of the header: not yet a field; of a body: not yet a line
	inBody  bool
	midline bool // the last piece of the body had no line end
	part    part // being read
	within  []multipart
	quoted  int // bytes of the quoted-printable line so far
}

// part is what the header of one part says.
type part struct {
	media    string // type and subtype in lower case
	boundary string // of a multipart
	eight    bool
}

// multipart is one whose parts are being read.
type multipart struct {
	boundary []byte // with the two hyphens before it
	digest   bool   // its parts are messages if they do not say what they are
}

func (p *part) multipart() bool { return strings.HasPrefix(p.media, "multipart/") }

// message says whether the body is a message, with a header of its own. (One that is
// message/global cannot become 7bit, so it is quoted as a whole.)
func (p *part) message() bool { return p.media == "message/rfc822" }

// Append appends what src, the next piece, becomes to dst; eof says that it is the last one.
func (s *SevenBit) Append(dst, src []byte, eof bool) []byte {
	if len(s.held) > 0 {
		src = append(s.held, src...)
		s.held = nil
	}
	for len(src) > 0 {
		n, was := 0, s.inBody
		if s.inBody {
			dst, n = s.line(dst, src, eof)
		} else {
			dst, n = s.field(dst, src, eof)
		}
		if n == 0 && s.inBody == was && !eof {
			s.held = bytes.Clone(src)
			return dst
		}
		src = src[n:]
	}
	if eof && !s.inBody {
		dst = s.endHeader(dst)
	}
	return dst
}

// field takes one field of a header, or its end.
func (s *SevenBit) field(dst, src []byte, eof bool) ([]byte, int) {
	if string(src) == "\r" && !eof {
		return dst, 0 // half of the empty line
	}
	f, n, st := s.scanner.Next(src, eof)
	rest := src[:n-len(f.Raw)]
	dst = append(dst, rest...) // of a field too long to be looked at
	switch st {
	case Found:
		if f.Is("Content-Transfer-Encoding") && !f.Cut {
			switch strings.ToLower(token(string(f.Text(nil)))) {
			case "8bit", "binary":
				s.part.eight = true
				return dst, n // one that is true comes at the end
			}
		}
		if f.Is("Content-Type") && !f.Cut {
			s.part.media, s.part.boundary = ContentType(string(f.Text(nil)))
		}
		return append(dst, f.Raw...), n
	case End:
		dst = s.endHeader(dst)
		if rest := src[n:]; bytes.HasPrefix(rest, []byte("\r\n")) {
			return append(dst, "\r\n"...), n + 2
		}
	}
	return dst, n
}

// endHeader ends the header of a part.
func (s *SevenBit) endHeader(dst []byte) []byte {
	p := &s.part
	s.scanner = Scanner{}
	if p.eight {
		name := "quoted-printable"
		if p.multipart() || p.message() {
			name = "7bit"
		}
		dst = append(append(append(dst, "Content-Transfer-Encoding: "...), name...), "\r\n"...)
	}
	s.inBody, s.midline, s.quoted = true, false, 0
	switch {
	case p.message():
		s.inBody, s.part = false, part{}
	case p.multipart() && p.boundary != "":
		s.within = append(s.within, multipart{[]byte("--" + p.boundary), p.media == "multipart/digest"})
	}
	return dst
}

// line takes one line of a body, or a piece of a long one.
func (s *SevenBit) line(dst, src []byte, eof bool) ([]byte, int) {
	n := bytes.IndexByte(src, '\n') + 1
	ended := n > 0
	if n == 0 || n > wholeLine {
		if len(src) < wholeLine && !eof {
			return dst, 0
		}
		n, ended = min(len(src), wholeLine), false
	}
	b := src[:n]
	if !s.midline && bytes.HasPrefix(b, []byte("--")) && s.boundary(b) {
		return append(dst, b...), n
	}
	s.midline = !ended
	if !s.part.eight || s.part.multipart() {
		return append(dst, b...), n
	}
	if ended {
		b = bytes.TrimSuffix(b[:n-1], []byte("\r"))
	}
	dst = s.quote(dst, b, ended || eof)
	if ended {
		s.quoted = 0
		dst = append(dst, '\r', '\n')
	}
	return dst, n
}

// boundary says whether a line is the boundary of a multipart that is being read, and goes
// on behind it: with the header of a part, or with the text behind the last one.
func (s *SevenBit) boundary(line []byte) bool {
	for i := len(s.within) - 1; i >= 0; i-- {
		m := s.within[i]
		rest, ok := bytes.CutPrefix(line, m.boundary)
		if !ok {
			continue
		}
		s.within = s.within[:i+1]
		s.midline, s.quoted = false, 0
		if bytes.HasPrefix(rest, []byte("--")) {
			s.within = s.within[:i]
			s.part = part{} // what follows is nobody's
			return true
		}
		s.part, s.inBody = part{}, false
		if m.digest {
			s.part.media = "message/rfc822"
		}
		return true
	}
	return false
}

// softLimit is how long a line of quoted-printable may be before it is broken.
const softLimit = 72

// quote appends text in quoted-printable; end says that the line ends behind it.
func (s *SevenBit) quote(dst, text []byte, end bool) []byte {
	const hex = "0123456789ABCDEF"
	for i, c := range text {
		if s.quoted > softLimit {
			dst = append(dst, "=\r\n"...)
			s.quoted = 0
		}
		last := i == len(text)-1
		if c == '=' || c > 126 || c < ' ' && c != '\t' || last && blank(c) { // white space may be the last of its line
			dst = append(dst, '=', hex[c>>4], hex[c&15])
			s.quoted += 3
			continue
		}
		dst = append(dst, c)
		s.quoted++
	}
	return dst
}
