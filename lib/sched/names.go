package sched

import (
	"net/netip"
	"strings"
)

// Names. Where a transport's program looks names up (Transport.Resolves), a destination
// that is a name has no place in a ring before its addresses are known: looking up is a
// job of its own, with slots of its own, so that a name server which does not answer
// keeps only the mail waiting that needs it. Resolve asks for one; the program keeps the
// answer, Resolved says for how long, and in that time deliveries find it there. That a
// name does not exist, or cannot be looked up now, is an answer too: a delivery makes of
// it what it has to. Names that could not be looked up wait behind those that were never
// asked for or were found.

// naming is the names that are to be looked up and are being looked up.
type naming struct {
	queue  [2]list[dest] // the second: those that failed
	asking int           // jobs under way
}

// nameState is what is known of the addresses of a destination.
type nameState struct {
	plain   bool // it needs no name: an address, a socket
	known   bool // until until
	until   Time
	asked   bool // a job is under way
	failed  bool // the last one
	waiting node[dest]
}

// Literal says whether a next hop names no host: an address, or a socket.
func Literal(nextHop string) bool {
	if strings.HasPrefix(nextHop, "/") || strings.HasPrefix(nextHop, "unix:") || nextHop == "" {
		return true
	}
	host := nextHop
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host[1:], "]")
	}
	if len(host) > 5 && strings.EqualFold(host[:5], "ipv6:") {
		host = host[5:]
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// named says whether d may be tried as far as its name goes.
func (d *dest) named() bool { return !d.trans.Resolves || d.name.known || d.name.plain }

// seek puts d among those whose names are to be looked up, or takes it out. It follows
// every change of todo, dead or the state of its name.
func (d *dest) seek() {
	wanted := !d.named() && !d.name.asked && !d.dead && d.todo > 0
	q := &d.trans.names.queue[0]
	if d.name.failed {
		q = &d.trans.names.queue[1]
	}
	if d.name.waiting.in != q {
		d.name.waiting.leave()
	}
	q.member(&d.name.waiting, wanted)
}

// nameless says whether what is known of the name of d is out of date. Then d has left
// its rings.
func (m *Machine) nameless(d *dest) bool {
	if !d.trans.Resolves || d.name.plain || d.name.known && m.now < d.name.until {
		return false
	}
	d.name.known = false
	d.settle()
	return true
}

// resolve returns the next name to be looked up.
func (m *Machine) resolve() (Action, bool) {
	if m.cfg.ResolveSlots > 0 && m.names.asking >= m.cfg.ResolveSlots {
		return Action{}, false
	}
	for i := range m.names.queue {
		if x := m.names.queue[i].first; x != nil {
			d := x.of
			d.name.asked = true
			m.names.asking++
			d.seek()
			return Action{Kind: Resolve, Transport: d.trans.name, Name: d.key, NextHop: d.nextHop}, true
		}
	}
	return Action{}, false
}

// Resolved is the event that a job has ended which Resolve asked for: the program has an
// answer that holds until then. failed says that it is that no answer could be had.
func (m *Machine) Resolved(now Time, p Parking, until Time, failed bool) {
	m.advance(now)
	m.names.asking--
	t := m.transports[p.Transport]
	if t == nil || t.dests[p.Name] == nil || !t.dests[p.Name].name.asked {
		return
	}
	d := t.dests[p.Name]
	d.name.asked, d.name.failed, d.name.known, d.name.until = false, failed, until > m.now, until
	m.rest(d)
	m.settle(t)
}

// Unresolved is the event that the program of a transport has forgotten its answers:
// it was restarted, or asks other name servers now.
func (m *Machine) Unresolved(now Time, transport string) {
	m.advance(now)
	t := m.transports[transport]
	if t == nil {
		return
	}
	for _, d := range t.dests {
		if d.name.known {
			d.name.until = 0 // found out when it is tried next
		}
	}
}
