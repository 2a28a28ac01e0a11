package sched

import "postrider/lib/mail"

// transport is a line of master.cf.
type transport struct {
	Transport
	name   string
	state  state
	reason mail.Status // why it is down
	retry  timer
	busy   int // deliveries in hand

	dests   map[string]*dest  // by key
	waiting list[dest]        // those that have mail waiting
	rings   [lanes]list[lane] // those that may start one, by lane
	turn    int               // the lane that is next
	ready   node[transport]

	admission uint64 // the Admit that share belongs to
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

func newTransport(name string) *transport {
	t := &transport{name: name, dests: map[string]*dest{}}
	t.retry.trans = t
	t.ready.of = t
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
	m.refuse(t, down, reason)
	m.timers.set(&t.retry, m.now.Add(t.RetryTime))
}

// accept makes t deliver.
func (m *Machine) accept(t *transport) {
	m.timers.clear(&t.retry)
	t.state = up
	m.settle(t)
}

// refuse makes t suspend what it has and gets; s is down or unknown.
func (m *Machine) refuse(t *transport, s state, reason mail.Status) {
	m.timers.clear(&t.retry)
	t.state, t.reason = s, reason
	for t.waiting.first != nil {
		d := t.waiting.first.of
		m.suspendAll(d, reason)
		m.rest(d)
	}
	m.settle(t)
}

// settle makes t ready when it can start a delivery, and else not. It follows
// every change of its state, its busy count or its rings.
func (m *Machine) settle(t *transport) {
	free := t.Slots <= 0 || t.busy < t.Slots
	m.ready.member(&t.ready, t.state == up && free && t.rings[0].n+t.rings[1].n+t.rings[2].n > 0)
}

// take chooses the entry that starts next: the next lane in turn that has any,
// the next destination of its ring, the next lane of that destination. That the
// destination chooses its lane anew matters when its window is narrow: it
// leaves all rings after each start, and one lane could otherwise always come
// first. t must be ready.
func (t *transport) take() *entry {
	for t.rings[t.turn].n == 0 {
		t.turn = (t.turn + 1) % lanes
	}
	d := t.rings[t.turn].rotate().dest
	t.turn = (t.turn + 1) % lanes
	t.busy++
	return d.take()
}
