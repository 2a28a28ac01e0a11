package sched

import (
	"cmp"
	"slices"

	"postrider/lib/mail"
)

// Stats counts what is in memory.
type Stats struct {
	Messages   int // active
	Recipients int // waiting or in hand
	InHand     int // entries
	Idle       int // destinations without mail that are remembered
}

// Stats returns the present counts.
func (m *Machine) Stats() Stats {
	return Stats{len(m.messages), m.recipients, len(m.inHand), m.idle.n}
}

// Destination is what a listing shows of one.
type Destination struct {
	Transport string
	Name      string // next hop, or user@nexthop
	Window    int    // deliveries it may have in hand
	Busy      int    // entries in hand
	Todo      int    // entries waiting
	Dead      bool
	Until     Time        // when it is dead: the revival
	Reason    mail.Status // when it is dead
}

// Destinations lists every destination that has mail or is remembered, sorted
// by transport and name.
func (m *Machine) Destinations() []Destination {
	var all []Destination
	for _, t := range m.transports {
		for _, d := range t.dests {
			out := Destination{Transport: t.name, Name: d.key, Window: d.window, Busy: d.busy, Todo: d.todo}
			if d.dead {
				out.Dead, out.Until, out.Reason = true, d.revival.at, d.reason
			}
			all = append(all, out)
		}
	}
	slices.SortFunc(all, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Cause is what keeps an entry from being finished.
type Cause uint8

// The causes, the nearest to delivery first.
const (
	InHand    Cause = iota // an agent has it
	ForTurn                // other mail goes first
	ForWindow              // its destination has as many deliveries as its window allows
	ForSlots               // its transport has as many deliveries as maxproc allows
	ForAgent               // its transport is paused
)

func (c Cause) String() string {
	return [...]string{
		"in hand", "waiting for its turn", "waiting for a connection to the destination",
		"waiting for a delivery slot of the transport", "waiting for the delivery agent",
	}[c]
}

// Waiting is why one entry of an active message is still here.
type Waiting struct {
	Transport  string
	NextHop    string
	Recipients []uint32
	Cause      Cause
}

// Why lists the entries of an active message, nothing for any other.
func (m *Machine) Why(id MsgID) []Waiting {
	msg := m.messages[id]
	if msg == nil {
		return nil
	}
	var all []Waiting
	for x := msg.entries.first; x != nil; x = x.next {
		e, d, t := x.of, x.of.dest, x.of.dest.trans
		w := Waiting{t.name, d.nextHop, e.recipients, ForTurn}
		switch {
		case e.id != 0:
			w.Cause = InHand
		case t.state == paused:
			w.Cause = ForAgent
		case d.busy >= d.window:
			w.Cause = ForWindow
		case t.Slots > 0 && t.busy >= t.Slots:
			w.Cause = ForSlots
		}
		all = append(all, w)
	}
	return all
}
