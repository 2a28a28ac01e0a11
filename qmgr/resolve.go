package qmgr

import (
	"context"
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/sched"
)

// resolve says where a recipient goes. When that is known not to need an agent
// (error:, retry:, discard:, an address nobody can deliver to), it returns the
// outcome instead.
func (m *manager) resolve(msg *message, n uint32) (sched.Recipient, *mail.Status) {
	if msg.Envelope.Recipients[n].Member == mail.MemberExpanded {
		over := aliasExpanded
		return sched.Recipient{}, &over
	}
	to := msg.Envelope.Recipients[n].Address
	route, err := m.route.Resolve(context.Background(), msg.Envelope.Sender, to)
	if err != nil {
		return sched.Recipient{}, &mail.Status{DSN: "4.3.0", Text: "address resolver failure"}
	}
	if route.Bad != nil {
		return sched.Recipient{}, route.Bad
	}
	if f := msg.Envelope.Filter; f != "" && msg.Envelope.Trace != mail.TraceVerify {
		// A content filter is for all recipients alike, and before whatever else decides.
		route.Transport, route.NextHop, _ = strings.Cut(f, ":")
		if route.NextHop == "" {
			route.NextHop = route.Recipient.Domain()
		}
	}
	r := sched.Recipient{Index: n, Transport: route.Transport, NextHop: route.NextHop, User: m.set.user(route.Recipient)}
	st := (*mail.Status)(nil)
	if m.book.policy != nil {
		r, st = m.steered(msg, n, route, r)
	} else {
		r, st = m.atOnce(r)
	}
	if p, ok := msg.passed[n]; ok && st == nil {
		return m.onward(p, r)
	}
	return r, st
}

// aliasExpanded is the outcome for a virtual alias whose sender wanted to hear of success.
var aliasExpanded = mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "alias expanded"}

// atOnce is what becomes of a recipient whose way is known.
func (m *manager) atOnce(r sched.Recipient) (sched.Recipient, *mail.Status) {
	if st, ok := address.Verdict(r.Transport, m.set.program(r.Transport), r.NextHop); ok {
		over := st
		return sched.Recipient{}, &over
	}
	return r, nil
}
