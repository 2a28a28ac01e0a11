package sched

import (
	"fmt"
	"strconv"
)

// Cause is what keeps an entry from being finished.
type Cause uint8

// The causes, the nearest to delivery first.
const (
	InHand    Cause = iota // an agent has it
	ForTurn                // other mail goes first
	ForShare               // destinations without a recent success have all slots they may have
	ForSlots               // its transport has as many deliveries as maxproc allows
	ForPace                // its transport waits for transport_rate_delay
	ForWindow              // its destination has as many deliveries as its window allows
	ForRate                // its destination rests for destination_rate_delay
	ForLimit               // a limit has no room
	ForQueue               // its virtual queue has as many deliveries as its slots allow
	ForOthers              // what slots are free are kept for other virtual queues
	ForAgent               // its transport is paused
	ForName                // the addresses of its destination are being looked up
)

func (c Cause) String() string {
	return [...]string{
		"in hand", "waiting for its turn", "waiting for a delivery slot for unproven destinations",
		"waiting for a delivery slot of the transport", "waiting for the rate delay of the transport",
		"waiting for a connection to the destination", "waiting for the rate delay of the destination",
		"waiting for a limit", "waiting for a slot of its queue", "waiting for a slot that is not kept for other queues",
		"waiting for the delivery agent", "waiting for the addresses of the destination",
	}[c]
}

// Waiting is why one entry of an active message is still here.
type Waiting struct {
	Entry      EntryID // when it is in hand
	Transport  string
	NextHop    string
	Source     string // of the egress, or ""
	Queue      string // virtual queue, "" for the default
	Level      Level
	Recipients []uint32
	Cause      Cause
	Until      Time     // when the cause ends, 0 when that is not known
	Used       int      // of Limit, which is not 0 where the cause is a count
	Limit      int      // deliveries at once
	Setting    string   // "parameter = value" behind the cause, or ""
	Bound      LimitKey // ForLimit: the tightest
	Rates      []Rate   // its, when it is they that have no room
	// Ahead is how many entries of the destination start before it, other lanes
	// having their turns; 0 when it is the next, in hand, or not counted.
	Ahead int
	// The destination's failures without a success since, and when they made it
	// dead first, 0 when they did not: its window is narrow for them.
	Failures int
	Died     Time
}

// String returns the cause with its figures. It leaves Until to the caller, who
// knows how to write a time.
func (w Waiting) String() string {
	s := w.Cause.String()
	if w.Limit > 0 {
		s += fmt.Sprintf(", %d of %d in use", w.Used, w.Limit)
	}
	if w.Setting != "" {
		s += " (" + w.Setting + ")"
	}
	return s
}

// countedAhead is for how many entries of a message Why counts what goes before
// them: each may be a walk through all that waits.
const countedAhead = 16

// Why lists the entries of an active message, nothing for any other.
func (m *Machine) Why(id MsgID) []Waiting {
	msg := m.messages[id]
	if msg == nil {
		return nil
	}
	var all []Waiting
	for x := msg.entries.first; x != nil; x = x.next {
		w := m.why(x.of)
		if len(all) < countedAhead && w.Cause != InHand {
			w.Ahead = x.of.ahead()
		}
		all = append(all, w)
	}
	return all
}

// Causes tells what each entry of an active message waits for, without the figures.
func (m *Machine) Causes(id MsgID, f func(recipients []uint32, c Cause)) {
	if msg := m.messages[id]; msg != nil {
		for x := msg.entries.first; x != nil; x = x.next {
			f(x.of.recipients, m.why(x.of).Cause)
		}
	}
}

// ahead counts what of its flow starts before e while its lane and the others take turns.
func (e *entry) ahead() int {
	n := 0
	for x := e.turn.prev; x != nil; x = x.prev {
		n++
	}
	before := n
	for l := range e.flow.lanes {
		if l != e.lane {
			before += min(e.flow.lanes[l].todo.n, n)
		}
	}
	return before
}

func (m *Machine) why(e *entry) Waiting {
	d, t := e.dest, e.dest.trans
	c := e.flow.bin.tier
	limit, at := e.flow.terms.tightest(m.now)
	w := Waiting{Entry: e.id, Transport: t.name, NextHop: d.nextHop, Source: d.source, Queue: c.queue, Level: c.level, Recipients: e.recipients, Cause: ForTurn, Failures: d.failures, Died: d.died}
	set := func(name, value string) { w.Setting = name + " = " + value }
	switch {
	case e.id != 0:
		w.Cause = InHand
	case t.state == paused:
		w.Cause = ForAgent
	case !d.named():
		w.Cause = ForName
	case limit != nil:
		w.Cause, w.Until, w.Bound = ForLimit, at, LimitKey{limit.rule.name, limit.key}
		if w.Rates = limit.rule.Rates; at == 0 {
			w.Rates, w.Used, w.Limit = nil, limit.busy, limit.rule.Connections
		}
	case d.resting:
		w.Cause, w.Until = ForRate, d.rested
		set(t.name+"_destination_rate_delay", t.DestinationRateDelay.String())
	case d.curbed.in != nil && t.Spares:
		w.Cause, w.Used, w.Limit = ForSlots, t.busy, t.Slots
		set("maxproc of "+t.name, strconv.Itoa(t.Slots))
	case d.curbed.in != nil:
		w.Cause, w.Used, w.Limit = ForShare, t.unprovenBusy, t.unproven()
		set("unproven_destination_share", strconv.Itoa(t.UnprovenShare)+"%")
	case d.busy >= d.window:
		w.Cause, w.Used, w.Limit = ForWindow, d.busy, d.window
		switch {
		case t.DestinationRateDelay > 0:
			set(t.name+"_destination_rate_delay", t.DestinationRateDelay.String())
		case d.window == t.ConcurrencyLimit:
			set(t.name+"_destination_concurrency_limit", strconv.Itoa(t.ConcurrencyLimit))
		}
	case t.paced:
		w.Cause, w.Until = ForPace, t.next
		set(t.name+"_transport_rate_delay", t.TransportRateDelay.String())
	case c.hold.class.full():
		w.Cause, w.Used, w.Limit = ForQueue, c.hold.class.busy, c.hold.class.Slots
	case t.Slots > 0 && t.busy < t.Slots && !c.has():
		w.Cause, w.Used, w.Limit = ForOthers, t.busy, t.Slots
	case t.Slots > 0 && t.busy >= t.Slots:
		w.Cause, w.Used, w.Limit = ForSlots, t.busy, t.Slots
		set("maxproc of "+t.name, strconv.Itoa(t.Slots))
	case t.unproven() > 0 && d.rank != proven && t.unprovenBusy >= t.unproven():
		w.Cause, w.Used, w.Limit = ForShare, t.unprovenBusy, t.unproven()
		set("unproven_destination_share", strconv.Itoa(t.UnprovenShare)+"%")
	}
	return w
}
