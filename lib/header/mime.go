package header

import "strings"

// ContentType reads the value of a Content-Type field (RFC 2045, section 5.1): the type in lower
// case, and the boundary if there is one. Senders who forget to quote a boundary are understood.
func ContentType(text string) (media, boundary string) {
	media, rest, _ := strings.Cut(text, ";")
	media = strings.ToLower(token(media))
	for {
		i := strings.IndexAny(rest, "=;")
		if i < 0 {
			return media, ""
		}
		name, end := strings.Trim(rest[:i], " \t"), rest[i]
		if rest = rest[i+1:]; end == ';' {
			continue
		}
		var value string
		if quoted, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t"), `"`); ok {
			value, rest = unquote(quoted)
		} else {
			value, rest, _ = strings.Cut(rest, ";")
			value = token(value)
		}
		if strings.EqualFold(name, "boundary") {
			return media, value
		}
	}
}

// token is the text up to a comment.
func token(s string) string {
	s, _, _ = strings.Cut(s, "(")
	return strings.Trim(s, " \t")
}

// unquote ends a quoted string whose opening quote was cut, and returns what is behind it.
func unquote(s string) (text, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '"':
			return b.String(), s[i+1:]
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
