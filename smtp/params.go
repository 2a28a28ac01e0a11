package smtp

import (
	"strconv"

	"postrider/lib/mail"
)

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendNotify appends NOTIFY, when the sender gave one.
func appendNotify(b []byte, n mail.Notify) []byte {
	if n == 0 {
		return b
	}
	return append(append(b, " NOTIFY="...), n.String()...)
}
