package sched

// transport is a line of master.cf.
type transport struct {
	Transport
	name  string
	state state
	paced bool  // by TransportRateDelay
	next  Time  // when paced: the next start
	alarm timer // for next

	busy         int // deliveries in hand
	unprovenBusy int // those for destinations that are not proven

	dests   map[string]*dest  // by key
	waiting list[dest]        // those that have mail waiting
	curbed  list[dest]        // those that may have more slots when they are not short
	base    *tier             // of the default queue
	tiers   map[tierKey]*tier // all, by queue and level
	active  list[tier]        // those that have mail waiting
	vtime   [levels]float64   // by level: the virtual time of the tier that had the last turn
	keep    int               // slots that are kept for each class
	kept    int               // of them, those that are not in use
	ready   node[transport]
	names   *naming // of the Machine

	messages, held int // of messages in the active queue, and their recipients here

	admission uint64 // the Admit that share belongs to
	counted   uint64 // the Admit that counted its message here last
	share     int    // its entries for this transport
}

// state is what may be done with a transport's mail.
type state uint8

const (
	unknown state = iota // no line of master.cf: suspend. It leaves by SetConfig only.
	up                   // deliver
	paused               // let it wait. TransportUp leaves it.
)

func (m *Machine) newTransport(name string) *transport {
	t := &transport{name: name, dests: map[string]*dest{}, tiers: map[tierKey]*tier{}, names: &m.names}
	t.alarm.trans = t
	t.ready.of = t
	t.base = m.newTier(t, tierKey{})
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

// accept makes t deliver.
func (m *Machine) accept(t *transport) {
	t.state = up
	m.watchTransport(t)
	m.settle(t)
}

// refuse makes t, which no line of master.cf has any more, suspend what it has and gets.
func (m *Machine) refuse(t *transport) {
	t.state = unknown
	m.watchTransport(t)
	for t.waiting.first != nil {
		d := t.waiting.first.of
		m.suspendAll(d, unavailable)
		m.rest(d)
	}
	m.settle(t)
}

// settle makes t ready when it can start a delivery, and else not. It follows
// every change of its state, its busy counts, its pace or its rings.
func (m *Machine) settle(t *transport) {
	free := t.Slots <= 0 || t.busy < t.Slots
	m.ready.member(&t.ready, t.state == up && free && !t.paced && t.can())
}

// can says whether one of its tiers may start something.
func (t *transport) can() bool {
	for x := t.active.first; x != nil; x = x.next {
		if x.of.can() {
			return true
		}
	}
	return false
}

// newestTurn says which of the fresh that start while slots are short is the one that
// came last, and not the one that waits longest: each eighth. With more, those that
// wait would be found too late (bench/sim, scenario e).
const newestTurn = 8

// take chooses the entry that starts next: the tier whose turn it is (pick), its next
// rank in turn that may start any, the next lane of that, the next destination of its
// ring, the next lane of what that has of the tier, and there the next flow. That the
// destination chooses its lane anew matters when its window is narrow: it leaves all rings
// after each start, and one lane could otherwise always come first. t must be ready; take
// may find that it was not, and then returns nil and has taken something out of its rings.
func (m *Machine) take(t *transport) *entry {
	c := m.pick(t)
	if c == nil {
		return nil
	}
	for !c.rankCan(c.rank) {
		c.rank = (c.rank + 1) % ranks
	}
	r := c.rank
	for c.rings[r][c.turn[r]].n == 0 {
		c.turn[r] = (c.turn[r] + 1) % lanes
	}
	ring := &c.rings[r][c.turn[r]]
	b := ring.first.of.bin
	if r == fresh && ring.n > 1 && t.short(b.dest) {
		if c.starts++; c.starts%newestTurn == 0 {
			b = ring.last.of.bin
		}
	}
	if m.nameless(b.dest) || !m.mayStart(b.dest) {
		return nil
	}
	if ring.first.of.bin == b {
		ring.rotate()
	}
	c.turn[r] = (c.turn[r] + 1) % lanes
	c.rank = (r + 1) % ranks
	e := m.next(b)
	if e != nil {
		m.turned(t, c)
	}
	return e
}
