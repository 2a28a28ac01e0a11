package mail

import "strings"

// Address is a mailbox in internal form: the local part without quotes or
// escapes, then "@" and the domain. The last "@" divides the two, since an
// unquoted local part may itself hold one. The empty Address is the null
// sender (RFC 5321, section 4.5.5).
type Address string

// Local returns what stands before the last "@", or the whole address when it
// has no domain.
func (a Address) Local() string {
	if i := strings.LastIndexByte(string(a), '@'); i >= 0 {
		return string(a[:i])
	}
	return string(a)
}

// Domain returns what stands behind the last "@", as written, or "".
func (a Address) Domain() string {
	if i := strings.LastIndexByte(string(a), '@'); i >= 0 {
		return string(a[i+1:])
	}
	return ""
}

// Fold returns the address with its domain in lower case, for use as a key.
func (a Address) Fold() Address {
	i := strings.LastIndexByte(string(a), '@')
	if i < 0 {
		return a
	}
	d := strings.ToLower(string(a[i+1:]))
	if d == string(a[i+1:]) {
		return a
	}
	return a[:i+1] + Address(d)
}

// External returns the address as RFC 5321 writes it: a local part that is no
// dot-string is quoted. It never holds a line break or another control
// character: those are dropped, so that no caller can smuggle a line.
func (a Address) External() string {
	local, domain, at := string(a), "", false
	if i := strings.LastIndexByte(local, '@'); i >= 0 {
		local, domain, at = local[:i], local[i+1:], true
	}
	if dotString(local) && clean(domain) {
		return string(a)
	}
	var b strings.Builder
	if dotString(local) {
		b.WriteString(local)
	} else {
		b.WriteByte('"')
		for i := 0; i < len(local); i++ {
			c := local[i]
			if c < ' ' || c == 0x7f {
				continue
			}
			if c == '"' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
		b.WriteByte('"')
	}
	if at {
		b.WriteByte('@')
		for i := 0; i < len(domain); i++ {
			if c := domain[i]; c > ' ' && c != 0x7f {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}

// dotString says whether s is a Dot-string of RFC 5321, section 4.1.2, with
// the octets above 127 of RFC 6531 allowed. The empty string counts as one
// only as the null address.
func dotString(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !atext(c) && c != '.' {
			return false
		}
	}
	return true
}

func atext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
