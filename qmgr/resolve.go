package qmgr

import (
	"context"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/sched"
)

// resolve says where a recipient goes. When that is known not to need an agent
// (error:, retry:, discard:, an address nobody can deliver to), it returns the
// outcome instead.
func (m *manager) resolve(msg *message, n uint32) (sched.Recipient, *mail.Status) {
	to := msg.Envelope.Recipients[n].Address
	route, err := m.route.Resolve(context.Background(), msg.Envelope.Sender, to)
	if err != nil {
		return sched.Recipient{}, &mail.Status{DSN: "4.3.0", Text: "address resolver failure"}
	}
	if route.Bad != nil {
		return sched.Recipient{}, route.Bad
	}
	if st, ok := address.Verdict(route.Transport, m.set.program(route.Transport), route.NextHop); ok {
		over := st
		return sched.Recipient{}, &over
	}
	d, status := m.decide(msg, n, &route)
	if status != nil {
		return sched.Recipient{}, status
	}
	if d.Route != 0 {
		switch way := &m.book.policy.Routes[d.Route]; way.Kind {
		case policy.RouteError, policy.RouteDiscard:
			return sched.Recipient{}, &way.Status
		}
	}
	return sched.Recipient{Index: n, Transport: route.Transport, NextHop: route.NextHop, User: m.set.user(route.Recipient)}, nil
}
