package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"postrider/lib/sched"
)

// limits are the parameters of both.
type limits struct {
	slots, active, initial, window, perDelivery int
	minBackoff, maxBackoff, queueRun            time.Duration

	scan   sched.Time    // first scan of the deferred queue
	second time.Duration // how far the wall clock is into its second at 0
}

// defaults are Postfix's.
var defaults = limits{slots: 100, active: 20000, initial: 5, window: 20, perDelivery: 50,
	minBackoff: 300 * time.Second, maxBackoff: 4000 * time.Second, queueRun: 300 * time.Second}

// maker makes what is compared.
type maker func(limits) (scheduler, deferredQueue)

// message is one that is not finished.
type message struct {
	id    uint32
	class int
	at    sched.Time
	rank  int      // in incoming
	sites []int32  // of the recipients
	todo  []uint32 // the recipients of this pass, as indices into sites
	again []uint32 // those of them that are deferred
	rest  []uint32 // those that are to be looked at again at once when this pass is over
	sent  []uint32 // delivered
}

// scheduler is what is compared.
type scheduler interface {
	take(now sched.Time, from intake) bool // looks at one more message, if it may
	result(now sched.Time, entry uint64, ok bool)
	next() (action, bool)
	wakeAt() (sched.Time, bool)
	tick(now sched.Time)
}

// intake is where mail comes from.
type intake interface {
	// either returns the next message of the preferred queue, or else of the
	// other, and which it was; nil when there is none.
	either(preferDeferred bool) (m *message, deferred bool)
	// queued returns the next message of one queue, nil when there is none.
	queued(deferred bool) *message
}

// deferredQueue is where mail waits for its next attempt.
type deferredQueue interface {
	put(now sched.Time, m *message)
	lay(m *message)               // it is there at the beginning, and due
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
	began        sched.Time
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
		if b.deferred {
			later.lay(sim.message(b.class, b.sites, b.created))
			continue
		}
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
		s.arrive(st.class, []int32{st.pick(st.chance)}, s.now, 0)
		if next := s.now.Add(st.gap(s.now)); next < st.to {
			s.future.add(next, event{stream: e.stream})
		}
	case e.bulk > 0:
		b := &s.bulk[e.bulk-1]
		s.arrive(b.class, b.sites, cmp.Or(b.created, s.now), b.rank)
	default:
		m := s.messages[e.done.msg]
		if s.watch != nil {
			s.watch(m, e.done.recipients, e.began, s.now, e.ok)
		}
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

// arrive puts a message into incoming, behind those of its rank and less.
func (s *simulation) arrive(class int, sites []int32, created sched.Time, rank int) {
	m := s.message(class, sites, created)
	m.rank = rank
	i := len(s.incoming)
	for i > s.taken && s.incoming[i-1].rank > rank {
		i--
	}
	s.incoming = slices.Insert(s.incoming, i, m)
}

func (s *simulation) message(class int, sites []int32, created sched.Time) *message {
	s.lastID++
	m := &message{id: s.lastID, class: class, at: created, sites: sites, todo: make([]uint32, len(sites))}
	for i := range sites {
		m.todo[i] = uint32(i)
	}
	s.messages[m.id] = m
	s.out.messages++
	s.out.recipients += len(sites)
	return m
}

// feed admits what there is room for and carries out what the scheduler wants,
// until neither gives more.
func (s *simulation) feed() {
	for {
		s.act()
		if !s.take(s.now, s) {
			return
		}
	}
}

func (s *simulation) either(deferred bool) (*message, bool) {
	if m := s.queued(deferred); m != nil {
		return m, deferred
	}
	return s.queued(!deferred), !deferred
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
			took, ok := s.attempt(site, m.id, a.recipients[0], s.now)
			s.future.add(s.now.Add(took), event{done: a, began: s.now, ok: ok})
		case a.suspend:
			m.again = append(m.again, a.recipients...)
		case len(m.rest) > 0:
			m.todo, m.again, m.rest = append(m.again, m.rest...), nil, nil
			s.later.lay(m)
		case len(m.again) == 0:
			delete(s.messages, m.id)
		default:
			m.todo, m.again = m.again, nil
			s.later.put(s.now, m)
		}
	}
}
