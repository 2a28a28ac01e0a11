package smtp

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"postrider/lib/mail"
	"postrider/lib/wire"
)

// stage is where in a session something went wrong.
type stage uint8

const (
	greeting stage = iota
	ehlo
	helo
	lhlo
	startTLS
	auth
	mailFrom
	rcptTo
	data
	body
	endOfData
	rset
)

// doing are Postfix's words behind "while".
var doing = [...]string{
	greeting:  "receiving the initial server greeting",
	ehlo:      "performing the EHLO handshake",
	helo:      "performing the HELO handshake",
	lhlo:      "performing the LHLO handshake",
	startTLS:  "receiving the STARTTLS response",
	auth:      "performing the SASL authentication",
	mailFrom:  "sending MAIL FROM",
	rcptTo:    "sending RCPT TO",
	data:      "sending DATA command",
	body:      "sending message body",
	endOfData: "sending end of data -- message may be sent more than once",
	rset:      "sending final RSET",
}

// inReplyTo are Postfix's words for a command that got a refusal.
var inReplyTo = [...]string{
	mailFrom:  "MAIL FROM command",
	rcptTo:    "RCPT TO command",
	data:      "DATA command",
	endOfData: "end of DATA command",
}

// maxText bounds what a peer's reply takes in a status.
const maxText = 2000

// broken is the status for a session that ended in err.
func (s *session) broken(at stage, err error) mail.Status {
	s.fell = s.tls && at < endOfData && !s.pastDot.Load()
	st := mail.Status{Class: mail.Deferred, DSN: "4.4.2"}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		st.Text = "conversation with " + s.name + " timed out while " + doing[at]
	case errors.Is(err, wire.ErrReply), errors.Is(err, wire.ErrFlood), errors.Is(err, errStep):
		s.fell = false
		st.DSN = "4.5.0"
		st.Text = "protocol error in reply of " + s.name + " while " + doing[at]
	default:
		st.Text = "lost connection with " + s.name + " while " + doing[at]
	}
	return st
}

// refused is the status for the reply in s.reply, which did not accept a command.
func (s *session) refused(at stage) mail.Status {
	st := s.refusal()
	st.Text = "host " + s.name + " said: " + st.Diag + " (in reply to " + inReplyTo[at] + ")"
	return st
}

// unwilling is the status for a server that refused the session.
func (s *session) unwilling() mail.Status {
	st := s.refusal()
	st.Text = "host " + s.name + " refused to talk to me: " + st.Diag
	return st
}

// refusal is the status of s.reply where it does not accept. A code that is neither
// 4xx nor 5xx is out of step: temporary, and never taken for a success.
func (s *session) refusal() mail.Status {
	st := s.replyStatus()
	if c := s.reply.Code / 100; c != 4 && c != 5 {
		st.Class, st.DSN = mail.Deferred, "4.5.0"
	}
	return st
}

// replyStatus is the status of s.reply with the reply itself as text.
func (s *session) replyStatus() mail.Status {
	text := s.reply.String()
	if len(text) > maxText {
		text = text[:maxText]
	}
	st := mail.Status{DSN: s.reply.DSN(), RemoteMTA: s.host, Diag: text, Text: text}
	switch s.reply.Code / 100 {
	case 2:
		st.Class = mail.Sent
	case 5:
		st.Class = mail.Bounced
	}
	if st.DSN == "" {
		st.DSN = strconv.Itoa(s.reply.Code/100) + ".0.0"
	}
	return st
}

// soften turns a refusal into a temporary one.
func soften(st mail.Status) mail.Status {
	st.Class = mail.Deferred
	if st.DSN != "" && st.DSN[0] != '4' {
		st.DSN = "4" + st.DSN[1:]
	}
	return st
}

// unreachable is the status for a connection that did not come about.
func unreachable(t target, err error) mail.Status {
	return mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to " + t.relay() + ": " + systemText(err)}
}

// systemText is what strerror says of the cause.
func systemText(err error) string {
	var no syscall.Errno
	var ne net.Error
	switch {
	case errors.As(err, &no):
		switch no {
		case syscall.ETIMEDOUT:
			return "Connection timed out"
		case syscall.EADDRNOTAVAIL:
			return "Cannot assign requested address"
		}
		text := no.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	case errors.Is(err, context.Canceled):
		return "Interrupted system call"
	case errors.As(err, &ne) && ne.Timeout():
		return "Connection timed out"
	}
	return err.Error()
}
