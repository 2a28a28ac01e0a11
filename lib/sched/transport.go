package sched

import "postrider/lib/mail"

// transport is a line of master.cf.
type transport struct {
	Transport
	name   string
	state  state
	reason mail.Status // why it is down
	retry  Time        // when it is down: the next trial
	paced  bool        // by TransportRateDelay
	next   Time        // when paced: the next start
	alarm  timer       // for retry when it is down, else for next

	busy         int // deliveries in hand
	unprovenBusy int // those for destinations that are not proven

	dests   map[string]*dest         // by key
	waiting list[dest]               // those that have mail waiting
	curbed  list[dest]               // those that may have more slots when they are not short
	rings   [ranks][lanes]list[lane] // those that may start one, by rank and lane
	rank    rank                     // the rank that is next
	turn    [ranks]int               // the lane of each that is next
	starts  uint64                   // of the fresh while slots were short
	ready   node[transport]
	names   *naming // of the Machine

	messages, held int                 // of messages in the active queue, and their recipients here
	parked         [ranks + 1]parkHeap // destinations with parked mail, by rank, and the dead
	others         int                 // parked messages in the list without a name
	park           int                 // whose turn it is to give one
	parker         node[transport]     // while anything of it is parked

	admission uint64 // the Admit that share belongs to
	counted   uint64 // the Admit that counted its message here last
	share     int    // its entries for this transport
}

// state is what may be done with a transport's mail.
type state uint8

const (
	unknown state = iota // no line of master.cf: suspend. It leaves by SetConfig only.
	up                   // deliver
	paused               // let it wait. TransportUp and TransportDown leave it.
	down                 // suspend. TransportUp, TransportPause, a flush and RetryTime leave it.
)

func (m *Machine) newTransport(name string) *transport {
	t := &transport{name: name, dests: map[string]*dest{}, names: &m.names}
	t.alarm.trans = t
	t.ready.of, t.parker.of = t, t
	return t
}

// TransportUp is the event that a transport's agent is there.
func (m *Machine) TransportUp(now Time, name string) {
	m.advance(now)
	if t := m.transports[name]; t != nil && t.state != unknown {
		m.accept(t)
	}
}

// TransportPause is the event that a transport's agent will be there soon: it
// is being started, or has not said yet what it has in hand. Its mail waits
// and uses up no attempt.
func (m *Machine) TransportPause(now Time, name string) {
	m.advance(now)
	if t := m.transports[name]; t != nil && t.state != unknown {
		m.accept(t)
		t.state = paused
		m.settle(t)
	}
}

// TransportDown is the event that a transport's agent cannot be had. Its
// waiting mail, and what comes for it, is suspended with reason until RetryTime
// has passed, a flush, or TransportUp. What is in hand still needs a Result. A
// reason without a text is Postfix's "mail transport unavailable".
func (m *Machine) TransportDown(now Time, name string, reason mail.Status) {
	m.advance(now)
	t := m.transports[name]
	if t == nil || t.state == unknown {
		return
	}
	if reason.Text == "" {
		reason = unavailable
	}
	reason.Class = mail.Deferred
	t.retry = m.now.Add(t.RetryTime)
	m.refuse(t, down, reason)
}

// accept makes t deliver.
func (m *Machine) accept(t *transport) {
	t.state = up
	m.watchTransport(t)
	m.settle(t)
}

// refuse makes t suspend what it has and gets; s is down or unknown.
func (m *Machine) refuse(t *transport, s state, reason mail.Status) {
	t.state, t.reason = s, reason
	m.watchTransport(t)
	for t.waiting.first != nil {
		d := t.waiting.first.of
		m.suspendAll(d, reason)
		m.rest(d)
	}
	m.settle(t)
}

// settle makes t ready when it can start a delivery, and else not. It follows
// every change of its state, its busy counts, its pace or its rings.
func (m *Machine) settle(t *transport) {
	free := t.Slots <= 0 || t.busy < t.Slots
	m.ready.member(&t.ready, t.state == up && free && !t.paced && (t.can(proven) || t.can(fresh) || t.can(failing)))
}

// newestTurn says which of the fresh that start while slots are short is the one that
// came last, and not the one that waits longest: each eighth. With more, those that
// wait would be found too late (bench/sim, scenario e).
const newestTurn = 8

// take chooses the entry that starts next: the next rank in turn that may start
// any, the next lane of it, the next destination of its ring, the next lane of
// that destination. That the destination chooses its lane anew matters when its
// window is narrow: it leaves all rings after each start, and one lane could
// otherwise always come first. t must be ready; take may find that it was not,
// and then returns nil and has taken a destination out of its rings.
func (m *Machine) take(t *transport) *entry {
	for !t.can(t.rank) {
		t.rank = (t.rank + 1) % ranks
	}
	r := t.rank
	for t.rings[r][t.turn[r]].n == 0 {
		t.turn[r] = (t.turn[r] + 1) % lanes
	}
	ring := &t.rings[r][t.turn[r]]
	d := ring.first.of.dest
	if r == fresh && ring.n > 1 && t.short(d) {
		if t.starts++; t.starts%newestTurn == 0 {
			d = ring.last.of.dest
		}
	}
	if m.nameless(d) || !m.mayStart(d) {
		return nil
	}
	if ring.first.of.dest == d {
		ring.rotate()
	}
	t.turn[r] = (t.turn[r] + 1) % lanes
	t.rank = (r + 1) % ranks
	t.busy++
	if d.rank != proven {
		t.unprovenBusy++
	}
	m.pace(t)
	return d.take()
}
