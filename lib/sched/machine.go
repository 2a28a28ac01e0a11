package sched

import (
	"maps"
	"slices"

	"postrider/lib/mail"
)

// Machine is the scheduler. New makes one. Events are its methods that take the
// time; after one or more events the caller takes every action from Next, and
// sets its clock by WakeAt. Events may come between two calls of Next.
type Machine struct {
	cfg        Config
	now        Time
	transports map[string]*transport
	messages   map[MsgID]*message
	inHand     map[EntryID]*entry
	lastEntry  EntryID
	recipients int    // of all messages: waiting or in hand
	prefer     Source // the queue that gives the next message

	ready  list[transport] // transports that can start a delivery now
	timers timers
	idle   list[dest] // destinations without mail, longest unused first
	keep   int        // how many idle destinations are remembered
	out    outbox

	admission uint64 // number of the Admit that runs
	groups    []place
}

// maxIdle bounds the idle destinations whose windows and deaths are remembered:
// about 10 MB.
const maxIdle = 20000

// New returns a Machine without mail whose transports are all up.
func New(cfg Config) *Machine {
	m := &Machine{
		transports: map[string]*transport{},
		messages:   map[MsgID]*message{},
		inHand:     map[EntryID]*entry{},
		keep:       maxIdle,
	}
	m.SetConfig(0, cfg)
	return m
}

// SetConfig is the event of a reload. Limits hold for every start from now on;
// what is in hand beyond a new limit is not interrupted. Entries keep the
// recipients they were made with. Waiting mail of a transport that is gone is
// suspended; a transport that is new is up.
func (m *Machine) SetConfig(now Time, cfg Config) {
	m.advance(now)
	cfg.RecipientLimit = max(cfg.RecipientLimit, cfg.ActiveLimit)
	m.cfg = cfg
	for _, name := range slices.Sorted(maps.Keys(cfg.Transports)) {
		c, t := cfg.Transports[name], m.transports[name]
		if t == nil {
			t = newTransport(name)
			m.transports[name] = t
		}
		if t.state == unknown {
			t.state = up
		}
		t.Transport = c
		for _, d := range t.dests {
			d.window = c.clamp(d.window)
			d.settle()
		}
		m.settle(t)
	}
	for _, name := range slices.Sorted(maps.Keys(m.transports)) {
		if _, ok := cfg.Transports[name]; !ok {
			m.refuse(m.transports[name], unknown, unavailable)
		}
	}
}

// unavailable is why mail for a transport that no line of master.cf names, or
// that is down, is deferred; the text is Postfix's.
var unavailable = mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "mail transport unavailable"}

// Tick is the event that only time has passed, to be sent when WakeAt comes.
func (m *Machine) Tick(now Time) { m.advance(now) }

// WakeAt returns when the next Tick is due, or false when nothing waits for
// time to pass.
func (m *Machine) WakeAt() (Time, bool) {
	if len(m.timers) == 0 {
		return 0, false
	}
	return m.timers[0].at, true
}

// advance moves the clock, never back, and wakes what is due. Every event
// begins with it.
func (m *Machine) advance(now Time) {
	m.now = max(m.now, now)
	for len(m.timers) > 0 && m.timers[0].at <= m.now {
		m.wake(m.timers[0], false)
	}
}

// Flush is the operator's word that all is well: every dead destination starts
// anew with its initial concurrency and every unavailable transport is tried.
// Paused transports stay paused.
func (m *Machine) Flush(now Time) {
	m.advance(now)
	for len(m.timers) > 0 {
		m.wake(m.timers[0], true)
	}
}

// wake revives the dead destination or tries the unavailable transport that t
// belongs to. On the timer's word a destination gets one probe, from which its
// window grows; on the operator's its initial concurrency.
func (m *Machine) wake(t *timer, flush bool) {
	d := t.dest
	switch {
	case d == nil:
		m.accept(t.trans)
		return
	case flush:
		m.revive(d, d.trans.initial())
	default:
		m.revive(d, 1)
	}
	m.rest(d)
	m.settle(d.trans)
}

