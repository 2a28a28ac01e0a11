package qmgr

import (
	"slices"
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
)

// delivery is one that an agent has in hand. One that an earlier qmgr asked for, and
// one that is set aside, has no entry.
type delivery struct {
	entry      sched.EntryID
	ref        slot.Ref
	msg        *message // nil when an earlier qmgr asked for it
	agent      *agent
	service    string
	report     string // of one to bounce: what is reported
	nextHop    string
	source     string // of the egress, or ""
	recipients []uint32
	handed     time.Time // zero for one from an earlier qmgr
	fault      string    // how its agent died by its own fault, or ""
	alone      bool      // set aside for a process alone, and then
	program    string    // whose that is
}

// dispatch does what the scheduler decided. A delivery for which the log has no
// room waits, and the others behind it: no attempt starts whose result could not be
// written down. What ends meanwhile makes room.
func (m *manager) dispatch() {
	for {
		if m.stalled != nil && m.deliver(*m.stalled) {
			m.stalled = nil
		}
		next := m.machine.Next
		if m.stalled != nil {
			next = m.machine.Decided
		}
		a, ok := next()
		if !ok {
			return
		}
		if a.Kind == sched.Resolve {
			m.lookUp(a)
			continue
		}
		msg := m.active[a.Msg]
		if msg == nil {
			continue
		}
		switch a.Kind {
		case sched.Deliver:
			if !m.deliver(a) {
				stalled := a // a copy: else each action would be on the heap
				m.stalled = &stalled
			}
		case sched.Suspend:
			m.suspend(msg, a)
		case sched.Refill:
			m.slice(msg, false)
		case sched.Expire:
			m.expired(msg, a.Recipients)
		case sched.Postpone:
			for _, n := range a.Recipients {
				m.postpone(msg, n, a.Until, sched.NotOpen(a.Window))
			}
		case sched.Notice:
			m.notice(msg, a.Recipients)
		case sched.MessageDone:
			m.conclude(msg)
		}
	}
}

// deliver hands an entry to an agent; false when the log has no room for it.
func (m *manager) deliver(a sched.Action) bool {
	msg := m.active[a.Msg]
	if msg == nil {
		m.machine.Result(m.now(), a.Entry, sched.HopResult{Unknown: true, Unmade: true})
		return true
	}
	if m.stopping { // since it began to wait for room in the log
		m.machine.Return(m.now(), a.Entry)
		return true
	}
	// A report is about a result that counts: it goes though the rest is on hold.
	if msg.gone || a.Transport != bounceService && m.spool.IsHeld(msg.Ref) {
		m.machine.Withdraw(m.now(), msg.id) // else it would be chosen again, and again
		m.machine.Return(m.now(), a.Entry)
		return true
	}
	left := a.Recipients
	if a.Transport != bounceService || !over(a.NextHop) {
		left = msg.unfinished(left)
	}
	if len(left) == 0 { // a message in the journal took them over while they waited
		m.machine.Result(m.now(), a.Entry, sched.HopResult{Unknown: true, Unmade: true})
		return true
	}
	if a.Recipients = wanted(msg, a); len(a.Recipients) == 0 {
		m.machine.Result(m.now(), a.Entry, sched.HopResult{Unknown: true, Unmade: true})
		return true
	}
	if !m.spool.Reserve(msg.Message, len(left)) {
		return false
	}
	program := m.set.program(a.Transport)
	if !m.able(program) { // it died a moment ago; the transport pauses until the next is there
		m.machine.Return(m.now(), a.Entry)
		m.machine.TransportPause(m.now(), a.Transport)
		return true
	}
	if program == requeueProgram {
		m.requeue(a.Entry, msg, a.Recipients)
		return true
	}
	d := msg.newDelivery()
	*d = delivery{entry: a.Entry, ref: msg.Ref, msg: msg, service: a.Transport, nextHop: a.NextHop, source: a.Source, recipients: left}
	if msg.suspect != "" {
		m.setAside(msg, program, d)
		m.machine.Result(m.now(), a.Entry, sched.HopResult{Unknown: true})
		return true
	}
	ag := m.agentFor(program)
	d.agent, d.handed = ag, time.Now()
	if a.Transport == bounceService {
		d.report = a.NextHop
	}
	m.inHand[a.Entry] = d
	if mutant.On(mutant.EarlyMark) {
		m.spool.Done(msg.Ref, left...)
	}
	m.ask(ag, d, a.NextHop)
	return true
}

