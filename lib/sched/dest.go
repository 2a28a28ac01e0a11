package sched

import (
	"strings"

	"postrider/lib/mail"
)

// lanes is how many sizes of messages take turns.
const lanes = 3

// laneOf returns the lane of a message with so many entries in a transport.
func laneOf(entries int) int {
	switch {
	case entries <= 10:
		return 0
	case entries <= 100:
		return 1
	}
	return 2
}

// dest is a destination: a queue of a transport in Postfix's words.
//
// It is in its transport's rings exactly while open (settle), in its
// transport's waiting list while todo > 0, and in the machine's idle list while
// it has neither mail waiting nor in hand and does not rest (rest).
type dest struct {
	trans   *transport
	key     string
	nextHop string

	source  string // the name of the egress source, or ""
	bins    *bin   // by tier, those that have anything
	todo    int    // entries waiting
	busy    int    // entries in hand
	waiting node[dest]
	idle    node[dest]
	curbed  node[dest] // unproven, and waiting until slots are not short

	rank  rank
	until Time // how long rank holds; fresh holds for ever

	window           int // how many may be in hand; kept while dead
	success, failure float64
	cohorts          float64 // failures without a success, in windows
	failures         int     // without a success since
	died             Time    // when that made it dead first; 0: it did not
	remembered       bool    // it is dead, and was not tried since a restart
	dead             bool
	reason           mail.Status // why it is dead, as its mail is told
	revival          Time        // when it is dead: of its probe
	resting          bool        // by DestinationRateDelay
	rested           Time        // when resting: the end of it
	name             nameState
	alarm            timer  // for revival when it is dead, else for rested
	tried            bool   // since the start, or since the clock was stepped
	parked           int    // messages of its parked lists
	admission        uint64 // the Admit that order belongs to
	order            int
}

// from stands between the next hop and the source in the key of a destination.
const from = " from "

// key returns the name of the destination of a recipient, folded to lower case
// unless it names a socket.
func (t *transport) key(r *Recipient) string {
	key := r.NextHop
	if t.RecipientLimit == 1 {
		key = r.User + "@" + key
	}
	if strings.IndexByte(r.NextHop, '/') < 0 {
		key = strings.ToLower(key)
	}
	if r.Source != "" {
		key += from + r.Source
	}
	return key
}

// dest returns the destination of a recipient, a new one if need be.
func (m *Machine) dest(t *transport, r *Recipient) *dest {
	key := t.key(r)
	d := t.dests[key]
	if d == nil {
		d = newDest(t, key, r.NextHop)
		d.source = r.Source
	}
	if d.nextHop == "" { // restored from a snapshot
		d.nextHop, d.name.plain = r.NextHop, Literal(r.NextHop)
	}
	return d
}

func newDest(t *transport, key, nextHop string) *dest {
	d := &dest{trans: t, key: key, nextHop: nextHop, rank: fresh, window: t.initial()}
	d.waiting.of, d.idle.of, d.curbed.of, d.name.waiting.of, d.alarm.dest = d, d, d, d, d
	d.name.plain = Literal(nextHop)
	t.dests[key] = d
	return d
}

// settle puts d into the rings where it may start something and takes it out
// of the others. It follows every change of todo, busy, window, dead, resting or
// curbed, and of what is ready in its bins; the caller settles the transport.
func (d *dest) settle() {
	open := !d.dead && !d.resting && d.named() && d.curbed.in == nil && d.busy < d.window
	for b := d.bins; b != nil; b = b.next {
		b.settle(open)
	}
	d.trans.waiting.member(&d.waiting, d.todo > 0)
	d.seek()
}

// rest settles d, and when it has no mail any more remembers it among the idle
// ones, if there is anything to remember. The longest unused is forgotten for
// it; if it was dead, its next mail is tried. One that rests is not forgotten,
// since that would break the operator's rate.
func (m *Machine) rest(d *dest) {
	d.settle()
	d.idle.leave()
	if d.todo > 0 || d.busy > 0 || d.resting || d.parked > 0 {
		return
	}
	if d.plain() {
		m.forget(d)
		return
	}
	m.idle.push(&d.idle)
	if m.idle.n > m.keep {
		m.forget(m.idle.first.of)
	}
}

// plain says whether d is like a destination that nothing is known about.
func (d *dest) plain() bool {
	return !d.dead && (d.rank == fresh || d.trans.unproven() == 0) &&
		d.window == d.trans.initial() && d.success == 0 && d.failure == 0 && d.cohorts == 0
}

// changed notes that there is something new for a Snapshot.
func (m *Machine) changed() { m.changes++ }

func (m *Machine) forget(d *dest) {
	m.timers.clear(&d.alarm)
	d.idle.leave()
	d.name.waiting.leave()
	delete(d.trans.dests, d.key)
}
