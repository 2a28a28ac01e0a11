package cleanup

import (
	"context"
	"errors"

	"postrider/lib/address"
	"postrider/lib/mail"
)

// readdress puts other addresses in the place of those of the envelope: canonical ones,
// those that a virtual alias stands for, and who gets a copy. It is done before the
// message is durable: what the tables cannot say now is refused with 451, and nothing is
// half expanded.
func (m *message) readdress() {
	list, err := m.expand(context.Background(), m.set.mapper)
	if err != nil {
		m.unmapped(err)
		return
	}
	m.env.Recipients = list
}

// redirect sends the message to one address in the place of all its recipients (REDIRECT);
// that one is not looked up as an alias.
func (m *message) redirect() {
	to := mail.Recipient{Address: m.set.rewrite(m.env.Redirect)}
	if first := m.env.Recipients[0]; first.Original != "" {
		to.Original = first.Original
	} else {
		to.Original = first.Address
	}
	m.env.Recipients, m.env.Redirect = []mail.Recipient{to}, ""
}

// unmapped refuses the message for what a table could not say.
func (m *message) unmapped(err error) {
	switch {
	case errors.Is(err, address.ErrExpansion):
		m.s.log.Warnf("%s: %v -- message not accepted, try again later", m.env.ID, err)
		m.refuse(&refusal{code: 451, dsn: "4.6.0", text: "Alias expansion error"})
	default:
		m.s.log.Warnf("%s: %v -- message not accepted, try again later", m.env.ID, err)
		m.refuse(&refusal{code: 451, dsn: "4.3.0", text: "Error: queue file write error"})
	}
}

// expand rewrites the sender and returns the recipients.
func (m *message) expand(ctx context.Context, mapper *address.Mapper) ([]mail.Recipient, error) {
	var err error
	if m.env.Sender, err = mapper.Canonical(ctx, m.env.Sender, address.EnvelopeSender); err != nil {
		return nil, err
	}
	to := m.env.Recipients
	for i := range to {
		r := &to[i]
		if r.Member != 0 {
			continue // local finds it by this address
		}
		a, err := mapper.Canonical(ctx, r.Address, address.EnvelopeRecipient)
		if err != nil {
			return nil, err
		}
		if a != r.Address && r.Original == "" {
			r.Original = r.Address
		}
		r.Address = a
	}
	if m.copied() {
		copies, err := mapper.Copies(ctx, m.env.Sender, to)
		if err != nil {
			return nil, err
		}
		for _, a := range copies {
			to = append(to, mail.Recipient{Address: a, Notify: mail.NotifyNever})
		}
	}
	var list []mail.Recipient
	for i := range to {
		if to[i].Member != 0 {
			list = append(list, to[i])
			continue
		}
		all, err := mapper.Virtual(ctx, to[i].Address)
		if err != nil {
			return nil, err
		}
		several := len(all) > 1 && to[i].Notify&mail.NotifySuccess != 0 && m.env.Sender != "" && m.env.Trace != mail.TraceVerify
		if several {
			r := to[i]
			r.Notify, r.Member = mail.NotifySuccess, mail.MemberExpanded
			list = append(list, r)
		}
		for _, a := range all {
			r := to[i]
			if several { // RFC 3461, 5.2.7.3: the report says that the alias was expanded
				r.Notify = r.Notify.WithoutSuccess()
			}
			if a != r.Address {
				if r.Original == "" {
					r.Original = r.Address
				}
				r.Address = a
			}
			list = append(list, r)
		}
	}
	return list, nil
}

// copied says whether always_bcc and its like hold for the message: not for what the mail
// system wrote itself or sends on, nor for what had its copies when it came first.
func (m *message) copied() bool {
	from := m.env.Origin
	return m.env.Trace != mail.TraceVerify && (from == mail.FromSMTP || from == mail.FromMaildrop) && m.env.Replaces.ID == ""
}