// askedMax is how many recipients manager.asked keeps memory for.
const askedMax = 64

// ask gives a delivery to its agent: at once when the content is still at hand from the
// tail, else by the agent's writer, which reads it.
func (m *manager) ask(a *agent, d *delivery, nextHop string) {
	if b, sum := m.spool.Warm(d.msg.Message); b != nil {
		p := &m.asked
		m.request(p, d, nextHop)
		p.Inline, p.Content, p.CRC = true, b, sum
		ok := m.added(a, proto.TypeDeliver, p)
		if p.Content = nil; len(p.Recipients) > askedMax {
			p.Recipients = nil
		}
		if ok {
			a.busy++
			return
		}
	}
	p := &proto.Deliver{}
	m.request(p, d, nextHop)
	a.send(p, d.msg.Message)
}

// wanted leaves out who was finished meanwhile by a message that takes him over.
func wanted(msg *message, a sched.Action) []uint32 {
	state := trying
	switch {
	case a.Transport != bounceService:
	case a.NextHop == reportFailure:
		state = failed
	default:
		return a.Recipients
	}
	for i, n := range a.Recipients {
		if msg.rcpts[n].state != state {
			rest := slices.Clone(a.Recipients[:i])
			for _, n := range a.Recipients[i+1:] {
				if msg.rcpts[n].state == state {
					rest = append(rest, n)
				}
			}
			return rest
		}
	}
	return a.Recipients
}

// request says in p what the agent is to do, all but the content. It fills p.Recipients
// anew in the memory they have.
func (m *manager) request(p *proto.Deliver, d *delivery, nextHop string) {
	env := d.msg.Envelope
	*p = proto.Deliver{
		ID: proto.DeliveryID{Epoch: m.epoch, Seq: uint64(d.entry)}, Service: d.service, NextHop: nextHop,
		Queue: env.ID, File: d.msg.Ref.File, Slot: d.msg.Ref.Slot,
		Sender: env.Sender, EnvID: env.EnvID, Ret: env.Ret, Body: env.Body, UTF8: env.UTF8, Origin: env.Origin, Client: env.Client,
		Arrival: env.Arrival, Active: d.msg.active, Handed: d.handed, Size: d.msg.Size, Keep: m.demand.again(d.handed, d.service, nextHop),
		Recipients: slices.Grow(p.Recipients[:0], len(d.recipients)),
	}
	p.Verify = env.Trace == mail.TraceVerify && d.service != bounceService
	if env.VERP != "" && len(d.recipients) == 1 && (d.service != bounceService || m.returnsEach(d.msg, d.report)) {
		p.Sender = env.VERPSender(d.recipients[0])
	}
	if d.source != "" {
		p.Source = m.sourceOf(d.source)
	}
	for _, n := range d.recipients {
		r := proto.DeliverRecipient{Index: n, Recipient: env.Recipients[n]}
		d.msg.readdressed(&r)
		if d.service == bounceService {
			if r.Status = *d.msg.rcpts[n].status; r.Status.Text == "" {
				r.Status = waitedTooLong
			}
			r.Expanded = d.msg.rcpts[n].expanded
		}
		p.Recipients = append(p.Recipients, r)
	}
}

// suspend defers recipients whose destination is not tried now.
func (m *manager) suspend(msg *message, a sched.Action) {
	st := a.Reason
	st.Class = mail.Deferred
	up := m.agentFor(m.set.program(a.Transport)) != nil
	if up && !strings.HasPrefix(st.Text, suspended) {
		st.Text = suspended + st.Text
	}
	for _, n := range a.Recipients {
		r := &msg.rcpts[n]
		if a.Transport == bounceService {
			continue // stays failed, and is reported in a later pass
		}
		if r.state == trying {
			m.settle(msg, n, st, false)
			r.mayFail = up && !a.Remembered // the destination was tried, if not with this message
		}
	}
}

// suspended begins the reason of what is deferred without an attempt (Postfix).
const suspended = "delivery temporarily suspended: "
