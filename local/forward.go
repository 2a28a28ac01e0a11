package local

import (
	"errors"
	"io"
	"slices"
	"strings"

	"postrider/lib/agent"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit"
)

// forward sends the message on to targets, as one new message that takes the
// recipient over in the same breath in which it enters the queue (mail.Replaces).
//
// A list inside a list that has an owner of its own needs a message more. Only the
// last of them takes the recipient over: what a crash in between repeats are copies,
// nothing is lost.
func (d *delivery) forward(targets []target) (mail.Status, bool) {
	l, s, r, rc := d.deliverer, d.site, d.r, d.rc
	var id mail.QueueID
	groups := bySender(targets)
	for i, g := range groups {
		env := l.envelope(r, rc, g)
		if i == len(groups)-1 {
			env.Replaces = mail.Replaces{ID: r.Queue, File: r.File, Slot: r.Slot, Recipients: []uint32{rc.Index}}
		}
		if err := l.resubmit(s, r, rc, env); err != nil {
			return statusOf(err), false
		}
		id = env.ID
	}
	return sent("forwarded as " + string(id)), true
}

func (l *deliverer) envelope(r *agent.Request, rc *proto.DeliverRecipient, g []target) *mail.Envelope {
	now := l.now()
	env := &mail.Envelope{ID: l.ids.Next(now), Sender: g[0].sender, Arrival: now, Origin: mail.FromLocal,
		Body: r.Body, UTF8: r.UTF8, Ret: r.Ret, Recipients: make([]mail.Recipient, 0, len(g))}
	orig := original(rc)
	for _, t := range g {
		to := mail.Recipient{Address: t.address, Original: orig, Member: t.member()}
		if t.sender == r.Sender { // to its owner a list reports in its own name (RFC 3461, 5.2.7.3)
			to.ORCPT, to.Notify = rc.ORCPT, rc.Notify.WithoutSuccess()
		}
		env.Recipients = append(env.Recipients, to)
	}
	if env.Sender == r.Sender {
		env.EnvID = r.EnvID
	}
	return env
}

// resubmit gives a message to cleanup. An error is *failure.
func (l *deliverer) resubmit(s *site, r *agent.Request, rc *proto.DeliverRecipient, env *mail.Envelope) error {
	m := l.submit.Begin(env, false)
	head := "Received: by " + s.hostname + " (" + s.mailName + ")\r\n\tid " + string(env.ID) + "; " + header.Date(env.Arrival) + "\r\n"
	if slices.Contains(s.deliveredTo, "forward") {
		head += "Delivered-To: " + rc.Address.External() + "\r\n"
	}
	_, err := io.WriteString(m, head)
	if err == nil {
		err = copyContent(m, &r.Content)
	}
	if err != nil {
		m.Abort()
	} else {
		err = m.Close()
	}
	var refused *submit.Refused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, agent.ErrContent):
		return &failure{agent.ContentStatus}
	case errors.As(err, &refused) && !submit.IsTemporary(err):
		return &failure{bounced(refused.DSN, "cannot be forwarded: "+refused.Text)}
	case errors.As(err, &refused):
		return &failure{deferred("4"+strings.TrimLeft(refused.DSN, "245"), "cannot be forwarded: "+refused.Text)}
	}
	if errors.Is(err, submit.ErrSuspect) {
		r.Suspect(err.Error())
	}
	// Also when nobody knows (submit.ErrUnknown): should the message be in the
	// journal after all, qmgr crosses the recipient off long before it tries again.
	return &failure{deferred("4.3.0", "cannot be forwarded: "+err.Error())}
}

// copyContent copies the content; its checksum is held against it at the end.
func copyContent(w io.Writer, c *agent.Content) error {
	b, inline, err := c.Bytes()
	if err != nil {
		return err
	}
	if inline {
		_, err = w.Write(b)
		return err
	}
	r := c.NewReader()
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{&r}, make([]byte, 32<<10))
	return err
}

// bySender parts targets by their sender, in their order.
func bySender(targets []target) [][]target {
	var groups [][]target
	place := map[mail.Address]int{}
	for _, t := range targets {
		i, ok := place[t.sender]
		if !ok {
			i = len(groups)
			place[t.sender] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// original is the recipient as the sender gave it.
func original(rc *proto.DeliverRecipient) mail.Address {
	if rc.Original != "" {
		return rc.Original
	}
	return rc.Address
}
