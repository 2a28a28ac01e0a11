package main

import (
	"math/rand/v2"
	"strconv"

	"postrider/lib/sched"
)

// ours is lib/sched with the defaults of Postfix and its own, and what qmgr does
// for it: mail whose destinations are full is parked, and nobody waits behind it.
type ours struct {
	m     *sched.Machine
	names []string
	rs    []sched.Recipient
	now   sched.Time
	from  intake

	intake sched.Intake

	parked map[sched.Parking][]*message
	sliced map[uint32]*message // those of which more is to be admitted
}

const transport = "smtp"

func newOurs(seed uint64) maker {
	return func(l limits) (scheduler, deferredQueue) {
		one, _ := sched.ParseFeedback("1")
		r := sched.Retry{MinBackoff: l.minBackoff, MaxBackoff: l.maxBackoff, Seed: seed}
		return &ours{parked: map[sched.Parking][]*message{}, sliced: map[uint32]*message{}, m: sched.New(sched.Config{ActiveLimit: l.active, RecipientLimit: max(l.active, recipientLimit), Retry: r,
			Transports: map[string]sched.Transport{transport: {Slots: l.slots, InitialConcurrency: l.initial,
				ConcurrencyLimit: l.window, RecipientLimit: l.perDelivery, PositiveFeedback: one, NegativeFeedback: one,
				CohortLimit: 1, UnprovenShare: 50}}})}, &byTime{retry: r}
	}
}

// take looks at one message, whose turn it is by the rule of qmgr.
func (o *ours) take(now sched.Time, from intake) bool {
	o.now, o.from = now, from
	return o.intake.Look(o)
}

// Parked looks at what was parked (sched.Queues).
func (o *ours) Parked() bool {
	key, ok := o.m.Unpark()
	if !ok {
		return false
	}
	m := o.parked[key][0]
	if o.parked[key] = o.parked[key][1:]; len(o.parked[key]) == 0 {
		delete(o.parked, key)
	}
	o.m.Unparked(key, 1)
	o.consider(o.now, m, key)
	return true
}

// Next looks at what is new or due (sched.Queues).
func (o *ours) Next(queue sched.Source) bool {
	m := o.from.queued(queue == sched.Deferred)
	if m != nil {
		o.consider(o.now, m, sched.Parking{})
	}
	return m != nil
}

// consider admits a message, or parks it when all its destinations are full; it
// was the first of the list from, if that is one. Recipients whose destination is
// full wait for the message's next pass.
func (o *ours) consider(now sched.Time, m *message, from sched.Parking) {
	todo := m.todo[:0]
	var first sched.Recipient
	for i, r := range m.todo {
		if i >= o.m.Slice() { // of a large message only so many are looked at
			todo = append(todo, m.todo[i:]...)
			break
		}
		to := o.recipient(m, r)
		if !o.m.FullFor(to, from) {
			todo = append(todo, r)
		} else if m.rest = append(m.rest, r); len(m.rest) == 1 {
			first = to
		}
	}
	if len(todo) == 0 {
		m.todo, m.rest = m.rest, nil
		key := o.m.Parking(first)
		o.parked[key] = append(o.parked[key], m)
		o.m.Park(now, key, first)
		return
	}
	m.todo = todo
	o.admit(now, m)
}

func (o *ours) recipient(m *message, r uint32) sched.Recipient {
	site := int(m.sites[r])
	for site >= len(o.names) {
		o.names = append(o.names, "site"+strconv.Itoa(len(o.names))+".example")
	}
	return sched.Recipient{Index: r, Transport: transport, NextHop: o.names[site]}
}

// admit gives a large message in slices.
func (o *ours) admit(now sched.Time, m *message) {
	o.now, o.rs = now, o.rs[:0]
	todo := m.todo[:min(o.m.Slice(), len(m.todo))]
	if m.todo = m.todo[len(todo):]; len(m.todo) > 0 {
		o.sliced[m.id] = m
	} else {
		delete(o.sliced, m.id)
	}
	for _, r := range todo {
		o.rs = append(o.rs, o.recipient(m, r))
	}
	o.m.Admit(now, sched.Message{ID: sched.MsgID(m.id), Recipients: o.rs, More: len(m.todo) > 0})
}

func (o *ours) result(now sched.Time, entry uint64, ok bool) {
	o.now = now
	o.m.Result(now, sched.EntryID(entry), sched.HopResult{OK: ok})
}

func (o *ours) next() (action, bool) {
	a, ok := o.m.Next()
	if a.Kind == sched.Refill {
		o.admit(o.now, o.sliced[uint32(a.Msg)])
		return o.next()
	}
	return action{entry: uint64(a.Entry), msg: uint32(a.Msg), recipients: a.Recipients, suspend: a.Kind == sched.Suspend}, ok
}

func (o *ours) wakeAt() (sched.Time, bool) { return o.m.WakeAt() }
func (o *ours) tick(now sched.Time)        { o.now = now; o.m.Tick(now) }

// byTime is our deferred mail: each message is due at its time.
type byTime struct {
	retry  sched.Retry
	future future[*message]
}

func (q *byTime) put(now sched.Time, m *message) {
	q.future.add(q.retry.Next(m.at, now, uint64(m.id)), m)
}

func (q *byTime) next(now sched.Time) *message {
	if at, ok := q.future.first(); !ok || at > now {
		return nil
	}
	return q.future.take()
}

func (q *byTime) lay(m *message) { q.future.add(0, m) }

// wakeAt returns when mail becomes due. What is due already waits for room, and
// room comes with an event.
func (q *byTime) wakeAt(now sched.Time) (sched.Time, bool) {
	at, ok := q.future.first()
	return at, ok && at > now
}

func newChance(seed uint64, stream int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(stream)))
}
