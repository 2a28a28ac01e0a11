package sched

import (
	"cmp"
	"maps"
	"slices"
)

// bin is what a destination has of one tier, while that is anything: waiting, in hand or
// parked. Its lanes stand in the rings of the tier exactly while the destination is open
// and a flow of it is ready (settle).
type bin struct {
	dest  *dest
	tier  *tier
	next  *bin // of the destination
	lanes [lanes]lane
	turn  int // the lane that is next
	own   flow
	more  map[*terms]*flow // those under limits
}

// lane is a bin's mail of one size: the flows that have some and may start it.
type lane struct {
	bin   *bin
	ready list[flow]
	ring  node[lane]
}

// flow is the mail of a bin that is under the same limits, oldest first in each lane.
type flow struct {
	bin   *bin
	terms *terms // nil: no limit
	lanes [lanes]flowLane
	todo  int        // entries waiting
	waits node[flow] // in the list of bound
	bound *limit

	messages, held int       // of messages in the active queue, and their recipients here
	parked         int       // messages of its parked list
	parkSeq        uint64    // when it last gave one
	spotIn         *parkHeap // where it stands while parked > 0
	spot           int       // its index there
	list           *Parking  // its name, while parked > 0
	admission      uint64    // the Admit that order and share belong to
	order, share   int
}

// flowLane is a flow's mail of one size.
type flowLane struct {
	todo  list[entry]
	ready node[flow]
}

// flow returns where mail on the given terms waits for d, a new place if need be.
func (m *Machine) flow(d *dest, c *tier, on *terms) *flow {
	b := d.bin(c)
	if b == nil {
		b = m.newBin(d, c)
	}
	if on == nil {
		return &b.own
	}
	f := b.more[on]
	if f == nil {
		if b.more == nil {
			b.more = map[*terms]*flow{}
		}
		f = &flow{}
		f.init(b, on)
		b.more[on] = f
		on.refer(1)
	}
	return f
}

// find returns the same, or nil.
func (d *dest) find(c *tier, on *terms) *flow {
	b := d.bin(c)
	switch {
	case b == nil:
		return nil
	case on == nil:
		return &b.own
	}
	return b.more[on]
}

func (d *dest) bin(c *tier) *bin {
	for b := d.bins; b != nil; b = b.next {
		if b.tier == c {
			return b
		}
	}
	return nil
}

func (f *flow) init(b *bin, on *terms) {
	f.bin, f.terms, f.waits.of = b, on, f
	for l := range f.lanes {
		f.lanes[l].ready.of = f
	}
}

// spareBins is how many bins keep their memory for the next.
const spareBins = 1024

func (m *Machine) newBin(d *dest, c *tier) *bin {
	var b *bin
	if n := len(m.bins); n > 0 {
		b = m.bins[n-1]
		m.bins = m.bins[:n-1]
		b.turn, b.own.admission, b.own.parkSeq = 0, 0, 0
	} else {
		b = &bin{}
		b.own.init(b, nil)
		for l := range b.lanes {
			b.lanes[l].bin = b
			b.lanes[l].ring.of = &b.lanes[l]
		}
	}
	b.dest, b.tier, b.next = d, c, d.bins
	d.bins = b
	return b
}

// tidy forgets f, and its bin, when nothing of them is left.
func (m *Machine) tidy(f *flow) {
	b := f.bin
	if f.held > 0 || f.parked > 0 {
		return
	}
	if f.terms != nil {
		delete(b.more, f.terms)
		m.release(f.terms)
	}
	if b.own.held > 0 || b.own.parked > 0 || len(b.more) > 0 {
		return
	}
	at := &b.dest.bins
	for *at != b {
		at = &(*at).next
	}
	*at = b.next
	if b.dest, b.tier, b.next = nil, nil, nil; len(m.bins) < spareBins {
		m.bins = append(m.bins, b)
	}
}

// settle makes f ready in the lanes where it has mail, unless it waits for a limit.
func (f *flow) settle() {
	b := f.bin
	for l := range f.lanes {
		b.lanes[l].ready.member(&f.lanes[l].ready, f.waits.in == nil && f.lanes[l].todo.n > 0)
	}
}

// rings returns where b may stand.
func (b *bin) rings() *[lanes]list[lane] {
	if b.tier.trans.unproven() == 0 {
		return &b.tier.rings[0]
	}
	return &b.tier.rings[b.dest.rank]
}

// sorted returns the flows under limits in a certain order.
func (b *bin) sorted() []*flow {
	return slices.SortedFunc(maps.Values(b.more), func(f, g *flow) int { return cmp.Compare(f.terms.name(), g.terms.name()) })
}

func (b *bin) leaveRings() {
	for l := range b.lanes {
		b.lanes[l].ring.leave()
	}
}

// settle puts b into its rings where it may start something, and out of the others.
func (b *bin) settle(open bool) {
	rings := b.rings()
	for l := range b.lanes {
		rings[l].member(&b.lanes[l].ring, open && b.lanes[l].ready.n > 0)
	}
}

// next starts the oldest entry of the flow and the lane that are next. b must have a
// lane that is ready. A flow whose limit has no room waits for that from now on; nil when
// no other was ready.
func (m *Machine) next(b *bin) *entry {
	d := b.dest
	for range lanes {
		l := b.turn
		b.turn = (b.turn + 1) % lanes
		for b.lanes[l].ready.n > 0 {
			f := b.lanes[l].ready.rotate()
			if f.terms != nil && m.bounded(f) {
				if b.dest != d {
					return nil // it had nothing else
				}
				continue
			}
			e := f.lanes[l].todo.first.of
			e.turn.leave()
			f.todo--
			f.settle()
			m.taken(e)
			return e
		}
	}
	d.settle()
	return nil
}

// taken counts an entry that starts.
func (m *Machine) taken(e *entry) {
	f := e.flow
	b := f.bin
	d, t := b.dest, b.tier.trans
	d.todo--
	d.busy++
	t.busy++
	if d.rank != proven {
		t.unprovenBusy++
	}
	m.waits(b.tier, -1)
	m.hold(b.tier, 1)
	m.pace(t)
	f.terms.charge(e)
	d.settle()
}
