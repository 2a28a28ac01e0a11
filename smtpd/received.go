package smtpd

import (
	"time"

	"postrider/lib/mail"
)

// appendReceived appends the Received: header of a message, in the form that Postfix
// gives it (RFC 5321, section 4.4).
func appendReceived(b []byte, env *mail.Envelope, ip6 bool, hostname, mailName string) []byte {
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
	b = append(append(b, env.Client.Addr...), "])\r\n\tby "...)
	b = append(append(b, hostname...), " ("...)
	b = append(append(b, mailName...), ") with "...)
	if env.UTF8 {
		b = append(b, "UTF8SMTP"...) // RFC 6531, section 4.3
	} else {
		b = append(b, env.Client.Protocol...)
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

// appendDate appends the date as Postfix writes it in headers.
func appendDate(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, "Mon, _2 Jan 2006 15:04:05 -0700 (MST)")
}
