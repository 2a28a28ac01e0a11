package sched

// Parking. What a destination may not take into the active queue is parked: the
// caller keeps a reference to it in a list of that destination, and the Machine
// knows how many there are. So no backlog, however deep, keeps others out. A destination
// means here what of its mail has the same queue, level, limits and window, a flow: so
// that mail of one queue is not parked behind that of another, nor that of one tenant
// behind another's who is at his limit.
//
// How much a destination may hold follows from the room that is left, by Choudhury
// and Hahne's dynamic thresholds for shared buffers ("Dynamic queue length
// thresholds for shared-memory packet switches", 1998) with a factor of one: a
// destination is full when it holds as much as is left for its transport. N that do not
// move take N/(N+1) of that, and some room is always left for others, without a setting
// for it. What is left for a transport follows likewise, with a factor of four: it may
// have four fifths of the active queue, so that mailboxes which do not move, each holding
// little, leave room for other transports; and half while all of it stands still. And so
// for a virtual queue where there are several, with a factor of one: one that does not
// move leaves half of the active queue to the others, two a third.
// Of all room, a sixteenth is not for destinations without a success, another not for
// those that failed, and another not for those that hold something: ten thousand black
// holes leave them to others.

// Parking names a list of parked mail: that of a destination; or, with the name
// Others, what a transport and queue have beyond maxParked lists.
type Parking struct {
	Transport string
	Name      string // next hop, or user@nexthop, as in Destination
	Queue     string // virtual queue, "" for the default
	Level     Level
	Terms     string // its limits and window, in a form that compares; "" for none
	Source    string // egress source that Name is of, or ""
}

// Others is a name that no destination has.
const Others = "\x00"

const (
	// maxParked is how many flows have parked lists of their own: about 20 MB.
	maxParked = 20000
	// transportFactor is how many times the room that is left a transport may hold.
	transportFactor = 4
	// parkTurns are taken in a transport: by its ranks, the dead and the others.
	parkTurns = int(ranks) + 2
	// reserve is the part of all room that is kept from those destinations.
	reserve = 16
)

// where says which heap of parked flows f belongs to: that of the rank of its destination,
// or that of the dead, whose mail is to be suspended.
func (f *flow) where() *parkHeap {
	d, c := f.bin.dest, f.bin.tier
	if d.dead {
		return &c.parked[ranks]
	}
	return &c.parked[d.rank]
}

// load returns how much of the active queue is held by so many messages with so
// many recipients, in units of which capacity is all of it.
func (m *Machine) load(messages, recipients int) int64 {
	return max(int64(messages)*int64(m.cfg.RecipientLimit), int64(recipients)*int64(m.cfg.ActiveLimit))
}

func (m *Machine) capacity() int64 { return int64(m.cfg.RecipientLimit) * int64(m.cfg.ActiveLimit) }

// room returns what a flow of c that holds nothing may hold, by its destination's rank.
func (m *Machine) room(c *tier, r rank) int64 {
	t := c.trans
	free := m.capacity() - m.load(len(m.messages), m.recipients)
	factor := int64(transportFactor)
	if t.state == paused || t.TransportRateDelay > 0 {
		factor = 1
	}
	// Each message takes factor + 1 times itself off what the transport may still take.
	mine := (factor*free - m.load(t.messages, t.held)) / (factor + 1)
	if class := c.hold.class; len(m.cfg.Queues) > 1 {
		mine = min(mine, (free-m.load(class.messages, class.held))/2)
	}
	return min(free, mine) - int64(r)*m.capacity()/reserve
}

// full says whether f may not take more.
func (m *Machine) full(f *flow) bool {
	d := f.bin.dest
	room := m.room(f.bin.tier, d.rank)
	if f.held > 0 {
		room -= m.capacity() / reserve
	}
	return !d.dead && m.load(f.messages, f.held) >= room
}

// whereOf finds what is known of where mail for r waits: its tier, and its destination and
// flow if they are there.
func (m *Machine) whereOf(t *transport, r *Recipient) (c *tier, d *dest, f *flow) {
	c, d = m.tier(t, r.Terms), t.dests[t.key(r)]
	if d != nil && d.bins != nil {
		if on, known := m.look(r.Terms); known {
			f = d.find(c, on)
		}
	}
	return c, d, f
}

