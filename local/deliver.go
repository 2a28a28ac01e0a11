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
	"postrider/lib/table"
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
		d := &delivery{deliverer: l, site: s, ctx: ctx, r: r, rc: rc}
		st, replaced := d.deliver()
		if d.pass.Transport != "" { // what becomes of it others say
			log.Event(maillog.Info{Queue: r.Queue, Text: "passing <" + d.pass.Address.External() + "> to transport=" + d.pass.Transport})
			res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Pass: d.pass})
			continue
		}
		res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Replaced: replaced, Status: st})
		log.Event(maillog.Delivery{Queue: r.Queue, To: rc.Address, OrigTo: rc.Original, Relay: "local",
			Arrival: r.Arrival, Active: r.Active, Handed: r.Handed, Done: l.now(), Status: st, Verify: r.Verify})
	}
	return res
}

// delivery is one recipient of a request.
type delivery struct {
	*deliverer
	site *site
	ctx  context.Context
	r    *agent.Request
	rc   *proto.DeliverRecipient

	waited bool       // for newer tables
	pass   proto.Pass // who is to deliver in our place
}

// deliver delivers. replaced says that a new message takes the recipient over.
func (d *delivery) deliver() (st mail.Status, replaced bool) {
	s, rc := d.site, d.rc
	name := strings.ToLower(rc.Address.Local())
	if strings.EqualFold(name, s.double) {
		return sent("undeliverable postmaster notification discarded"), false
	}
	sentOn := d.r.Origin == mail.FromLocal
	loop, err := delivered(&d.r.Content, rc.Address, sentOn)
	switch {
	case err != nil:
		return deferred("4.3.0", err.Error()), false
	case loop:
		return bounced("5.4.6", fmt.Sprintf("mail forwarding loop for %s", rc.Address.External())), false
	}

	if path, is := strings.CutPrefix(d.r.NextHop, proto.MaildirHop); is && d.r.NextHop != rc.Address.Domain() {
		return d.routed(path), false
	}
	self := target{address: rc.Address, sender: d.r.Sender, here: true, user: s.user(name)}
	// What we sent on ourselves was expanded to the end; doing it again would send an
	// alias that names itself in circles.
	switch {
	case sentOn && rc.Member == mail.MemberMailbox:
		self.direct = true
		return d.mailbox(self)
	case sentOn && rc.Member != 0:
		return d.member(name)
	case sentOn:
		return d.mailbox(self)
	}
	e := d.expansion()
	if err := e.name(name, rc.Address.Domain(), d.r.Sender); err != nil {
		return statusOf(err), false
	}
	if d.r.Verify {
		return d.verify(e.targets), false
	}
	return d.targets(e.targets)
}

func (d *delivery) expansion() *expansion {
	return &expansion{site: d.site, ctx: d.ctx, service: d.r.Service, of: d.rc.Address, warnf: d.log.Warnf}
}

// targets delivers to what a recipient stands for: a single mailbox, command or file here
// and now, anything else by a message of its own, so that each is tried by himself.
func (d *delivery) targets(list []target) (mail.Status, bool) {
	switch {
	case len(list) != 1:
	case list[0].here:
		return d.mailbox(list[0])
	case list[0].kind != table.TargetAddress:
		return d.special(&list[0]), false
	}
	return d.forward(list)
}

// member delivers to the command or file of an alias or a .forward that the message was
// sent on for.
func (d *delivery) member(name string) (mail.Status, bool) {
	e := d.expansion()
	if err := e.name(name, d.rc.Address.Domain(), d.r.Sender); err != nil {
		return statusOf(err), false
	}
	for pass := 0; ; pass++ {
		for i := range e.targets {
			if t := &e.targets[i]; t.member() == d.rc.Member {
				t.sender = d.r.Sender
				return d.special(t), false
			}
		}
		if pass == 1 || len(e.targets) != 1 || !e.targets[0].here {
			return bounced("5.1.1", "the alias or .forward of "+name+" names the command or file no longer"), false
		}
		j, a, err := d.place(e.targets[0])
		if err != nil {
			return statusOf(err), false
		}
		x := perform(a, &job{Home: j.Home, Forward: j.Forward, UID: j.UID}, nil)
		if !x.Found {
			if x.Status.DSN != "" {
				return x.Status, false
			}
			continue
		}
		if e, err = d.forwarded(e.targets[0], x); err != nil {
			return statusOf(err), false
		}
	}
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
