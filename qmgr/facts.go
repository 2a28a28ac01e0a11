package qmgr

import (
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/policy"
)

// aboutMessage is what the policy may know of all recipients of a message alike.
func aboutMessage(env *mail.Envelope) policy.Facts {
	sender := strings.ToLower(string(env.Sender))
	f := policy.Facts{
		Sender: sender, SenderDomain: mail.Address(sender).Domain(),
		SourceKind: env.Kind.String(), Listener: env.Listener, SASLUser: env.Client.SASLUser, ClientAddress: env.Client.Addr,
		Priority: int(env.Priority), HasPriority: env.HasPriority, Size: env.Size, Headers: env.Headers,
	}
	if env.Origin == mail.FromBounce {
		f.SourceKind = mail.DSN.String()
	}
	return f
}

// gather fills in what is known of a recipient, for the policy.
func (m *manager) gather(f *policy.Facts, msg *message, n uint32, route *address.Route) {
	answers := f.Answers[:0]
	*f = aboutMessage(msg.Envelope)
	f.Answers = answers
	f.Rcpt = strings.ToLower(string(msg.Envelope.Recipients[n].Address))
	f.RcptDomain = mail.Address(f.Rcpt).Domain()
	f.Transport, f.NextHop, f.Class = route.Transport, strings.ToLower(route.NextHop), route.Class.String()
	if since := msg.State.Since; !since.IsZero() {
		f.Age = max(m.spool.Now().Sub(since), 0)
	}
	r := &msg.rcpts[n]
	if f.Attempts = r.failures(); f.Attempts > 0 {
		f.LastClass = policy.ClassOf(r.status)
	}
}
