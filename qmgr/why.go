package qmgr

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/mailq"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
)

// why answers for what messages are still in the queue (postqueue -w). The owner gives
// a copy of what it knows of each; putting that into words is done here.
func (o *operator) why(w *proto.Why) proto.Done {
	if !o.m.mayList(o.peer) {
		return proto.Done{Code: exNoPerm, Text: "you are not allowed to view the mail queue"}
	}
	var done proto.Done
	if len(w.IDs) == 0 {
		return done
	}
	err := o.each(nil, w.IDs, func(items []*listed) error {
		for _, it := range items {
			if it.found.Over() {
				continue
			}
			var r *proto.Reason
			if err := o.user.work(o.began, func() { r = o.reason(it) }); err != nil {
				return err
			}
			if err := o.send(proto.TypeReason, r); err != nil {
				return err
			}
			done.Count++
			if len(done.IDs) < proto.DoneIDs {
				done.IDs = append(done.IDs, string(it.ID))
			}
		}
		return nil
	})
	if err != nil {
		return proto.Done{Code: exTempFail, Text: "searching the queue: " + err.Error()}
	}
	return done
}

// standing is the owner's knowledge of a message at one moment.
type standing struct {
	cfg   *config.Config
	set   settings
	route *address.Resolver
	now   time.Time                 // spool time
	wall  func(time.Time) time.Time // of spool time
	held  bool

	policy   uint64       // checksum of what is in force, see proto.Reason
	governed bool         // there is a sched.cf
	since    time.Time    // from which the age counts
	waits    []proto.Wait // for all of it

	env     *mail.Envelope // nil: it is not active
	rcpts   []recipient
	entries []sched.Waiting
	hands   []proto.Wait // of each entry
	alone   map[uint32]proto.Wait
	later   proto.Wait // for those that are to be tried and in no entry
}

// standing takes the copy.
func (m *manager) standing(it *listed) *standing {
	now := m.spool.Now()
	offset := m.spool.Wall(now).Sub(now)
	s := &standing{cfg: m.d.Config(), set: m.set, route: m.route, now: now, held: m.spool.IsHeld(it.target.Ref), since: it.found.Since, policy: policy.Sum(m.book.encoded), governed: m.book.policy != nil}
	s.wall = func(t time.Time) time.Time { return t.Add(offset) }
	if s.held {
		s.waits = append(s.waits, proto.Wait{For: proto.WaitHold})
	}
	msg := m.byRef[it.target.Ref]
	switch {
	case msg != nil:
		s.env, s.rcpts, s.since = msg.Envelope, slices.Clone(msg.rcpts), msg.State.Since
		s.entries = m.machine.Why(msg.id)
		for i := range s.entries {
			s.hands = append(s.hands, m.handOf(&s.entries[i], s.wall))
		}
		s.later, s.alone = proto.Wait{For: proto.WaitTurn}, m.aloneWaits(msg)
	case m.stopping:
		s.waits = append(s.waits, proto.Wait{For: proto.WaitStop})
	case !m.started:
		s.waits = append(s.waits, proto.Wait{For: proto.WaitStart, Who: strings.Join(m.silent(), ", ")})
	case it.found.Open && !s.held:
		s.waits = append(s.waits, m.admission(it.target.Ref))
	}
	return s
}

// silent are those whose hello is waited for.
func (m *manager) silent() (names []string) {
	for name := range m.known {
		names = append(names, name)
	}
	if m.cleanup == nil && !m.known["cleanup"] {
		names = append(names, "cleanup")
	}
	slices.Sort(names)
	return names
}

// admission is what keeps a message that is read from being active.
func (m *manager) admission(ref slot.Ref) proto.Wait {
	w := proto.Wait{For: proto.WaitActive, Used: uint64(len(m.active)), Limit: uint64(m.set.sched.ActiveLimit), Setting: "qmgr_message_active_limit"}
	if st := m.machine.Stats(); m.machine.Room() == 0 && st.Messages < m.set.sched.ActiveLimit {
		w.Used, w.Limit, w.Setting = uint64(st.Recipients), uint64(m.set.sched.RecipientLimit), "recipients; qmgr_message_recipient_limit"
	}
	for i, msg := range m.fresh.list[m.fresh.head:] {
		if msg.Ref == ref {
			w.Ahead = uint64(i)
		}
	}
	for i, msg := range m.due {
		if msg.Ref == ref {
			w.Ahead = uint64(i)
		}
	}
	return w
}

