package cleanup

import (
	"context"

	"postrider/lib/address"
	"postrider/lib/header"
	"postrider/lib/mail"
)

// missing returns what is to be inserted where the header ends: for local mail, and
// with always_add_missing_headers, the fields that a message must have, with
// "Resent-" before the names when it was sent on by hand; and the empty line when
// text follows that is no header.
func (m *message) missing() []byte {
	var b []byte
	if at := m.scanned; at > 0 && m.buf[at-1] != '\n' {
		b = append(b, '\r', '\n')
	}
	none := len(b)
	if m.rewrite != nil || m.set.addMissing {
		b = m.missingFields(b)
	}
	rest := m.buf[m.scanned:]
	switch {
	case len(rest) > 0 && rest[0] != '\r' && rest[0] != '\n':
		b = append(b, '\r', '\n')
	case len(b) == none:
		return nil
	}
	return b
}

func (m *message) missingFields(b []byte) []byte {
	prefix, hasID, hasDate, hasFrom := "", m.sum.HasMessageID, m.sum.HasDate, m.sum.HasFrom
	if m.sum.Resent {
		prefix, hasID, hasDate, hasFrom = "Resent-", m.sum.HasResentMessageID, m.sum.HasResentDate, m.sum.HasResentFrom
	}
	now := m.s.now()
	if !hasID {
		id := "<" + now.UTC().Format("20060102150405") + "." + string(m.env.ID) + "@" + m.set.myhostname + ">"
		if !m.sum.Resent {
			m.sum.MessageID = id
		}
		b = header.AppendField(b, prefix+"Message-Id", id)
	}
	if !hasDate {
		b = header.AppendField(b, prefix+"Date", header.Date(now))
	}
	if !hasFrom {
		from, name := m.env.Sender, m.fullName
		if from != "" && m.set.mapper != nil {
			var err error
			if from, err = m.set.mapper.Canonical(context.Background(), from, address.EnvelopeSender); err != nil {
				m.unmapped(err)
			}
		}
		if from == "" {
			from, name = m.set.rewrite("MAILER-DAEMON"), "Mail Delivery System"
		}
		b = header.AppendField(b, prefix+"From", header.Mailbox(name, from))
	}
	return b
}

// smallList is how many recipients are compared one by one.
const smallList = 16

// unique drops recipients that are there already: the same address, original
// address and wishes for reports. Numbers are places in what is left.
func unique(list []mail.Recipient) []mail.Recipient {
	if len(list) < 2 {
		return list
	}
	out := list[:0]
	if len(list) <= smallList {
	next:
		for _, r := range list {
			for i := range out {
				if key(out[i]) == key(r) {
					continue next
				}
			}
			out = append(out, r)
		}
		return out
	}
	seen := make(map[mail.Recipient]bool, len(list))
	for _, r := range list {
		if k := key(r); !seen[k] {
			seen[k] = true
			out = append(out, r)
		}
	}
	return out
}

func key(r mail.Recipient) mail.Recipient {
	r.Address, r.Original = r.Address.Fold(), r.Original.Fold()
	return r
}
