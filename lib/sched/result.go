package sched

import "postrider/lib/mail"

// HopResult says how a delivery went as a whole. What became of each recipient
// is the caller's business.
type HopResult struct {
	// OK: the hop answered for itself, even when it refused every recipient.
	// Not OK: it could not be reached or used (connection, greeting, HELO,
	// STARTTLS, lost connection).
	OK     bool
	Reason mail.Status // when not OK
	// Unknown: the agent died with the delivery in hand, which says nothing of
	// the hop. OK and Reason do not count then.
	Unknown bool
	// Unmade, with Unknown: no delivery was made at all, so that it counts for no rate.
	Unmade bool
}

// Result is the event that an entry in hand has ended. An entry that is not in
// hand is ignored.
func (m *Machine) Result(now Time, id EntryID, r HopResult) {
	m.advance(now)
	e := m.inHand[id]
	if e == nil {
		return
	}
	e.dest.tried = e.dest.tried || !r.Unknown
	switch {
	case r.Unknown:
	case r.OK:
		m.succeeded(e.dest)
	default:
		m.failed(e.dest, r.Reason)
	}
	m.relax(e.dest)
	m.letGo(e, !r.Unmade)
	m.end(e)
}

// Return is the event that an entry in hand was never tried: its agent could
// not be had, or gave it back. It waits again, first in its lane, unless it was
// withdrawn, its destination died or its transport went down meanwhile. It says
// nothing about the hop. An entry that is not in hand is ignored.
func (m *Machine) Return(now Time, id EntryID) {
	m.advance(now)
	e := m.inHand[id]
	if e == nil {
		return
	}
	d, t := e.dest, e.dest.trans
	if !e.withdrawn {
		e.flow.lanes[e.lane].todo.pushFirst(&e.turn)
		m.waiting(e, 1)
	}
	m.letGo(e, false)
	e.id = 0
	switch {
	case e.withdrawn:
		m.end(e)
	case t.state == unknown:
		m.suspendAll(d, unavailable)
	case d.dead:
		m.suspendAll(d, d.reason)
	default:
		return
	}
	m.rest(d)
}

// letGo frees the slot and the connection of an entry in hand. made says that it was
// tried, and so counts for the rates of its limits.
func (m *Machine) letGo(e *entry, made bool) {
	delete(m.inHand, e.id)
	e.dest.busy--
	e.dest.trans.busy--
	m.hold(e.flow.bin.tier, -1)
	if e.dest.rank != proven {
		e.dest.trans.unprovenBusy--
	}
	e.dest.trans.uncurb()
	m.rest(e.dest)
	m.settle(e.dest.trans)
	m.ended(e, made)
}

// Withdraw is the event that an operator deleted or held a message, or that
// another message replaced it: what waits is dropped without an action, and a
// Refill that was asked for is not to be answered. It
// returns how many recipients are still in hand; their results are expected,
// and MessageDone after the last of them, or at once when there is none. It
// returns 0 for a message that is not active.
func (m *Machine) Withdraw(now Time, id MsgID) (inHand int) {
	m.advance(now)
	msg := m.messages[id]
	if msg == nil {
		return 0
	}
	if msg.more = false; msg.entries.n == 0 {
		m.finish(msg)
	}
	var next *node[entry]
	for x := msg.entries.first; x != nil; x = next {
		next = x.next
		if e := x.of; e.id != 0 {
			e.withdrawn = true
			inHand += len(e.recipients)
		} else {
			m.drop(e)
			m.rest(e.dest)
			m.settle(e.dest.trans)
			m.end(e)
		}
	}
	return inHand
}

// suspendAll gives back everything that waits for d.
func (m *Machine) suspendAll(d *dest, reason mail.Status) {
	var next *bin
	for b := d.bins; b != nil && d.todo > 0; b = next {
		next = b.next
		m.suspendFlow(&b.own, reason)
		if len(b.more) > 0 {
			for _, f := range b.sorted() {
				m.suspendFlow(f, reason)
			}
		}
	}
}

func (m *Machine) suspendFlow(f *flow, reason mail.Status) {
	if f.todo == 0 {
		return
	}
	d := f.bin.dest
	for l := range f.lanes {
		for f.lanes[l].todo.first != nil {
			e := f.lanes[l].todo.first.of
			m.drop(e)
			m.out.put(Action{Kind: Suspend, Msg: e.msg.id, Transport: d.trans.name,
				NextHop: d.nextHop, Recipients: e.recipients, Reason: reason, Remembered: d.dead && d.remembered})
			m.end(e)
		}
	}
}

// drop takes a waiting entry out of its destination.
func (m *Machine) drop(e *entry) {
	e.turn.leave()
	f := e.flow
	if m.waiting(e, -1); f.todo == 0 && f.waits.in != nil {
		f.waits.leave()
		if f.bound.waiting.n == 0 {
			m.timers.clear(&f.bound.alarm)
		}
	}
}

// end takes an entry that neither waits nor runs out of its message, and ends
// the message with its last one.
func (m *Machine) end(e *entry) {
	m.leave(e)
	m.finish(e.msg)
}

// leave takes an entry that neither waits nor runs out of its message.
func (m *Machine) leave(e *entry) {
	m.recipients -= len(e.recipients)
	e.msg.open -= len(e.recipients)
	e.count(-1)
	e.place.leave()
	m.tidy(e.flow)
}

// finish ends a message that has no entry left, or asks for more of it.
func (m *Machine) finish(msg *message) {
	switch {
	case msg.more:
		if !msg.asked && msg.open <= m.Slice()/2 {
			msg.asked = true
			m.out.put(Action{Kind: Refill, Msg: msg.id})
		}
	case msg.entries.n == 0:
		delete(m.messages, msg.id)
		m.timers.clear(&msg.alarm)
		m.out.put(Action{Kind: MessageDone, Msg: msg.id})
	}
}
