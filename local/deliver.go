package local

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/submit"
)

// deliverer makes deliveries. Its methods may be called by many goroutines.
type deliverer struct {
	site   atomic.Pointer[site]
	submit submit.Client
	ids    mail.IDs
	log    *maillog.Logger
	now    func() time.Time
}

// handle makes one delivery (agent.Handler). What goes wrong with a mailbox is never
// held against the destination as a whole.
func (l *deliverer) handle(ctx context.Context, r *agent.Request) proto.Result {
	s, log := l.site.Load(), l.log.Session(r.Lane)
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}}
	for i := range r.Recipients {
		if ctx.Err() != nil {
			break // the rest was not tried
		}
		rc := &r.Recipients[i]
		st, replaced := l.deliver(ctx, s, r, rc)
		res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Replaced: replaced, Status: st})
		log.Event(maillog.Delivery{Queue: r.Queue, To: rc.Address, OrigTo: rc.Original, Relay: "local",
			Arrival: r.Arrival, Active: r.Active, Handed: r.Handed, Done: l.now(), Status: st})
	}
	return res
}

// deliver delivers to one recipient. replaced says that a new message takes it over.
func (l *deliverer) deliver(ctx context.Context, s *site, r *agent.Request, rc *proto.DeliverRecipient) (st mail.Status, replaced bool) {
	name := strings.ToLower(rc.Address.Local())
	if strings.EqualFold(name, s.double) {
		return sent("undeliverable postmaster notification discarded"), false
	}
	loop, err := delivered(&r.Content, rc.Address, r.Origin == mail.FromLocal)
	switch {
	case err != nil:
		return deferred("4.3.0", err.Error()), false
	case loop:
		return bounced("5.4.6", fmt.Sprintf("mail forwarding loop for %s", rc.Address.External())), false
	}

	t := []target{{address: rc.Address, sender: r.Sender, here: true, user: s.user(name)}}
	// What we sent on ourselves was expanded to the end; doing it again would send an
	// alias that names itself in circles.
	if r.Origin != mail.FromLocal {
		e := expansion{site: s, ctx: ctx, service: r.Service, warnf: l.log.Warnf}
		if err := e.name(name, rc.Address.Domain(), r.Sender); err != nil {
			return statusOf(err), false
		}
		t = e.targets
	}
	if len(t) == 1 && t[0].here {
		return l.mailbox(ctx, s, r, rc, t[0]), false
	}
	return l.forward(s, r, rc, t)
}

// user is the name of the mailbox behind a local part in lower case: without the
// extension.
func (s *site) user(local string) string {
	user, _, _ := s.split.Split(local)
	return user
}

func sent(text string) mail.Status { return mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: text} }

func deferred(dsn, text string) mail.Status {
	return mail.Status{Class: mail.Deferred, DSN: dsn, Text: text}
}

func bounced(dsn, text string) mail.Status {
	return mail.Status{Class: mail.Bounced, DSN: dsn, Text: text}
}
