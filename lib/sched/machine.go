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
	recipients int // of all messages: waiting or in hand

	ready       list[transport] // transports that can start a delivery now
	parkers     list[tier]      // those with parked mail
	parkedFlows int
	lists       map[Parking]*flow // those with parked mail
	names       naming
	parkSeq     uint64
	timers      timers
	idle        list[dest] // destinations without mail, longest unused first
	keep        int        // how many idle destinations are remembered
	out         outbox

	changes   uint64 // see Changes
	admission uint64 // number of the Admit that runs
	groups    []place

	classes    map[string]*class // virtual queues; the default is ""
	rules      map[string]*rule
	limits     map[keyOf]*limit
	idleLimits list[limit] // that nothing refers to, but that remember something
	slack      list[limit] // that may have room, and something waits for them
	starts     uint64      // of deliveries under limits
	woken      int         // flows that a limit let go on
	terms      map[string]*terms
	windows    map[string]*window
	sources    map[string]*source
	pools      map[string]*pool
	bins       []*bin // spare
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
		rules:      map[string]*rule{},
		limits:     map[keyOf]*limit{},
		terms:      map[string]*terms{},
		windows:    map[string]*window{},
		sources:    map[string]*source{},
		lists:      map[Parking]*flow{},
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
	m.setQueues()
	m.setWindows()
	m.setLimits()
	m.setSources()
	for _, name := range slices.Sorted(maps.Keys(cfg.Transports)) {
		c, t := cfg.Transports[name], m.transports[name]
		if t == nil {
			t = m.newTransport(name)
			m.transports[name] = t
		}
		if t.state == unknown {
			t.state = up
		}
		shared := t.unproven() > 0
		t.Transport = c
		m.reserve(t)
		m.retime(t)
		for _, key := range slices.Sorted(maps.Keys(t.dests)) {
			d := t.dests[key]
			d.window = c.clamp(d.window)
			if shared != (c.unproven() > 0) {
				d.leaveRings()
			}
			d.curbed.leave() // its next turn tells anew
			d.settle()
		}
		m.settle(t)
	}
	for _, name := range slices.Sorted(maps.Keys(m.transports)) {
		if _, ok := cfg.Transports[name]; !ok {
			m.refuse(m.transports[name])
		}
	}
}

// unavailable is why mail for a transport that no line of master.cf names
// is deferred; the text is Postfix's.
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
// Paused transports stay paused, and rate delays and limits hold.
func (m *Machine) Flush(now Time) {
	m.advance(now)
	for _, t := range slices.Clone(m.timers) {
		if t.place > 0 && t.msg == nil && t.limit == nil { // not forgotten meanwhile
			m.wake(t, true)
		}
	}
}

// wake revives the dead destination or tries the unavailable transport that t
// belongs to, or ends the wait for a rate delay if that is over. On the timer's word a dead
// destination gets one probe, from which its window grows; on the operator's its
// initial concurrency.
func (m *Machine) wake(t *timer, flush bool) {
	d := t.dest
	switch {
	case t.msg != nil:
		m.alarmed(t.msg)
		return
	case t.limit != nil:
		m.wakeLimit(t.limit)
		return
	case d == nil:
		m.watchTransport(t.trans)
		m.settle(t.trans)
		return
	case !d.dead:
		m.watch(d)
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
	if a, ok := m.resolve(); ok {
		return a, true
	}
	var e *entry
	for e == nil {
		t := m.ready.rotate()
		if t == nil && m.loosen() {
			continue
		}
		if t == nil {
			if a, ok := m.out.take(); ok { // take may have found that a window is shut
				return a, true
			}
			return m.resolve() // or that a name is out of date
		}
		e = m.take(t)
		m.settle(t)
	}
	t := e.dest.trans
	m.lastEntry++
	e.id = m.lastEntry
	m.inHand[e.id] = e
	return Action{Kind: Deliver, Entry: e.id, Msg: e.msg.id, Transport: t.name,
		NextHop: e.dest.nextHop, Source: e.dest.source, Recipients: e.recipients}, true
}
