package qmgr

import (
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/mutant"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// partner takes a connected end from master, in the order in which master gave them:
// of two with one name the process behind the first is dead. Whoever is late to greet
// must not put that one in the place of the living.
func (m *manager) partner(name string, sock *net.UnixConn) {
	m.post(func() { m.newest[name] = sock })
	switch name {
	case "cleanup":
		go m.journal(name, sock)
	case proxymap:
		go m.databases(sock)
	default:
		go m.connect(name, sock)
	}
}

// unknown forgets a partner that never said hello.
func (m *manager) unknown(name string, sock *net.UnixConn) {
	if m.newest[name] == sock {
		delete(m.known, name)
	}
}

// silenceMax is how often silent partners are killed before qmgr goes on without.
const silenceMax = 3

// start begins to work once every agent that was given to us has said hello, and what
// the journal held before us is readable: nothing may start before we know what is in
// hand. Whoever is silent for five seconds is killed, by master.
func (m *manager) start() {
	m.askOthers()
	missing := len(m.known) > 0 || m.cleanup == nil || !m.cleanup.ready || len(m.cleanup.others) > 0 && !mutant.On(mutant.EarlyStart)
	if m.started || missing && time.Now().Before(m.deadline) {
		return
	}
	if missing && m.rounds < silenceMax {
		for name := range m.known {
			m.d.Silent(name)
		}
		m.rounds++
		m.deadline = time.Now().Add(helloTime)
		return
	}
	m.started = true
	for name := range m.known {
		m.log.Warnf("%s has not said hello; going on without it", name)
	}
	m.tailAll() // a dead writer's journal, before the first attempt
}

// agentUp takes an agent that said hello, with what it has in hand from before.
func (m *manager) agentUp(a *agent, hello *proto.AgentHello) {
	if m.newest[a.name] != a.sock {
		a.conn.Close()
		return
	}
	delete(m.known, a.name)
	if old := m.agents[a.name]; old != nil {
		m.agentDown(old, nil)
	}
	m.agents[a.name] = a
	m.takeForeign(a, hello.InHand)
	m.askOther(a.program)
	if a.alone {
		m.aloneUp(a)
		return
	}
	m.namesUp(a)
	m.gate(a.program)
}

// gate lets the transports of a program deliver when it can, and pauses them when not:
// without an agent; and what submits also without a cleanup whose predecessor's journal
// has been read to its end. For what it submitted last, and got no answer to, may be in
// there: trying again before we know would repeat it (S4).
func (m *manager) gate(program string) {
	if m.stopping {
		return
	}
	for name := range m.set.sched.Transports {
		switch {
		case m.set.program(name) != program:
		case m.able(program):
			m.machine.TransportUp(m.now(), name)
		default:
			m.machine.TransportPause(m.now(), name)
		}
	}
}

func (m *manager) able(program string) bool {
	if program == requeueProgram {
		return m.cleanup != nil && m.cleanup.ready
	}
	return m.agentFor(program) != nil && (!submits(program) || m.cleanup != nil && m.cleanup.ready)
}

// gateSubmitting is gate for all programs that submit.
func (m *manager) gateSubmitting() {
	for _, program := range submitting {
		m.gate(program)
	}
	m.gate(requeueProgram)
}

// agentDown takes back what an agent had in hand that is gone.
func (m *manager) agentDown(a *agent, err error) {
	if m.agents[a.name] != a {
		return
	}
	if err != nil && !errors.Is(err, io.EOF) && !m.stopping {
		m.log.Warnf("lost connection with %s: %v", a.name, err)
	}
	delete(m.agents, a.name)
	delete(m.acks, a)
	m.namesDown(a)
	m.gate(a.program)
	m.mourn(a, m.inHandOf(a))
}

// leave forgets lost deliveries: the next qmgr finds their messages as they were.
func (m *manager) leave(gone []*delivery) {
	for _, d := range gone {
		delete(m.inHand, d.entry)
		if d.entry == 0 {
			m.release(d)
		}
	}
}

// submitting are the programs that hand mail to cleanup as part of a delivery.
var submitting = []string{"bounce", "local"}

func submits(program string) bool { return slices.Contains(submitting, program) }

// takeBack gives the recipients of lost deliveries to the wheel.
func (m *manager) takeBack(gone []*delivery) {
	for _, d := range gone {
		if d.fault != "" && !mutant.On(mutant.SharedSuspect) {
			m.accuse(d)
			continue
		}
		if d.alone && d.msg != nil { // killed from outside: once more
			m.release(d)
			s := m.asideOf(d.program)
			s.current, s.list = nil, append([]*delivery{d}, s.list...)
			continue
		}
		if d.entry == 0 {
			m.release(d)
			if msg := m.byRef[d.ref]; msg != nil {
				m.untried(msg, d)
				m.resume(msg)
			}
			continue
		}
		delete(m.inHand, d.entry)
		m.untried(d.msg, d)
		m.machine.Result(m.now(), d.entry, sched.HopResult{Unknown: true})
	}
}

// agentFor returns the least busy agent of a program, or nil.
func (m *manager) agentFor(program string) *agent {
	var best *agent
	for _, a := range m.agents {
		if a.program == program && !a.alone && (best == nil || a.busy < best.busy) {
			best = a
		}
	}
	return best
}

// unreadable takes a delivery whose content could not be read: damage goes to
// corrupt/, anything else is tried again later.
func (m *manager) unreadable(id proto.DeliveryID, err error) {
	if id.Epoch != m.epoch {
		m.unreadableAlone(id, err)
		return
	}
	d := m.inHand[sched.EntryID(id.Seq)]
	if d == nil {
		return
	}
	delete(m.inHand, d.entry)
	d.agent.busy--
	m.log.Warnf("%s: content: %v", d.msg.Envelope.ID, err)
	if damaged(err) {
		d.msg.corrupt = err.Error()
	}
	for _, n := range d.recipients {
		if r := &d.msg.rcpts[n]; r.state == trying && !beside(d.report) {
			r.state = deferred
			r.status = d.msg.share(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "queue file read error"})
		}
	}
	m.machine.Result(m.now(), d.entry, sched.HopResult{Unknown: true})
}
