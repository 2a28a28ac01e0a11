package qmgr

import (
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/policy"
)

// gather fills in what is known of a recipient, for the policy.
func (m *manager) gather(f *policy.Facts, msg *message, n uint32, route *address.Route) {
	env, r := msg.Envelope, &msg.rcpts[n]
	sender, rcpt := strings.ToLower(string(env.Sender)), strings.ToLower(string(env.Recipients[n].Address))
	*f = policy.Facts{
		Sender: sender, SenderDomain: mail.Address(sender).Domain(), Rcpt: rcpt, RcptDomain: mail.Address(rcpt).Domain(),
		Transport: route.Transport, NextHop: strings.ToLower(route.NextHop), Class: route.Class.String(),
		SourceKind: env.Kind.String(), Listener: env.Listener, SASLUser: env.Client.SASLUser, ClientAddress: env.Client.Addr,
		Priority: int(env.Priority), HasPriority: env.HasPriority, Size: env.Size, Attempts: r.failures(),
		Headers: env.Headers, Answers: f.Answers[:0],
	}
	if env.Origin == mail.FromBounce {
		f.SourceKind = mail.DSN.String()
	}
	if since := msg.State.Since; !since.IsZero() {
		f.Age = max(m.spool.Now().Sub(since), 0)
	}
	if r.failures() > 0 {
		f.LastClass = policy.ClassOf(r.status)
	}
}
