package smtpd

import (
	"io"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"postrider/lib/mail"
	"postrider/lib/maillog"
)

// transaction is what MAIL begins and DATA, RSET or EHLO end. It is replaced whole, so
// that nothing of one message can reach the next.
type transaction struct {
	env     mail.Envelope
	first   [1]mail.Recipient // room for what most have
	refused int               // recipients
	over    int               // recipients beyond the limit
	line    maillog.Client
}

// transactions is a session as the engine knows it (smtp.Session). What it refuses, it
// says in front.answer: the engine learns only that it failed.
type transactions struct{ f *front }

var errRefused = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 0, 0}, Message: "refused"}

// Reset forgets the transaction.
func (s transactions) Reset() { s.f.tx = nil }

// Logout does nothing: Close of the front does it all.
func (s transactions) Logout() error { return nil }

// Mail begins a transaction.
func (s transactions) Mail(from string, _ *smtp.MailOptions) error {
	f := s.f
	sender, ok := f.mailbox(from)
	if !ok {
		return f.deny(reply{501, "5.1.7", "Bad sender address syntax"})
	}
	tx := &transaction{env: mail.Envelope{
		Sender:  sender,
		Arrival: time.Now(),
		Origin:  mail.FromSMTP,
		Client:  f.client,
		Body:    f.params.body,
		UTF8:    f.params.utf8,
		EnvID:   f.params.envID,
		Ret:     f.params.ret,

		Listener: f.service.line,
		Priority: f.params.priority, HasPriority: f.params.hasPriority,
	}}
	tx.env.Recipients = tx.first[:0]
	f.tx = tx
	return nil
}

// Rcpt adds a recipient, if the client may name it.
func (s transactions) Rcpt(to string, _ *smtp.RcptOptions) error {
	f, tx := s.f, s.f.tx
	if len(tx.env.Recipients) >= f.set.rcptLimit {
		if tx.over++; tx.over > f.set.overshoot {
			f.errors++
		}
		return f.deny(tooManyRecipients)
	}
	rcpt, ok := f.mailbox(to)
	if !ok {
		return f.deny(reply{501, "5.1.3", "Bad recipient address syntax"})
	}
	// RFC 5321, section 4.5.1: postmaster without a domain is taken from everybody.
	postmaster := f.path.bare && strings.EqualFold(string(rcpt), "postmaster")
	if r := f.set.access.recipient(f.addr, f.client.SASLUser, tx.env.Sender, rcpt); r.code != 0 && !postmaster {
		if r.code != 501 {
			f.refuse("RCPT", r, rcpt)
		}
		return f.deny(r)
	}
	r := mail.Recipient{Address: rcpt, Notify: f.rcptParams.notify, ORCPT: f.rcptParams.orcpt}
	if f.path.bare {
		r.Original = rcpt
		r.Address = f.set.access.resolver.Rewrite(rcpt)
	}
	if no := f.full(tx.env.Sender, r.Address); no.code != 0 {
		f.refuse("RCPT", no, rcpt)
		return f.deny(no)
	}
	tx.env.Recipients = append(tx.env.Recipients, r)
	if tx.env.ID == "" {
		tx.env.ID = f.service.server.ids.Next(time.Now())
		tx.line = maillog.Client{Queue: tx.env.ID, Client: f.client}
		f.log.Event(&tx.line)
	}
	return nil
}

// Data receives the content past the engine, which then gets to see a lone dot.
func (s transactions) Data(io.Reader) error {
	r := s.f.content()
	s.f.hand = loneDot
	s.f.tx = nil
	if r.code != 0 && r.code != 250 {
		return s.f.deny(r)
	}
	s.f.answer = r
	return nil
}

var loneDot = []byte(".\r\n")

func (f *front) deny(r reply) error {
	f.answer = r
	return errRefused
}

// maxAddress is 64 bytes before the "@" and 255 behind it (RFC 5321, 4.5.3.1). The two are
// not told apart, since real senders (VERP) have longer local parts and short domains.
const maxAddress = 64 + 1 + 255

// mailbox checks what the engine has made of a path. A bare one is completed as sender,
// and left to the resolver as recipient.
func (f *front) mailbox(s string) (mail.Address, bool) {
	if len(s) > maxAddress {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return "", false
		}
	}
	if f.path.bare {
		s = strings.TrimSuffix(s, bareDomain)
		if f.verb == mailFrom {
			return f.set.access.resolver.Rewrite(mail.Address(s)), true
		}
		return mail.Address(s), true
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 && !validDomain(s[at+1:]) {
		return "", false
	}
	return mail.Address(s), true
}

// validDomain says whether s could be a domain or a literal: what is forbidden in
// both, or too long (RFC 5321, 4.5.3.1.2), is not. Whether mail can go there is another matter.
func validDomain(s string) bool {
	if s == "" || len(s) > 255 || strings.Contains(strings.TrimSuffix(s, "."), "..") || s[0] == '.' {
		return false
	}
	return !strings.ContainsAny(s, " \t\"(),:;<>@\\") || s[0] == '[' && s[len(s)-1] == ']' && !strings.ContainsAny(s, " \t\"(),;<>@\\")
}
