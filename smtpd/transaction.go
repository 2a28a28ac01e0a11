package smtpd

import (
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/maillog"
)

// transaction is what MAIL begins and DATA, RSET or EHLO end. It is replaced whole, so
// that nothing of one message can reach the next.
type transaction struct {
	env      mail.Envelope
	first    [1]mail.Recipient // room for what most have
	refused  int               // recipients
	over     int               // recipients beyond the limit
	ifPermit reply             // what RCPT hears in the place of a permission
	line     maillog.Client
}

// beginMail begins a transaction.
func (f *front) beginMail(p path) reply {
	sender, ok := f.mailbox(p)
	if !ok {
		return reply{501, "5.1.7", "Bad sender address syntax"}
	}
	if p.bare {
		sender = f.set.access.resolver.Rewrite(sender)
	}
	tx := &transaction{env: mail.Envelope{
		Sender:  sender,
		Arrival: time.Now(),
		Origin:  mail.FromSMTP,
		Client:  f.client,
		Body:    f.params.body,
		UTF8:    f.params.utf8,
		EnvID:   f.params.envID,
		VERP:    f.params.verp,
		Ret:     f.params.ret,

		Filter:   f.set.filter,
		Listener: f.service.line,
		Priority: f.params.priority, HasPriority: f.params.hasPriority,
	}}
	tx.env.Recipients = tx.first[:0]
	tx.ifPermit = f.ifPermit
	f.notice = f.notice || f.chat != nil && f.set.notices.IsNotice(sender)
	f.tx = tx
	if !f.set.access.delay {
		c := f.check("MAIL")
		if c.mail() == refused {
			f.tx = nil
			return c.answer
		}
		tx.ifPermit = c.ifPermit
	}
	return reply{250, "2.1.0", "Ok"}
}

// endTransaction forgets the transaction, and what was to become of its message.
func (f *front) endTransaction() {
	f.tx = nil
	if f.acts.any() {
		f.acts = acts{}
	}
}

// addRecipient adds a recipient, if the client may name it.
func (f *front) addRecipient(p path) reply {
	tx := f.tx
	if len(tx.env.Recipients) >= f.set.rcptLimit {
		if tx.over++; tx.over > f.set.overshoot {
			f.errors++
		}
		return tooManyRecipients
	}
	rcpt, ok := f.mailbox(p)
	if !ok {
		return reply{501, "5.1.3", "Bad recipient address syntax"}
	}
	// RFC 5321, section 4.5.1: postmaster without a domain is taken from everybody.
	postmaster := p.bare && strings.EqualFold(string(rcpt), "postmaster")
	if !postmaster {
		c := f.check("RCPT")
		c.rcpt, c.named = rcpt, true
		if r := f.judgeRecipient(c); r.code != 0 {
			return r
		}
	}
	r := mail.Recipient{Address: rcpt, Notify: f.rcptParams.notify, ORCPT: f.rcptParams.orcpt}
	if p.bare {
		r.Original = rcpt
		r.Address = f.set.access.resolver.Rewrite(rcpt)
	}
	if no := f.full(tx.env.Sender, r.Address); no.code != 0 {
		f.refuse("RCPT", no, rcpt)
		return no
	}
	tx.env.Recipients = append(tx.env.Recipients, r)
	if tx.env.ID == "" {
		tx.env.ID = f.service.server.ids.Next(time.Now())
		tx.line = maillog.Client{Queue: tx.env.ID, Client: f.client}
		f.log.Event(&tx.line)
	}
	return reply{250, "2.1.5", "Ok"}
}

// maxAddress is 64 bytes before the "@" and 255 behind it (RFC 5321, 4.5.3.1). The two are
// not told apart, since real senders (VERP) have longer local parts and short domains.
const maxAddress = 64 + 1 + 255

// mailbox returns the address of a path, if there can be such a one.
func (f *front) mailbox(p path) (mail.Address, bool) {
	s, ok := p.mailbox()
	if !ok || len(s) > maxAddress {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return "", false
		}
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 && !p.bare && !validDomain(s[at+1:]) {
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
