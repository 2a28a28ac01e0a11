package database

import "strings"

// key is what a table is asked, for the expansions of sqlite_table(5).
type key struct {
	whole, user, domain string
	qualified           bool // has a domain
}

func newKey(text string) key {
	k := key{whole: text, user: text}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		k.user, k.domain, k.qualified = text[:at], text[at+1:], true
	}
	return k
}

// part is what %s, %u, %d or %1 to %9 (the labels of the domain, from the right) stands
// for; false: the key has no such part, and the query is not made.
func (k *key) part(c byte) (string, bool) {
	switch c {
	case 's':
		return k.whole, true
	case 'u':
		return k.user, true
	case 'd':
		return k.domain, k.qualified
	}
	if !k.qualified {
		return "", false
	}
	labels := strings.Split(k.domain, ".")
	n := int(c - '0')
	if n > len(labels) {
		return "", false
	}
	return labels[len(labels)-n], true
}

// expand is result_format: %s, %u and %d are of the result, %S, %U, %D and %1 to %9 of the
// key. false: something that it asks for is not there, and the result is left out.
func expand(format string, result, of *key) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++ // checked when the format was read
		c, from := format[i], result
		switch {
		case c == '%':
			b.WriteByte(c)
			continue
		case c >= 'A' && c <= 'Z':
			c, from = c|0x20, of
		case c >= '1' && c <= '9':
			from = of
		}
		s, ok := from.part(c)
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

// expansion says whether c may follow a %.
func expansion(c byte) bool { return strings.IndexByte("sudSUD123456789", c) >= 0 }
