package qmgr

import (
	"time"

	"postrider/lib/proto"
	"postrider/lib/sched"
)

// resolveSlots is how many names are looked up at once. A job costs its program a
// goroutine and a socket, and hardly any time.
const resolveSlots = 500

// lookup is a name that is being looked up, by every process of its program, since any of
// them may get the delivery.
type lookup struct {
	seq     uint64
	program string
	ask     proto.Resolve
	list    sched.Parking
	asked   map[*agent]bool // who has not answered
	holds   time.Duration   // the shortest
	failed  bool
	fact    *question // what a policy asks; nil: the scheduler asks
	group   string
	hosts   []string
}

// lookUp asks for the addresses of a next hop. Without a process the next one is asked.
func (m *manager) lookUp(a sched.Action) {
	m.lastLookup++
	l := &lookup{seq: m.lastLookup, program: m.set.program(a.Transport), list: sched.Parking{Transport: a.Transport, Name: a.Name},
		ask: proto.Resolve{Seq: m.lastLookup, Service: a.Transport, NextHop: a.NextHop}}
	m.lookups[l.seq] = l
	m.askAll(l)
}

// askAll asks every process of the program.
func (m *manager) askAll(l *lookup) {
	l.asked, l.holds, l.failed = map[*agent]bool{}, 24*time.Hour, false
	for _, a := range m.agents {
		if a.program == l.program && !a.alone {
			l.asked[a] = true
			m.add(a, proto.TypeResolve, &l.ask)
		}
	}
}

// resolved takes the answers of an agent.
func (m *manager) resolved(a *agent, answers []proto.Resolved) {
	for i := range answers {
		r := &answers[i]
		l := m.lookups[r.Seq]
		if l == nil || !l.asked[a] {
			continue
		}
		delete(l.asked, a)
		l.holds, l.failed = min(l.holds, r.Holds), l.failed || r.Failed
		if len(l.hosts) == 0 {
			l.group, l.hosts = r.Group, r.Hosts
		}
		if len(l.asked) == 0 {
			m.lookedUp(l)
		}
	}
}

func (m *manager) lookedUp(l *lookup) {
	delete(m.lookups, l.seq)
	if l.fact != nil {
		m.grouped(l)
		return
	}
	m.machine.Resolved(m.now(), l.list, m.now().Add(l.holds), l.failed)
}

// namesUp asks a new process for what nobody could be asked for. Answers of before are
// asked for again, since the new process does not have them.
func (m *manager) namesUp(a *agent) {
	for name := range m.set.sched.Transports {
		if m.set.program(name) == a.program {
			m.machine.Unresolved(m.now(), name)
		}
	}
	for _, l := range m.lookups {
		if l.program == a.program && len(l.asked) == 0 {
			m.askAll(l)
		}
	}
}

// namesDown says that a process is gone with the questions it was asked. Those that others
// have answered are answered; the rest waits for the next process.
func (m *manager) namesDown(a *agent) {
	for _, l := range m.lookups {
		if !l.asked[a] {
			continue
		}
		if delete(l.asked, a); len(l.asked) == 0 && l.holds < 24*time.Hour {
			m.lookedUp(l)
		}
	}
}
