package wire

import (
	"bytes"
	"errors"
	"strings"
)

// ErrReply is the kind of error for a peer's answer that is no SMTP reply.
var ErrReply = errors.New("wire: malformed reply")

// Caps on a peer's reply.
const (
	maxReplyLine  = 2000     // what is longer is cut
	maxReplyText  = 16 << 10 // what comes behind that is dropped
	maxReplyLines = 1000     // more is ErrReply
)

// AppendReply appends a reply in its form on the wire. dsn is the enhanced status code
// (RFC 2034) or "". Line feeds in text divide it into the lines of a multi-line reply;
// other control characters become "?", so that no text of a peer can forge a line.
func AppendReply(b []byte, code int, dsn, text string) []byte {
	for {
		line, rest, more := strings.Cut(text, "\n")
		b = append(b, byte('0'+code/100%10), byte('0'+code/10%10), byte('0'+code%10))
		switch {
		case more:
			b = append(b, '-')
		default:
			b = append(b, ' ')
		}
		if dsn != "" {
			b = append(append(b, dsn...), ' ')
		}
		n := len(b)
		b = append(b, line...)
		printable(b[n:])
		b = append(b, '\r', '\n')
		if !more {
			return b
		}
		text = rest
	}
}

// Reply is what a server answered. The zero value can be read into, again and again.
type Reply struct {
	Code int

	text []byte // the lines without their codes, LF between them
	last int    // where the last line begins
}

// ReadReply reads one reply of one or many lines into rep. What exceeds the caps on
// text is dropped. Lines with different codes, codes outside 200 to 599 and anything
// else that is no reply are ErrReply, after which the connection is of no use.
func (r *Reader) ReadReply(rep *Reply) error {
	rep.Code, rep.text, rep.last = 0, rep.text[:0], 0
	for i := range maxReplyLines {
		line, _, err := r.line(maxReplyLine)
		if err != nil {
			return err
		}
		if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
			return ErrReply
		}
		code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
		if rep.Code != 0 && code != rep.Code {
			return ErrReply
		}
		rep.Code = code
		more := false
		if line = line[3:]; len(line) > 0 {
			if more = line[0] == '-'; !more && line[0] != ' ' {
				return ErrReply
			}
			line = line[1:]
		}
		printable(line)
		if room := maxReplyText - len(rep.text); !more || room > 0 {
			if i > 0 {
				rep.text = append(rep.text, '\n')
			}
			rep.last = len(rep.text)
			rep.text = append(rep.text, line[:min(len(line), max(room, 512))]...)
		}
		if !more {
			return nil
		}
	}
	return ErrReply
}

// Text returns the lines without their codes, LF between them. Control characters in it
// have become "?".
func (rep *Reply) Text() string { return string(rep.text) }

// Bytes is Text without a copy, valid until the Reply is read into again.
func (rep *Reply) Bytes() []byte { return rep.text }

// String returns the reply as the log has it: code and text, its lines joined by a blank.
func (rep *Reply) String() string {
	var b strings.Builder
	b.Grow(4 + len(rep.text))
	b.Write([]byte{byte('0' + rep.Code/100%10), byte('0' + rep.Code/10%10), byte('0' + rep.Code%10)})
	for i, line := 0, []byte(nil); i < len(rep.text); i += len(line) + 1 {
		line, _, _ = bytes.Cut(rep.text[i:], []byte{'\n'})
		b.WriteByte(' ')
		b.Write(line)
	}
	return b.String()
}

// DSN returns the enhanced status code that the last line starts with (RFC 2034), if it
// is of the same class as the code, or "".
func (rep *Reply) DSN() string {
	t := rep.text[rep.last:]
	n := 0
	for dots := 0; n < len(t) && n < 9 && (digit(t[n]) || t[n] == '.'); n++ {
		if t[n] == '.' {
			dots++
			if dots > 2 || n == 0 || t[n-1] == '.' {
				return ""
			}
		}
	}
	// class "." subject "." detail, of one, up to three and up to three digits
	s := "2.0.0" // of nearly all
	if string(t[:n]) != s {
		s = string(t[:n])
	}
	class, rest, _ := strings.Cut(s, ".")
	subject, detail, ok := strings.Cut(rest, ".")
	if !ok || len(class) != 1 || len(subject) > 3 || detail == "" || len(detail) > 3 ||
		int(class[0]-'0') != rep.Code/100 || n < len(t) && t[n] != ' ' {
		return ""
	}
	return s
}

// printable replaces control characters.
func printable(b []byte) {
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