// Full says whether mail for r is to be parked and not to be admitted: its
// destination holds as much as it may, or has parked mail that came before. Mail that
// would be suspended at once is to be admitted.
func (m *Machine) Full(r Recipient) bool {
	t := m.transports[r.Transport]
	if t == nil || t.refuses() {
		return false
	}
	c, d, f := m.whereOf(t, &r)
	return f != nil && f.parked > 0 || m.fullFor(c, d, f)
}

// FullFor is Full for mail that was first in the list p itself.
func (m *Machine) FullFor(r Recipient, p Parking) bool {
	t := m.transports[r.Transport]
	if p.Name == "" || t == nil || t.refuses() {
		return m.Full(r)
	}
	c, d, f := m.whereOf(t, &r)
	if first := f != nil && f.list != nil && *f.list == p || m.Key(r) == p; !first && f != nil && f.parked > 0 {
		return true
	}
	return m.fullFor(c, d, f)
}

func (m *Machine) fullFor(c *tier, d *dest, f *flow) bool {
	if d == nil {
		return m.room(c, fresh) <= 0
	}
	if m.expire(d); f == nil {
		return !d.dead && m.room(c, d.rank) <= 0
	}
	return m.full(f)
}

// Key returns the list of the destination of r.
func (m *Machine) Key(r Recipient) Parking {
	t := m.transports[r.Transport]
	if t == nil {
		return Parking{Transport: r.Transport, Name: r.NextHop}
	}
	p := Parking{Transport: t.name, Name: t.key(&r), Source: r.Source, Terms: r.Terms.key()}
	if r.Terms != nil {
		c := m.tier(t, r.Terms)
		p.Queue, p.Level = c.queue, c.level
	}
	return p
}

// Parking returns the list that mail for r, which is Full, belongs to: that of Key, or
// of the others.
func (m *Machine) Parking(r Recipient) Parking {
	t := m.transports[r.Transport]
	c, _, f := m.whereOf(t, &r)
	if m.parkedFlows >= maxParked && (f == nil || f.parked == 0) {
		return Parking{Transport: t.name, Name: Others, Queue: c.queue, Level: c.level}
	}
	if f != nil && f.list != nil {
		return *f.list
	}
	return m.Key(r)
}

// Park is the event that the caller put a message into the list that Parking named
// for r.
func (m *Machine) Park(now Time, p Parking, r Recipient) {
	m.advance(now)
	t := m.transports[p.Transport]
	c := m.tierOf(t, tierKey{p.Queue, p.Level})
	if p.Name == Others {
		c.others++
		m.parkers.member(&c.parker, true)
		return
	}
	f := m.lists[p]
	if f == nil {
		d := t.dests[p.Name]
		if d == nil {
			d = newDest(t, p.Name, r.NextHop)
			d.source = p.Source
		}
		f = m.flow(d, c, m.on(r.Terms))
		m.lists[p], f.list = f, &p
		d.idle.leave()
	}
	m.park(f)
}

func (m *Machine) park(f *flow) {
	f.bin.dest.parked++
	if f.parked++; f.parked == 1 {
		m.parkedFlows++
		f.repark()
	}
	m.parkers.member(&f.bin.tier.parker, true)
}

// Again is Park for a further message of a list that has some.
func (m *Machine) Again(now Time, p Parking) {
	m.advance(now)
	if f := m.lists[p]; f != nil {
		m.park(f)
	} else if p.Name == Others {
		m.Park(now, p, Recipient{})
	}
}

// Unpark returns the list whose next message is to be admitted, or false when there
// is none now. The queues of each transport take turns, and in each destinations that are
// proven, new, failing, or dead; of these that which holds the least is the first, so that
// none runs dry while it has parked mail. The caller says what he took by Unparked.
func (m *Machine) Unpark() (Parking, bool) {
	for range m.parkers.n {
		c := m.parkers.rotate()
		t := c.trans
		for range parkTurns {
			i := c.park
			c.park = (c.park + 1) % parkTurns
			if i == parkTurns-1 {
				if c.others > 0 && (m.parkedFlows < maxParked*3/4 || t.refuses()) && m.room(c, fresh) > 0 {
					return Parking{Transport: t.name, Name: Others, Queue: c.queue, Level: c.level}, true
				}
				continue
			}
			if h := c.parked[i]; len(h) > 0 {
				if f := h[0]; t.refuses() || !m.full(f) {
					return *f.list, true
				}
			}
		}
	}
	return Parking{}, false
}

