package address

import (
	"strings"

	"postrider/lib/mail"
)

// Verdict is what the targets error:, retry: and discard: make of a recipient
// without any delivery; command is that of the transport's line in master.cf
// ("error" and "discard" are Postfix's programs), transport its name. ok is
// false for a transport that delivers.
//
// The next hop of error: and retry: is "[x.y.z ]text". error: bounces, unless
// the code begins with 4; retry: defers in any case. discard: counts as sent.
func Verdict(transport, command, nexthop string) (s mail.Status, ok bool) {
	switch {
	case transport == "retry", command == "retry":
		s = mail.Status{Class: mail.Deferred, DSN: "4.0.0"}
	case transport == "error", command == "error":
		s = mail.Status{Class: mail.Bounced, DSN: "5.0.0"}
	case transport == "discard", command == "discard":
		return mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: nexthop}, true
	default:
		return s, false
	}
	s.Text = nexthop
	code, text, _ := strings.Cut(nexthop, " ")
	if !enhanced(code) {
		return s, true
	}
	s.Text = strings.TrimSpace(text)
	switch {
	case code[0] == s.DSN[0]:
		s.DSN = code
	case code[0] == '4':
		s.Class, s.DSN = mail.Deferred, code
	}
	return s, true
}

// enhanced says whether s is a status code of RFC 3463 that tells of trouble.
func enhanced(s string) bool {
	class, rest, _ := strings.Cut(s, ".")
	subject, detail, ok := strings.Cut(rest, ".")
	return ok && (class == "4" || class == "5") && threeDigits(subject) && threeDigits(detail)
}

func threeDigits(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}