// Next returns the next action, or false when there is nothing more to do
// until the next event. A delivery is chosen only when it is asked for here,
// so an event between two calls still counts for it. Suspend and MessageDone are
// decided by the event before: they may come after a later Withdraw, whose word
// then is the one that counts.
func (m *Machine) Next() (Action, bool) {
	if a, ok := m.out.take(); ok {
		return a, true
	}
	t := m.ready.rotate()
	if t == nil {
		return Action{}, false
	}
	e := t.take()
	m.settle(t)
	m.lastEntry++
	e.id = m.lastEntry
	m.inHand[e.id] = e
	return Action{Kind: Deliver, Entry: e.id, Msg: e.msg.id, Transport: t.name,
		NextHop: e.dest.nextHop, Recipients: e.recipients}, true
}

// HopResult says how a delivery went as a whole. What became of each recipient
// is the caller's business.
type HopResult struct {
	// OK: the hop answered for itself, even when it refused every recipient.
	// Not OK: it could not be reached or used (connection, greeting, HELO,
	// STARTTLS, lost connection), or the agent died with the delivery in hand.
	OK     bool
	Reason mail.Status // when not OK
}

// Result is the event that an entry in hand has ended. An entry that is not in
// hand is ignored.
func (m *Machine) Result(now Time, id EntryID, r HopResult) {
	m.advance(now)
	e := m.inHand[id]
	if e == nil {
		return
	}
	if r.OK {
		m.succeeded(e.dest)
	} else {
		m.failed(e.dest, r.Reason)
	}
	m.letGo(e)
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
		d.lanes[e.lane].todo.pushFirst(&e.turn)
		d.todo++
	}
	m.letGo(e)
	e.id = 0
	switch {
	case e.withdrawn:
		m.end(e)
	case t.state == down || t.state == unknown:
		m.suspendAll(d, t.reason)
	case d.dead:
		m.suspendAll(d, d.reason)
	default:
		return
	}
	m.rest(d)
}

// letGo frees the slot and the connection of an entry in hand.
func (m *Machine) letGo(e *entry) {
	delete(m.inHand, e.id)
	e.dest.busy--
	e.dest.trans.busy--
	m.rest(e.dest)
	m.settle(e.dest.trans)
}

// Withdraw is the event that an operator deleted or held a message, or that
// another message replaced it: what waits is dropped without an action. It
// returns how many recipients are still in hand; their results are expected,
// and MessageDone after the last of them, or at once when there is none. It
// returns 0 for a message that is not active.
func (m *Machine) Withdraw(now Time, id MsgID) (inHand int) {
	m.advance(now)
	msg := m.messages[id]
	if msg == nil {
		return 0
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
	for l := range d.lanes {
		for d.lanes[l].todo.first != nil {
			e := d.lanes[l].todo.first.of
			m.drop(e)
			m.out.put(Action{Kind: Suspend, Msg: e.msg.id, Transport: d.trans.name,
				NextHop: d.nextHop, Recipients: e.recipients, Reason: reason})
			m.end(e)
		}
	}
}

// drop takes a waiting entry out of its destination.
func (m *Machine) drop(e *entry) {
	e.turn.leave()
	e.dest.todo--
	e.dest.settle()
}

// end takes an entry that neither waits nor runs out of its message, and ends
// the message with its last one.
func (m *Machine) end(e *entry) {
	m.recipients -= len(e.recipients)
	e.place.leave()
	m.finish(e.msg)
}

// finish ends a message that has no entry left.
func (m *Machine) finish(msg *message) {
	if msg.entries.n == 0 {
		delete(m.messages, msg.id)
		m.out.put(Action{Kind: MessageDone, Msg: msg.id})
	}
}