// refuses says that mail for t is suspended.
func (t *transport) refuses() bool { return t.state == unknown }

// Unparked is the event that n messages of a list are parked no longer, whatever
// became of them.
func (m *Machine) Unparked(p Parking, n int) {
	t := m.transports[p.Transport]
	if t == nil {
		return
	}
	f := m.lists[p]
	c := m.tierOf(t, tierKey{p.Queue, p.Level})
	if p.Name == Others {
		c.others = max(c.others-n, 0)
	} else if f != nil && f.parked > 0 {
		d := f.bin.dest
		c = f.bin.tier
		m.parkSeq++
		f.parkSeq = m.parkSeq
		n = min(n, f.parked)
		d.parked -= n
		if f.parked -= n; f.parked == 0 {
			m.parkedFlows--
			delete(m.lists, p)
			f.list = nil
		}
		f.repark()
		if f.parked == 0 {
			m.tidy(f)
			m.rest(d)
		}
	}
	any := c.others > 0
	for i := range c.parked {
		any = any || len(c.parked[i]) > 0
	}
	m.parkers.member(&c.parker, any)
}

// repark moves the flows of d to where they belong among the parked ones. It follows every
// change of rank or dead.
func (d *dest) repark() {
	if d.parked == 0 {
		return
	}
	for b := d.bins; b != nil; b = b.next {
		b.own.repark()
		if len(b.more) > 0 {
			for _, f := range b.sorted() {
				f.repark()
			}
		}
	}
}

// repark moves f to where it belongs. It follows every change of parked or held.
func (f *flow) repark() {
	var h *parkHeap
	if f.parked > 0 {
		h = f.where()
	}
	if f.spotIn != h {
		if f.spotIn != nil {
			f.spotIn.remove(f)
		}
		if h != nil {
			h.add(f)
		}
		return
	}
	if h != nil {
		h.fix(f)
	}
}

// parkHeap has the flow first that holds the fewest recipients, and of these
// that which waited longest.
type parkHeap []*flow

func (h parkHeap) less(i, j int) bool {
	a, b := h[i], h[j]
	return a.held < b.held || a.held == b.held && a.parkSeq < b.parkSeq
}

func (h parkHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].spot, h[j].spot = i, j
}

func (h *parkHeap) add(f *flow) {
	f.spotIn, f.spot = h, len(*h)
	*h = append(*h, f)
	h.fix(f)
}

func (h *parkHeap) remove(f *flow) {
	i, end := f.spot, len(*h)-1
	h.swap(i, end)
	(*h)[end] = nil
	*h = (*h)[:end]
	f.spotIn = nil
	if i < end {
		h.fix((*h)[i])
	}
}

// fix moves f to its place.
func (h parkHeap) fix(f *flow) {
	for f.spot > 0 && h.less(f.spot, (f.spot-1)/2) {
		h.swap(f.spot, (f.spot-1)/2)
	}
	for {
		c := 2*f.spot + 1
		if c+1 < len(h) && h.less(c+1, c) {
			c++
		}
		if c >= len(h) || !h.less(c, f.spot) {
			return
		}
		h.swap(c, f.spot)
	}
}

// Bound returns the limit that keeps back the mail of a parked list, with its rates and
// when it frees, 0 when that is not known; the zero LimitKey when none does.
func (m *Machine) Bound(p Parking) (k LimitKey, rates []Rate, until Time) {
	f := m.lists[p]
	if f == nil {
		return k, nil, 0
	}
	l, at := f.terms.tightest(m.now)
	if l == nil {
		return k, nil, 0
	}
	return LimitKey{l.rule.name, l.key}, l.rule.Rates, at
}
