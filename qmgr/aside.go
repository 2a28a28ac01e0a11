package qmgr

import (
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// aside is where the suspect deliveries of a program wait for the process that tries
// them, one at a time. That process exists as long as there is something to try. The
// scheduler knows nothing of these: their recipients are in state foreign, and their
// messages idle, so that nobody else's mail waits for them.
type aside struct {
	list    []*delivery
	current *delivery // in hand of agent
	agent   *agent
	asked   bool // master was asked for the process
	syncing int  // strikes on their way to the disk, each with a delivery
}

func (s *aside) remove(d *delivery) {
	s.list = slices.DeleteFunc(s.list, func(x *delivery) bool { return x == d })
}

// of returns what waits of a message.
func (s *aside) of(msg *message) []*delivery {
	var all []*delivery
	for _, d := range s.list {
		if d.msg == msg {
			all = append(all, d)
		}
	}
	return all
}

func (m *manager) asideOf(program string) *aside {
	s := m.asides[program]
	if s == nil {
		s = &aside{}
		m.asides[program] = s
	}
	return s
}

// setAside has a delivery wait for the process alone. Whoever calls it ends its entry
// in the scheduler.
func (m *manager) setAside(msg *message, program string, from *delivery) *delivery {
	d := &delivery{ref: msg.Ref, msg: msg, program: program, service: from.service, nextHop: from.nextHop, recipients: from.recipients, alone: true}
	if program == bounceService {
		d.report = d.nextHop
	}
	if !beside(d.report) {
		for _, n := range d.recipients {
			if r := &msg.rcpts[n]; r.state == trying || r.state == failed {
				r.state = foreign
			}
		}
	}
	m.shame(msg, d)
	msg.aside++
	s := m.asideOf(program)
	s.list = append(s.list, d)
	return d
}

// putBack ends the wait of a delivery without a try.
func (m *manager) putBack(msg *message, d *delivery) {
	if d.msg != nil {
		msg.aside--
	}
	m.untried(msg, d)
	m.resume(msg)
}

// tryAlone gives each process alone its next delivery, asks for one where there is
// none, and lets it go when nothing is left.
func (m *manager) tryAlone() {
	for program, s := range m.asides {
		if m.stopping || s.current != nil || s.agent != nil && len(m.inHandOf(s.agent)) > 0 {
			continue
		}
		switch {
		case len(s.list) == 0 && s.syncing == 0:
			if s.asked || s.agent != nil {
				m.d.Alone(program, false)
			}
			delete(m.asides, program)
		case len(s.list) == 0:
		case s.agent == nil && !s.asked:
			s.asked = true
			m.d.Alone(program, true)
		case s.agent == nil || submits(program) && (m.cleanup == nil || !m.cleanup.ready):
		default:
			m.tryNext(s)
		}
	}
}

// tryNext sends the next delivery that is still wanted.
func (m *manager) tryNext(s *aside) {
	for len(s.list) > 0 {
		d := s.list[0]
		msg := d.msg
		if m.byRef[d.ref] != msg { // deleted
			s.list = s.list[1:]
			continue
		}
		left := d.recipients
		if !beside(d.report) {
			left = slices.DeleteFunc(slices.Clone(left), func(n uint32) bool { return msg.rcpts[n].state != foreign })
		}
		if msg.gone || msg.corrupt != "" || len(left) == 0 || m.spool.IsHeld(msg.Ref) {
			s.list = s.list[1:]
			m.putBack(msg, d)
			continue
		}
		if !m.goesTo(msg, sched.Recipient{Transport: d.service, NextHop: d.nextHop}, left, true) {
			s.list = s.list[1:]
			m.detour(msg, d, left)
			continue
		}
		if !m.spool.Reserve(msg.Message, len(left)) {
			return // the log is full: asked again at a later turn
		}
		s.list = s.list[1:]
		d.recipients, d.agent, d.fault = left, s.agent, ""
		m.lastAlone++
		req := &proto.Deliver{}
		m.request(req, d, d.nextHop)
		req.Handed = time.Now()
		req.ID = proto.DeliveryID{Epoch: m.aloneEpoch(), Seq: m.lastAlone}
		m.foreign[req.ID] = d
		m.held[d.ref] = append(m.held[d.ref], d)
		s.current = d
		s.agent.send(req, msg.Message)
		return
	}
}

// detour sets aside anew, each where it goes now, the recipients of a delivery whose way
// has changed while it waited.
func (m *manager) detour(msg *message, d *delivery, numbers []uint32) {
	var ways []*delivery
	for _, n := range numbers {
		to, status := m.resolve(msg, n)
		if m.unready(msg, n, status) {
			continue
		}
		if status != nil {
			m.settle(msg, n, *status, true)
			continue
		}
		msg.noteHop(to)
		if _, known := m.set.sched.Transports[to.Transport]; !known {
			m.again(msg, []uint32{n})
			continue
		}
		k := slices.IndexFunc(ways, func(x *delivery) bool { return x.service == to.Transport && x.nextHop == to.NextHop })
		if k < 0 {
			ways = append(ways, &delivery{service: to.Transport, nextHop: to.NextHop})
			k = len(ways) - 1
		}
		ways[k].recipients = append(ways[k].recipients, n)
	}
	for _, x := range ways {
		m.setAside(msg, m.set.program(x.service), x)
	}
	msg.aside--
	m.resume(msg)
	m.after(0, func() {}) // another program may have something to try
}

// aloneWaits says for what the recipients of a suspect message wait.
func (m *manager) aloneWaits(msg *message) map[uint32]proto.Wait {
	if msg.aside == 0 {
		return nil
	}
	waits := make(map[uint32]proto.Wait)
	note := func(d *delivery, w proto.Wait) {
		for _, n := range d.recipients {
			waits[n] = w
		}
	}
	for program, s := range m.asides {
		if d := s.current; d != nil && d.msg == msg {
			note(d, proto.Wait{For: proto.WaitResult, Who: program + proto.AloneSuffix})
		}
		for i, d := range s.list {
			if d.msg == msg {
				note(d, proto.Wait{For: proto.WaitAlone, Who: program, Ahead: uint64(i)})
			}
		}
	}
	return waits
}

// aloneEpoch tells deliveries alone from those that the scheduler knows, whose epoch
// is odd.
func (m *manager) aloneEpoch() uint64 { return m.epoch ^ 1 }

// aloneUp takes the process alone that said hello.
func (m *manager) aloneUp(a *agent) {
	s := m.asideOf(a.program)
	s.agent, s.asked = a, true
}

// aloneDown says that it is gone, and how it died is known.
func (m *manager) aloneDown(a *agent) {
	if s := m.asides[a.program]; s != nil && s.agent == a {
		s.agent, s.asked = nil, false
	}
}

// restart is the pause after a process alone died that never said hello.
const restart = time.Second

// diedUnseen takes the death of a process that is not connected.
func (m *manager) diedUnseen(d proto.Died) {
	for program, s := range m.asides {
		if program+proto.AloneSuffix == d.Partner && s.agent == nil {
			m.after(restart, func() { s.asked = s.agent != nil })
		}
	}
}

// unreadableAlone is unreadable for a delivery that was set aside.
func (m *manager) unreadableAlone(id proto.DeliveryID, err error) {
	d := m.foreign[id]
	if d == nil || d.msg == nil {
		return
	}
	m.release(d)
	m.log.Warnf("%s: content: %v", d.msg.Envelope.ID, err)
	if damaged(err) {
		d.msg.corrupt = err.Error()
	}
	for _, n := range d.recipients {
		if r := &d.msg.rcpts[n]; r.state == foreign && r.status.Class != mail.Bounced {
			r.status = d.msg.share(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "queue file read error"})
		}
	}
	m.putBack(d.msg, d)
}
