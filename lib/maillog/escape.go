package maillog

import "unicode/utf8"

// maxText bounds the text of a line, in bytes: syslog daemons take about 8 KiB
// for a whole record.
const maxText = 7 << 10

// appendPrintable appends s with every control character and every byte that is
// no UTF-8 shown as "?", as Postfix does it.
func appendPrintable(b []byte, s string) []byte {
	plain := 0
	for plain < len(s) && s[plain]-' ' < 0x7f-' ' {
		plain++
	}
	b = append(b, s[:plain]...)
	for i := plain; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 || r < 0xa0 || r == 0x2028 || r == 0x2029 {
			b = append(b, '?')
		} else {
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}

// clip cuts what stands in b from "from" on to at most max bytes, at the border
// of a character.
func clip(b []byte, from, max int) []byte {
	end := from + max
	if len(b) <= end {
		return b
	}
	for end > from && !utf8.RuneStart(b[end]) {
		end--
	}
	return append(b[:end], "..."...)
}

// appendQuoted appends s as a JSON string. Bytes that are no UTF-8 become
// U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c == '\n':
				b = append(b, '\\', 'n')
			case c == '\r':
				b = append(b, '\\', 'r')
			case c == '\t':
				b = append(b, '\\', 't')
			case c < ' ' || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			b = append(b, `\ufffd`...)
		case r < 0xa0:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r == 0x2028:
			b = append(b, `\u2028`...)
		case r == 0x2029:
			b = append(b, `\u2029`...)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