// handOf is what one entry of the scheduler waits for.
func (m *manager) handOf(w *sched.Waiting, wall func(time.Time) time.Time) proto.Wait {
	t := m.set.sched.Transports[w.Transport]
	cfg := m.d.Config()
	out := proto.Wait{Who: w.Transport, Used: uint64(w.Used), Limit: uint64(w.Limit), Ahead: uint64(w.Ahead), Failures: uint64(w.Failures)}
	if w.Until != 0 {
		out.Until = wall(time.Unix(0, int64(w.Until)))
	}
	setting := func(suffix, value string) { out.Setting = cfg.TransportName(w.Transport, suffix) + " = " + value }
	switch w.Cause {
	case sched.InHand:
		d := m.inHand[w.Entry]
		switch {
		case d == nil && m.requeues(w.Transport):
			out.For, out.Who = proto.WaitResult, "cleanup"
		case d == nil:
			return proto.Wait{For: proto.WaitLog}
		case d.agent != nil && m.agents[d.agent.name] == d.agent:
			out.For, out.Who, out.Since = proto.WaitResult, d.agent.name, d.handed
		default: // it died; what it had done is being found out
			out.For, out.Who = proto.WaitAgent, m.set.program(w.Transport)
		}
	case sched.ForName:
		out.For, out.Who = proto.WaitResolve, w.NextHop
	case sched.ForAgent:
		out.For, out.Who = proto.WaitAgent, m.set.program(w.Transport)
		switch {
		case m.stopping:
			out.For = proto.WaitStop
		case submits(out.Who) && m.agentFor(out.Who) != nil:
			out.Who = "cleanup"
		}
	case sched.ForRate:
		out.For = proto.WaitRate
		setting("destination_rate_delay", seconds(t.DestinationRateDelay))
	case sched.ForPace:
		out.For = proto.WaitPace
		setting("transport_rate_delay", seconds(t.TransportRateDelay))
	case sched.ForWindow:
		out.For = proto.WaitWindow
		switch {
		case t.DestinationRateDelay > 0:
			setting("destination_rate_delay", seconds(t.DestinationRateDelay))
		case t.ConcurrencyLimit > 0:
			setting("destination_concurrency_limit", strconv.Itoa(t.ConcurrencyLimit))
		}
	case sched.ForSlots:
		out.For, out.Setting = proto.WaitSlots, "maxproc of "+w.Transport+" in master.cf"
	case sched.ForLimit:
		out.For, out.Who = proto.WaitLimit, m.boundName(w.Bound)
		out.Setting = ratesText(w.Rates)
	case sched.ForQueue:
		if out.For, out.Who = proto.WaitQueue, w.Queue; w.Queue == "" {
			out.Who = sched.DefaultQueue
		}
	case sched.ForOthers:
		out.For = proto.WaitKept
	case sched.ForShare:
		out.For, out.Setting = proto.WaitShare, "unproven_destination_share = "+strconv.Itoa(t.UnprovenShare)
	default:
		if out.For = proto.WaitTurn; m.stalled != nil {
			out.For = proto.WaitLog
		}
	}
	return out
}

// requeues says whether a transport hands messages back to cleanup.
func (m *manager) requeues(transport string) bool { return m.set.program(transport) == requeueProgram }

