package smtp

import (
	"strconv"

	"postrider/lib/mail"
)

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// notifyWords are the values of NOTIFY (RFC 3461, section 4.1), in bit order.
var notifyWords = [...]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}

func appendNotify(b []byte, n mail.Notify) []byte {
	sep := " NOTIFY="
	for i, w := range notifyWords {
		if n&(1<<i) != 0 {
			b = append(append(b, sep...), w...)
			sep = ","
		}
	}
	return b
}

// appendXtext encodes s as RFC 3461, section 4, wants it.
func appendXtext(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
