package smtpd

import (
	"strings"
	"time"

	"postrider/lib/mail"
)

// appendReceived appends the Received: header of a message, in the form that Postfix
// gives it (RFC 5321, section 4.4).
//
// tls is nil for a session in the clear.
func (s *settings) appendReceived(b []byte, env *mail.Envelope, ip6 bool, tls *protection) []byte {
	helo := env.Client.Helo
	if helo == "" {
		helo = env.Client.Name
	}
	b = append(append(b, "Received: from "...), helo...)
	b = append(append(b, " ("...), env.Client.Name...)
	b = append(b, " ["...)
	if ip6 {
		b = append(b, "IPv6:"...)
	}
	b = append(append(b, env.Client.Addr...), "])"...)
	if tls != nil && s.tls.header {
		b = append(append(b, "\r\n\t(using "...), tls.text...)
		if tls.more != "" {
			b = append(append(b, "\r\n\t "...), tls.more...)
		}
		b = append(b, ")\r\n\t(No client certificate requested)"...)
	}
	if env.Client.SASLUser != "" && s.sasl.header {
		b = append(append(b, "\r\n\t(Authenticated sender: "...), comment(env.Client.SASLUser)...)
		b = append(b, ')')
	}
	b = append(b, "\r\n\tby "...)
	b = append(append(b, s.hostname...), " ("...)
	b = append(append(b, s.mailName...), ") with "...)
	if env.UTF8 {
		b = append(b, "UTF8SMTP"...) // RFC 6531, section 4.3
	} else {
		b = append(b, env.Client.Protocol...)
	}
	if env.UTF8 || env.Client.Protocol == "ESMTP" { // RFC 3848
		if tls != nil {
			b = append(b, 'S')
		}
		if env.Client.SASLUser != "" {
			b = append(b, 'A')
		}
	}
	b = append(append(b, " id "...), env.ID...)
	if len(env.Recipients) == 1 {
		b = append(append(b, "\r\n\tfor <"...), env.Recipients[0].Address.External()...)
		b = append(b, ">; "...)
	} else {
		b = append(b, ";\r\n\t"...)
	}
	return append(appendDate(b, env.Arrival), "\r\n"...)
}

// comment makes text fit to stand in a comment of a header.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune("()\\", r) {
			return '?'
		}
		return r
	}, s)
}

// appendDate appends the date as Postfix writes it in headers.
func appendDate(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, "Mon, _2 Jan 2006 15:04:05 -0700 (MST)")
}
