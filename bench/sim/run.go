package main

import (
	"maps"
	"slices"

	"postrider/lib/sched"
)

// The limits of both: Postfix's defaults.
const (
	slots       = 100
	activeLimit = 20000
	initial     = 5
	windowLimit = 20
	perDelivery = 50
)

// message is one that is not finished.
type message struct {
	id    uint32
	class int
	at    sched.Time
	sites []int32  // of the recipients
	todo  []uint32 // the recipients of this pass, as indices into sites
	again []uint32 // those of them that are deferred
	sent  []uint32 // delivered
}

// scheduler is what is compared.
type scheduler interface {
	room() bool
	preferDeferred() bool
	admit(now sched.Time, m *message, deferred bool)
	result(now sched.Time, entry uint64, ok bool)
	next() (action, bool)
	wakeAt() (sched.Time, bool)
	tick(now sched.Time)
}

// deferredQueue is where mail waits for its next attempt.
type deferredQueue interface {
	put(now sched.Time, m *message)
	next(now sched.Time) *message // one that may be tried, nil when there is none
	wakeAt(now sched.Time) (sched.Time, bool)
}

// action is what a scheduler wants.
type action struct {
	entry      uint64 // not 0: start this delivery
	msg        uint32
	recipients []uint32
	suspend    bool // defer them without an attempt; neither: the pass of msg is over
}

// event is something to come: a message of a stream, a bulk, the end of a
// delivery.
type event struct {
	stream, bulk int // index plus one
	done         action
	ok           bool
}

type simulation struct {
	*world
	scheduler
	later    deferredQueue
	now      sched.Time
	future   future[event]
	incoming []*message
	taken    int // of incoming
	messages map[uint32]*message
	lastID   uint32
	out      *result
}

// simulate plays a world to its end.
func simulate(w *world, s scheduler, later deferredQueue) *result {
	sim := &simulation{world: w, scheduler: s, later: later, messages: map[uint32]*message{}, out: newResult(w)}
	for i := range w.streams {
		st := &w.streams[i]
		*st.chance = *newChance(w.seed, i) // the same for each scheduler
		sim.future.add(sched.Time(st.gap(0)), event{stream: i + 1})
	}
	for i, b := range w.bulk {
		sim.future.add(b.at, event{bulk: i + 1})
	}
	for sim.advance() {
		sim.feed()
	}
	for _, id := range slices.Sorted(maps.Keys(sim.messages)) {
		m := sim.messages[id]
		sent := make([]bool, len(m.sites))
		for _, r := range m.sent {
			sent[r] = true
		}
		for r := range m.sites {
			if !sent[r] {
				sim.out.left(m, uint32(r), w)
			}
		}
	}
	return sim.out
}

// advance goes to the next moment at which something happens, and lets it.
func (s *simulation) advance() bool {
	at, ok := s.future.first()
	own := ok
	if t, any := s.scheduler.wakeAt(); any && (!ok || t < at) {
		at, ok, own = t, true, false
	}
	if t, any := s.later.wakeAt(s.now); any && (!ok || t < at) {
		at, ok, own = t, true, false
	}
	if !ok || at > s.end {
		return false
	}
	s.now = max(s.now, at)
	if !own {
		s.tick(s.now)
		return true
	}
	switch e := s.future.take(); {
	case e.stream > 0:
		st := &s.streams[e.stream-1]
		s.arrive(st.class, []int32{st.pick(st.chance)})
		if next := s.now.Add(st.gap(s.now)); next < st.to {
			s.future.add(next, event{stream: e.stream})
		}
	case e.bulk > 0:
		s.arrive(s.bulk[e.bulk-1].class, s.bulk[e.bulk-1].sites)
	default:
		m := s.messages[e.done.msg]
		if e.ok {
			for _, r := range e.done.recipients {
				s.out.delivered(m, r, s.now, s.world)
			}
			m.sent = append(m.sent, e.done.recipients...)
		} else {
			s.out.wasted[m.class]++
			m.again = append(m.again, e.done.recipients...)
		}
		s.result(s.now, e.done.entry, e.ok)
	}
	return true
}

func (s *simulation) arrive(class int, sites []int32) {
	s.lastID++
	m := &message{id: s.lastID, class: class, at: s.now, sites: sites, todo: make([]uint32, len(sites))}
	for i := range sites {
		m.todo[i] = uint32(i)
	}
	s.messages[m.id] = m
	s.incoming = append(s.incoming, m)
	s.out.messages++
	s.out.recipients += len(sites)
}

// feed admits what there is room for and carries out what the scheduler wants,
// until neither gives more.
func (s *simulation) feed() {
	for {
		s.act()
		if !s.room() {
			return
		}
		deferred := s.preferDeferred()
		m := s.queued(deferred)
		if m == nil {
			deferred = !deferred
			m = s.queued(deferred)
		}
		if m == nil {
			return
		}
		s.admit(s.now, m, deferred)
	}
}

func (s *simulation) queued(deferred bool) *message {
	if deferred {
		return s.later.next(s.now)
	}
	if s.taken == len(s.incoming) {
		s.incoming, s.taken = s.incoming[:0], 0
		return nil
	}
	m := s.incoming[s.taken]
	s.incoming[s.taken] = nil
	s.taken++
	return m
}

func (s *simulation) act() {
	for a, ok := s.next(); ok; a, ok = s.next() {
		m := s.messages[a.msg]
		switch {
		case a.entry != 0:
			site := m.sites[a.recipients[0]]
			took, ok := s.attempt(site, m.id+a.recipients[0]<<12, s.now)
			s.future.add(s.now.Add(took), event{done: a, ok: ok})
		case a.suspend:
			m.again = append(m.again, a.recipients...)
		case len(m.again) == 0:
			delete(s.messages, m.id)
		default:
			m.todo, m.again = m.again, nil
			s.later.put(s.now, m)
		}
	}
}
