package cleanup

import (
	"bytes"
	"strings"

	"postrider/lib/header"
)

// parts looks at a body line by line: at the headers of its MIME parts (mime_header_checks),
// at those of messages in it (nested_header_checks), and at the lines of each part
// (body_checks). It follows what the boundaries say (RFC 2046), as Postfix's mime_state.c:
// with little memory, and without undoing any encoding.
type parts struct {
	m    *message
	c    *checks
	line []byte // the beginning of a line whose end has not come
	long bool   // in the rest of a line that was too long to be looked at
	out  []byte // what was looked at

	open   []string // boundaries, the outermost first
	state  partState
	field  []byte // of a part's header, so far
	multi  string // the boundary that the header read announces
	nested bool   // it announces a message
	seen   int    // bytes of this part
}

type partState uint8

const (
	inBody partState = iota
	inPart           // the header of a part
	inNested
)

// maxLine is how much of a line is looked at. It is Postfix's default of line_length_limit.
const maxLine = 2048

// maxField bounds a header field of a part.
const maxField = 64 << 10

// newParts begins with the header of the message read: contentType is its Content-Type.
func newParts(m *message, c *checks, contentType string) *parts {
	p := &parts{m: m, c: c}
	p.announce(contentType)
	p.enter()
	return p
}

// announce takes note of a Content-Type.
func (p *parts) announce(value string) {
	kind, boundary := header.ContentType(value)
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		p.multi = boundary[:min(len(boundary), p.c.boundaries)]
	case kind == "message/rfc822", kind == "message/global":
		p.nested = true
	}
}

// enter begins what a header has announced.
func (p *parts) enter() {
	switch {
	case p.multi != "" && len(p.open) < p.c.depth:
		p.open = append(p.open, p.multi)
		p.state = inBody
	case p.nested:
		p.state = inNested
	default:
		p.state = inBody
	}
	p.multi, p.nested, p.seen = "", false, 0
}

// write takes a piece of the body and returns what it has become, so far; the result is good
// until the next call.
func (p *parts) write(b []byte) []byte {
	p.out = p.out[:0]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		piece := b
		if i >= 0 {
			piece = b[:i+1]
		}
		b = b[len(piece):]
		switch {
		case p.long:
			p.out = append(p.out, piece...)
			p.long = i < 0
		case i < 0 && p.state == inBody && len(p.line)+len(piece) > maxLine:
			p.text(append(p.line, piece...))
			p.line, p.long = p.line[:0], true
		case i < 0 && len(p.line)+len(piece) > maxField:
			p.flushField()
			p.out = append(append(p.out, p.line...), piece...)
			p.line, p.long = p.line[:0], true
		case i < 0:
			p.line = append(p.line, piece...)
		case len(p.line) > 0:
			p.whole(append(p.line, piece...))
			p.line = p.line[:0]
		default:
			p.whole(piece)
		}
	}
	return p.out
}

// end returns what is left.
func (p *parts) end() []byte {
	p.out = p.out[:0]
	if len(p.line) > 0 {
		p.whole(p.line)
		p.line = nil
	}
	p.flushField()
	return p.out
}

// whole looks at a line.
func (p *parts) whole(line []byte) {
	if at, last := p.delimiter(line); at >= 0 {
		p.flushField()
		p.out = append(p.out, line...)
		p.state, p.seen = inPart, 0
		if p.open = p.open[:at+1]; last {
			p.open, p.state = p.open[:at], inBody
		}
		return
	}
	if p.state == inBody {
		p.text(line)
		return
	}
	text := bytes.TrimRight(line, "\r\n")
	switch {
	case len(text) > 0 && (text[0] == ' ' || text[0] == '\t') && len(p.field) > 0:
		if len(p.field)+len(line) > maxField {
			p.flushField()
			p.out = append(p.out, line...)
			return
		}
		p.field = append(p.field, line...)
	case bytes.IndexByte(text, ':') > 0 && !bytes.ContainsAny(text[:bytes.IndexByte(text, ':')], " \t"):
		p.flushField()
		p.field = append(p.field, line...)
	default: // the header is over
		p.flushField()
		p.enter()
		if len(text) == 0 {
			p.out = append(p.out, line...)
			return
		}
		p.whole(line)
	}
}

// delimiter says which boundary a line is, and whether it is the last of its parts.
func (p *parts) delimiter(line []byte) (at int, last bool) {
	if len(p.open) == 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return -1, false
	}
	for i := len(p.open) - 1; i >= 0; i-- {
		if rest, ok := bytes.CutPrefix(line[2:], []byte(p.open[i])); ok {
			return i, bytes.HasPrefix(rest, []byte("--"))
		}
	}
	return -1, false
}

// flushField looks at a field of a part's header.
func (p *parts) flushField() {
	if len(p.field) == 0 {
		return
	}
	raw := p.field
	p.field = nil
	var s header.Scanner
	f, _, st := s.Next(raw, true)
	if st != header.Found {
		p.out = append(p.out, raw...)
		return
	}
	if f.Is("Content-Type") {
		p.announce(string(f.Text(nil)))
	}
	maps := p.c.mime
	if p.state == inNested && !mimeField(f) {
		maps = p.c.nested
	}
	if len(maps) == 0 || p.m.passed || p.m.err != nil {
		p.out = append(p.out, raw...)
		return
	}
	p.settle(p.m.inspect(maps, "header", logical(raw)), raw)
}

// text looks at a line of a part's text.
func (p *parts) text(line []byte) {
	if len(p.c.body) == 0 || p.m.passed || p.m.err != nil || p.seen >= p.c.bodyLimit {
		p.out = append(p.out, line...)
		return
	}
	p.seen += len(line)
	text := bytes.TrimRight(line, "\r\n")
	p.settle(p.m.inspect(p.c.body, "body", string(text[:min(len(text), maxLine)])), line)
}

// settle puts what becomes of a line or field into the output.
func (p *parts) settle(o outcome, raw []byte) {
	if o.prepend != "" {
		p.out = append(append(p.out, o.prepend...), "\r\n"...)
	}
	switch {
	case o.drop:
	case o.replace != "":
		p.out = append(append(p.out, o.replace...), "\r\n"...)
	default:
		p.out = append(p.out, raw...)
	}
}
