package mail

import (
	"strings"
)

// notifyWords are the values of NOTIFY (RFC 3461, 4.1), in bit order.
var notifyWords = [...]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}

// ParseNotify reads the value of a NOTIFY parameter: NEVER alone, or SUCCESS, FAILURE
// and DELAY with commas between. Case does not matter, and empty words are passed over,
// as in Postfix.
func ParseNotify(s string) (n Notify, ok bool) {
	for word := range strings.SplitSeq(s, ",") {
		if word == "" {
			continue
		}
		bit := Notify(0)
		for i, w := range notifyWords {
			if strings.EqualFold(word, w) {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n == NotifyNever || n != 0 && n&NotifyNever == 0
}

// String is n as the value of a NOTIFY parameter, "" when it has no bit.
func (n Notify) String() string {
	var words []string
	for i, w := range notifyWords {
		if n&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}

// WithoutSuccess is n for those that a recipient is expanded to, when success is reported
// where that is done (RFC 3461, 5.2.7).
func (n Notify) WithoutSuccess() Notify {
	if n == NotifySuccess {
		return NotifyNever
	}
	return n &^ NotifySuccess
}

// AppendXtext appends s as xtext (RFC 3461, 4).
func AppendXtext(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// Unxtext decodes xtext. It is not ok when s is none; then as much as possible is
// decoded.
func Unxtext(s string) (text string, ok bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	ok = true
	for i := 0; i < len(s); i++ {
		if s[i] == '+' {
			if i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
				b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
				i += 2
				continue
			}
			ok = false
		}
		b = append(b, s[i])
	}
	return string(b), ok
}

// unhex reads a digit of xtext, whose letters are in upper case.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// ParseORCPT checks the value of an ORCPT parameter: the type of the address, ";", and
// the address in xtext (RFC 3461, 4.2).
func ParseORCPT(s string) (ok bool) {
	kind, address, found := strings.Cut(s, ";")
	if !found || kind == "" {
		return false
	}
	_, ok = Unxtext(address)
	return ok
}
