package bounce

import (
	"io"
	"strings"
	"unicode/utf8"

	"postrider/lib/mail"
)

const (
	indent = "    "
	// longest bounds a line (RFC 5322, 2.1.1, says 998).
	longest = 900
	// block is how much is gathered before it is written, in bytes.
	block = 8 << 10
)

// lines writes text line by line and keeps the first error.
type lines struct {
	w    io.Writer
	utf8 bool // what is UTF-8 may pass; else everything above 127 is shown as "?"
	b    []byte
	err  error
}

// line writes a line of our own.
func (l *lines) line(s string) {
	l.b = append(append(l.b, s...), '\r', '\n')
	if len(l.b) >= block {
		l.flush()
	}
}

func (l *lines) flush() error {
	if l.err == nil && len(l.b) > 0 {
		_, l.err = l.w.Write(l.b)
	}
	l.b = l.b[:0]
	return l.err
}

// field writes a field whose value may come from outside, in one line if that can be.
func (l *lines) field(name, value string) { l.wrap(name+": "+value, longest) }

// text writes a field that is meant to be read.
func (l *lines) text(name, value string) { l.wrap(name+": "+value, 79) }

// address is an address of RFC 3464, with its type.
func (l *lines) address(a mail.Address) string {
	if l.utf8 && strings.IndexFunc(string(a), func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return "utf-8; " + a.External()
	}
	return "rfc822; " + a.External()
}

// wrap writes text in lines of at most width bytes, the second and later ones
// indented: broken at blanks, and where there is none for longest bytes, anywhere. No
// text begins a line but its first, so none can pass for a field or a boundary.
func (l *lines) wrap(text string, width int) {
	text = strings.Trim(l.clean(text), " ")
	lead := ""
	for {
		room := width - len(lead)
		if len(text) <= room {
			break
		}
		at := strings.LastIndexByte(text[:room+1], ' ')
		if at <= 0 {
			if at = strings.IndexByte(text, ' '); at < 0 || at > longest {
				at = min(len(text), longest)
				for at < len(text) && !utf8.RuneStart(text[at]) {
					at--
				}
			}
		}
		l.line(lead + strings.TrimRight(text[:at], " "))
		text, lead = strings.TrimLeft(text[at:], " "), indent
		if text == "" {
			return
		}
	}
	l.line(lead + text)
}

// clean makes one printable line of what may come from a peer.
func (l *lines) clean(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\r', c == '\n', c == '\t':
			c = ' '
		case c < ' ', c == 0x7f, c >= utf8.RuneSelf && !l.utf8:
			c = '?'
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError || r < 0xa0 || r == 0x2028 || r == 0x2029 {
				b.WriteByte('?')
			} else {
				b.WriteString(s[i : i+n])
			}
			i += n
			continue
		}
		b.WriteByte(c)
		i++
	}
	return b.String()
}
