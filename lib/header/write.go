package header

import (
	"mime"
	"strings"
	"time"

	"postrider/lib/mail"
)

const (
	foldAt  = 76  // fields are folded to lines of about this length, in bytes
	maxLine = 998 // RFC 5322, 2.1.1: no line is longer
)

// AppendField appends one field with its line end, folded at white space. Control
// characters in value, line ends among them, become spaces: no value can add a
// second field.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ':', ' ')
	col := len(name) + 2
	for value = strings.Trim(value, " \t\r\n"); value != ""; {
		n := 1 // a word and the white space before it
		for n < len(value) && !white(value[n]) {
			n++
		}
		if white(value[0]) && n == 1 {
			value = value[1:] // of several only the last stays
			continue
		}
		if col+n > foldAt && col > len(name)+2 && white(value[0]) {
			dst, col = append(dst, '\r', '\n'), 0
		}
		for ; n > 0; n-- {
			if col >= maxLine {
				dst, col = append(dst, '\r', '\n', ' '), 1
			}
			c := value[0]
			if white(c) {
				c = ' '
			}
			dst = append(dst, c)
			value, col = value[1:], col+1
		}
	}
	return append(dst, '\r', '\n')
}

func white(c byte) bool { return c <= ' ' || c == 0x7f }

// Mailbox formats "Full Name <address>" for a From field. A name that is no run of
// atoms is quoted; one beyond ASCII is encoded (RFC 2047).
func Mailbox(name string, addr mail.Address) string {
	name = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(name, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if name == "" {
		return addr.External()
	}
	if q := mime.QEncoding.Encode("utf-8", name); q != name {
		return q + " <" + addr.External() + ">"
	}
	if strings.ContainsAny(name, `()<>[]:;@\,."`) {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + addr.External() + ">"
}

// Date formats a time for Date and Received fields (RFC 5322, 3.3).
func Date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700 (MST)") }