// seconds writes a time as Postfix's parameters do.
func seconds(d time.Duration) string {
	if d%time.Second != 0 {
		return d.String()
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// reason puts together what is said of a message.
func (o *operator) reason(it *listed) *proto.Reason {
	s := ask(o.m, func() *standing { return o.m.standing(it) })
	r := &proto.Reason{Item: it.Item, Waits: s.waits}
	r.Recipients = nil
	if s.held {
		r.Queue = inHold
	}
	life, name := s.set.sched.Retry.Lifetime, "maximal_queue_lifetime"
	if it.Sender == "" && s.set.sched.Retry.BounceLifetime < life {
		life, name = s.set.sched.Retry.BounceLifetime, "bounce_queue_lifetime"
	}
	if !s.since.IsZero() {
		r.Expires, r.ExpiresSetting = s.wall(s.since.Add(life)), name+" = "+s.cfg.Text(name)
	}
	g := &grouping{s: s, sender: it.Sender, keys: map[string]sched.Recipient{}}
	if s.env != nil {
		g.active()
	} else {
		g.stored(o, it)
	}
	ask(o.m, func() bool { g.destinations(o.m); return true })
	g.Sort()
	r.Fates, r.More = g.List, r.More+g.More
	if env, err := o.m.spool.Envelope(it.found); err == nil {
		f := aboutMessage(env)
		r.Facts, r.Policy = f.Lines(), s.policy
	}
	return r
}

// grouping puts the recipients of a message into groups.
type grouping struct {
	mailq.Fates
	s      *standing
	sender mail.Address
	to     []sched.Recipient // of each group that has a destination
	keys   map[string]sched.Recipient
}

// add adds a recipient to its group. Where it goes is looked up when it is not known.
func (g *grouping) add(to mail.Address, f *proto.Fate, dest sched.Recipient) {
	if f.Transport == "" {
		if dest.Transport == "" {
			dest = g.find(to)
		}
		f.Transport, f.NextHop = dest.Transport, dest.NextHop
	}
	if _, fresh := g.Add(to, f); fresh {
		g.to = append(g.to, dest)
	}
}

// find resolves an address, as an attempt now would.
func (g *grouping) find(to mail.Address) sched.Recipient {
	route, err := g.s.route.Resolve(context.Background(), g.sender, to)
	if err != nil || route.Bad != nil {
		return sched.Recipient{}
	}
	return sched.Recipient{Transport: route.Transport, NextHop: route.NextHop, User: g.s.set.user(route.Recipient)}
}

// active groups the recipients of a message in the active queue.
func (g *grouping) active() {
	s := g.s
	entry := make(map[uint32]int)
	for i := range s.entries {
		for _, n := range s.entries[i].Recipients {
			entry[n] = i
		}
	}
	for i := range s.rcpts {
		rc := &s.rcpts[i]
		if rc.state == finished {
			continue
		}
		f := mailq.NewFate(rc.attempts, time.Time{}, rc.status)
		if rc.tried {
			f.Attempts++
		}
		k, scheduled := entry[uint32(i)]
		switch {
		case scheduled:
			e := &s.entries[k]
			if e.Transport == bounceService || e.Transport == requeueService {
				f.Waits = append(f.Waits, proto.Wait{For: proto.WaitReport})
			} else if f.State = "active"; e.Cause != sched.InHand && f.Attempts == 0 {
				f.State = "active, waiting"
			}
			f.Transport, f.NextHop, f.Source = e.Transport, e.NextHop, e.Source
			f.Queue = s.queueText(e.Queue, e.Level)
			f.Waits = append(f.Waits, s.hands[k])
			f.Next = s.hands[k].Until
		case rc.state == trying:
			f.State, f.Waits = "active, waiting", []proto.Wait{s.later}
		case rc.state == foreign && s.alone[uint32(i)].For != "":
			f.State, f.Waits = "active", []proto.Wait{s.alone[uint32(i)]}
		case rc.state == foreign:
			f.State, f.Waits = "active", []proto.Wait{{For: proto.WaitResult, Who: "an agent, since before the queue manager was restarted,"}}
		case rc.state == replaced:
			f.Waits = []proto.Wait{{For: proto.WaitJournal}}
		case rc.state == failed:
			f.Waits = []proto.Wait{{For: proto.WaitReport}}
		case rc.state == resting:
			g.timed(&f, time.Unix(0, int64(rc.due)))
		default: // its time is found when the rest of the message is done
		}
		g.add(s.env.Recipients[i].Address, &f, sched.Recipient{})
	}
}

// stored groups the recipients of a message that waits on the disk, or to become active.
func (g *grouping) stored(o *operator, it *listed) {
	if err := o.m.spool.Whole(it.found); err != nil {
		g.More += uint64(it.found.More)
	}
	decided := g.decided(o, it)
	for i := range it.found.Recipients {
		rc := &it.found.Recipients[i]
		var to sched.Recipient
		f := mailq.NewFate(rc.Attempts, time.Time{}, &rc.Status)
		if !rc.Due.IsZero() {
			g.timed(&f, rc.Due)
		}
		if f.Queue = rc.Queue; f.Queue == "" && !rc.Due.IsZero() {
			f.Queue = g.s.queueText("", sched.Normal)
		}
		if i < len(decided) && decided[i] != nil {
			w := decided[i]
			if to = w.to; w.queue != "" {
				f.Queue = w.queue
			}
			if w.wait.For != "" && len(g.s.waits) == 0 {
				f.Waits = append(f.Waits, w.wait)
			}
		}
		g.add(rc.Address, &f, to)
	}
}

// timed says when the next attempt is, unless something else is waited for.
func (g *grouping) timed(f *proto.Fate, due time.Time) {
	s := g.s
	if s.held || !due.After(s.now) && len(s.waits) > 0 {
		return
	}
	f.Next = s.wall(due)
	if due.After(s.now) {
		if name, ok := sched.WindowOf(f.Reply); ok {
			f.Waits = append(f.Waits, proto.Wait{For: proto.WaitHours, Who: name, Until: f.Next})
			return
		}
		if s.governed {
			f.Waits = append(f.Waits, proto.Wait{For: proto.WaitTime, Until: f.Next, Setting: "its schedule in sched.cf"})
			return
		}
		f.Waits = append(f.Waits, proto.Wait{For: proto.WaitTime, Until: f.Next, Setting: "minimal_backoff_time = " + s.cfg.Text("minimal_backoff_time") +
			", maximal_backoff_time = " + s.cfg.Text("maximal_backoff_time")})
	}
}

// destinations adds to each group what is known of its destination: that it is dead, or
// that it has no room for the message.
func (g *grouping) destinations(m *manager) {
	for i := range g.List {
		f := &g.List[i]
		if f.Transport == "" || f.Transport == bounceService {
			continue
		}
		d, known := m.machine.Destination(g.to[i])
		switch {
		case known && d.Dead:
			w := g.death(&d)
			if !f.Next.IsZero() && f.Next.Before(w.Until) {
				f.Next = g.passedOver(f.Next)
			}
			f.Waits = append(f.Waits, w)
		case g.s.env == nil && len(g.s.waits)+len(f.Waits) == 0:
			f.Next = time.Time{}
			f.Waits = append(f.Waits, g.parkedFor(m, g.to[i], &d))
		}
	}
}

// passedOver is when mail is tried that is due while its destination is dead: it is
// deferred anew then, without an attempt. By chance that may be some percent later.
func (g *grouping) passedOver(due time.Time) time.Time {
	offset := g.s.wall(g.s.now).Sub(g.s.now)
	at := stime(due.Add(-offset))
	return due.Add(g.s.set.sched.Retry.Next(stime(g.s.since), at, 0).Sub(at))
}

// death says that a destination is dead.
func (g *grouping) death(d *sched.Destination) proto.Wait {
	w := proto.Wait{For: proto.WaitDead, Failures: uint64(d.Failures), Until: g.s.wall(time.Unix(0, int64(d.Until))),
		Setting: "minimal_backoff_time = " + g.s.cfg.Text("minimal_backoff_time"), Reply: strings.TrimPrefix(d.Reason.Text, suspended)}
	if d.Died != 0 {
		w.Since = g.s.wall(time.Unix(0, int64(d.Died)))
	}
	return w
}
