package qmgr

import (
	"context"
	"strconv"
	"time"

	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// Of a message that is not in memory nobody knows what the policy decided on it: it is
// decided anew for postqueue -w, which finds the list that it is parked in, or the question
// whose answer it waits for.

// decidedMost is for how many recipients of a message that is done.
const decidedMost = 200

// whereto is what the policy has for a recipient now.
type whereto struct {
	to    sched.Recipient
	queue string
	wait  proto.Wait // for a fact; For is "" when nothing is lacking
}

// decided decides on the recipients of a stored message that are due, by their places in
// it.found.Recipients; nil for the others.
func (g *grouping) decided(o *operator, it *listed) []*whereto {
	if !g.s.governed || g.s.held {
		return nil
	}
	env, err := o.m.spool.Envelope(it.found)
	if err != nil {
		return nil
	}
	msg := &message{Message: &spool.Message{Ref: it.target.Ref, Envelope: env, State: spool.State{Since: it.found.Since}}, rcpts: make([]recipient, len(env.Recipients))}
	for i := range msg.rcpts {
		msg.rcpts[i].status = untold
	}
	list := make([]*whereto, min(len(it.found.Recipients), decidedMost))
	ask(o.m, func() bool {
		for i := range list {
			rc := &it.found.Recipients[i]
			if !rc.Due.After(g.s.now) && int(rc.Number) < len(msg.rcpts) {
				msg.rcpts[rc.Number].attempts, msg.rcpts[rc.Number].status = rc.Attempts, &rc.Status
				list[i] = g.wouldBe(o.m, msg, rc.Number)
			}
		}
		return true
	})
	return list
}

// wouldBe is steered without its consequences: no source is chosen. Of several the one is
// taken that has parked mail.
func (g *grouping) wouldBe(m *manager, msg *message, n uint32) *whereto {
	p := m.book.policy
	if p == nil {
		return nil
	}
	route, err := m.route.Resolve(context.Background(), msg.Envelope.Sender, msg.Envelope.Recipients[n].Address)
	if err != nil || route.Bad != nil {
		return nil
	}
	w := &whereto{to: sched.Recipient{Index: n, Transport: route.Transport, NextHop: route.NextHop, User: m.set.user(route.Recipient)}}
	d, status := m.decide(msg, n, &route)
	if status == factsMissing {
		if q := m.questions.missing; q != nil && q.list.n > 0 {
			w.wait = q.about.wait()
			return w
		}
	}
	if status != nil {
		return nil
	}
	if r := &p.Routes[d.Route]; r.Kind != policy.RouteDefault && m.divert(r, &w.to) != nil {
		return nil
	}
	w.queue = g.s.queueText(p.Queues[d.Queue].Name, levels[d.Level])
	if d.Pool == 0 {
		w.to.Terms = m.termsFor(d, 0, m.domainOf(msg, n))
		return w
	}
	for _, in := range p.Pools[d.Pool].Members {
		to := w.to
		if to.Source = p.Sources[in.Source].Name; in.Source == 0 {
			to.Source = ""
		}
		to.Terms = m.termsFor(d, in.Source, m.domainOf(msg, n))
		if w.to.Terms == nil || m.parking.lists[m.machine.Key(to)] != nil {
			w.to = to
		}
	}
	return w
}

// wait is that for the answer to a question.
func (x about) wait() proto.Wait {
	if x.table != "" {
		return proto.Wait{For: proto.WaitLookup, Who: `lookup("sqlite:` + x.table + `") of ` + x.key}
	}
	return proto.Wait{For: proto.WaitResolve, Who: x.nextHop} // the policy asks for its mail hosts
}

// parkedFor is why a message that is due is not active.
func (g *grouping) parkedFor(m *manager, to sched.Recipient, d *sched.Destination) proto.Wait {
	limit := m.set.sched.ActiveLimit
	l := m.parking.lists[m.machine.Key(to)]
	if l == nil {
		return proto.Wait{For: proto.WaitActive, Used: uint64(len(m.active)), Limit: uint64(limit), Setting: "qmgr_message_active_limit"}
	}
	if bound, rates, until := m.machine.Bound(l.key); bound.Limit != "" {
		w := proto.Wait{For: proto.WaitLimit, Who: m.boundName(bound), Setting: ratesText(rates), Ahead: uint64(l.n)}
		if until != 0 {
			w.Until = g.s.wall(time.Unix(0, int64(until)))
		}
		return w
	}
	return proto.Wait{For: proto.WaitParked, Used: uint64(d.Todo + d.Busy), Limit: uint64(l.n), Setting: "its share of qmgr_message_active_limit = " + strconv.Itoa(limit)}
}
