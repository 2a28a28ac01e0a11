package cleanup

import (
	"context"
	"slices"

	"postrider/lib/address"
	"postrider/lib/header"
	"postrider/lib/mail"
)

// edit replaces n bytes of the header at a place in message.buf. Edits are collected and
// made all at once: a header of thousands of fields costs no more for it.
type edit struct {
	at, n int
	text  []byte
}

// senders and recipients are the fields whose addresses are written anew, by length of
// their names so that most fields cost a look (Postfix's header_opts).
var (
	senders    = byLength("From", "Sender", "Reply-To", "Errors-To", "Return-Receipt-To", "Disposition-Notification-To", "Mail-Followup-To", "Resent-From", "Resent-Sender")
	recipients = byLength("To", "Cc", "Bcc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Reply-To")
)

func byLength(names ...string) (t [32][]string) {
	for _, n := range names {
		t[len(n)] = append(t[len(n)], n)
	}
	return t
}

// place says what kind of addresses a field holds, 0 for none.
func place(f header.Field) address.Where {
	n := len(f.Name())
	switch {
	case n >= len(senders):
	case slices.ContainsFunc(senders[n], f.Is):
		return address.HeaderSender
	case slices.ContainsFunc(recipients[n], f.Is):
		return address.HeaderRecipient
	}
	return 0
}

// field makes the edits that one field needs; it ends where m.scanned is. Fields of
// message_drop_headers go, whoever wrote them: Bcc is nobody's business. Addresses are
// completed and looked up for mail of this machine, or of clients that
// local_header_rewrite_clients or remote_header_rewrite_domain speak of. One over the
// limits stays as it is.
func (m *message) field(f header.Field) {
	at := m.scanned - len(f.Raw)
	if slices.ContainsFunc(m.set.drop, f.Is) {
		m.edits = append(m.edits, edit{at: at, n: len(f.Raw)})
		m.dropping = f.Cut
		return
	}
	if m.rewrite == nil || f.Cut {
		return
	}
	where := place(f)
	if where == 0 {
		return
	}
	value := f.Value()
	if m.list.Read(value, m.set.tokenLimit) != nil {
		return
	}
	defer m.list.Forget()
	mapper := m.set.mapper
	if mapper != nil && !mapper.Changes(where) {
		mapper = nil
	}
	var with map[int]mail.Address
	for i := range m.list.Len() {
		word := m.list.Address(i)
		if mapper == nil && address.Complete(word) {
			continue
		}
		was := mail.Address(word)
		a := m.rewrite(was)
		if mapper != nil {
			var err error
			if a, err = mapper.Canonical(context.Background(), a, where); err != nil {
				m.unmapped(err)
				return
			}
		}
		if a != was {
			if with == nil {
				with = map[int]mail.Address{}
			}
			with[i] = a
		}
	}
	if with != nil {
		m.edits = append(m.edits, edit{at: at + f.ValueAt(), n: len(value), text: m.list.Replace(nil, with)})
	}
}

// rest drops what is left of a dropped field that was over header_size_limit: the n bytes
// at m.scanned.
func (m *message) rest(n int) {
	if m.dropping && n > 0 {
		m.edits = append(m.edits, edit{at: m.scanned, n: n})
	}
}

// apply makes the edits; all lie before m.scanned.
func (m *message) apply() {
	if len(m.edits) == 0 {
		return
	}
	grown := 0
	for _, e := range m.edits {
		grown += len(e.text) - e.n
	}
	out := make([]byte, 0, max(cap(m.buf), len(m.buf)+grown))
	done := 0
	for _, e := range m.edits {
		out = append(append(out, m.buf[done:e.at]...), e.text...)
		done = e.at + e.n
	}
	m.buf = append(out, m.buf[done:]...)
	m.scanned += grown
	clear(m.edits)
	m.edits = m.edits[:0]
}
