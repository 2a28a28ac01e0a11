package sched

// Parking. What a destination may not take into the active queue is parked: the
// caller keeps a reference to it in a list of that destination, and the Machine
// knows how many there are. So no backlog, however deep, keeps others out.
//
// How much a destination may hold follows from the room that is left, by Choudhury
// and Hahne's dynamic thresholds for shared buffers ("Dynamic queue length
// thresholds for shared-memory packet switches", 1998) with a factor of one: a
// destination is full when it holds as much as is left for its transport. N that do not
// move take N/(N+1) of that, and some room is always left for others, without a setting
// for it. What is left for a transport follows likewise, with a factor of four: it may
// have four fifths of the active queue, so that mailboxes which do not move, each holding
// little, leave room for other transports; and half while all of it stands still.
// Of all room, a sixteenth is not for destinations without a success, another not for
// those that failed, and another not for those that hold something: ten thousand black
// holes leave them to others.

// Parking names a list of parked mail: that of a destination; or, with the name
// Others, what a transport has beyond maxParked destinations.
type Parking struct {
	Transport string
	Name      string // next hop, or user@nexthop, as in Destination
}

// Others is a name that no destination has.
const Others = "\x00"

const (
	// maxParked is how many destinations have parked mail of their own: about 20 MB.
	maxParked = 20000
	// transportFactor is how many times the room that is left a transport may hold.
	transportFactor = 4
	// parkTurns are taken in a transport: by its ranks, the dead and the others.
	parkTurns = int(ranks) + 2
	// reserve is the part of all room that is kept from those destinations.
	reserve = 16
)

// where says which heap of parked destinations d belongs to: that of its rank, or
// that of the dead, whose mail is to be suspended.
func (d *dest) where() *parkHeap {
	if d.dead {
		return &d.trans.parked[ranks]
	}
	return &d.trans.parked[d.rank]
}

// load returns how much of the active queue is held by so many messages with so
// many recipients, in units of which capacity is all of it.
func (m *Machine) load(messages, recipients int) int64 {
	return max(int64(messages)*int64(m.cfg.RecipientLimit), int64(recipients)*int64(m.cfg.ActiveLimit))
}

func (m *Machine) capacity() int64 { return int64(m.cfg.RecipientLimit) * int64(m.cfg.ActiveLimit) }

// room returns what a destination of t that holds nothing may hold, by its rank.
func (m *Machine) room(t *transport, r rank) int64 {
	free := m.capacity() - m.load(len(m.messages), m.recipients)
	factor := int64(transportFactor)
	if t.state == paused || t.TransportRateDelay > 0 {
		factor = 1
	}
	// Each message takes factor + 1 times itself off what the transport may still take.
	mine := (factor*free - m.load(t.messages, t.held)) / (factor + 1)
	return min(free, mine) - int64(r)*m.capacity()/reserve
}

// full says whether d may not take more.
func (m *Machine) full(d *dest) bool {
	room := m.room(d.trans, d.rank)
	if d.held > 0 {
		room -= m.capacity() / reserve
	}
	return !d.dead && m.load(d.messages, d.held) >= room
}

// Full says whether mail for r is to be parked and not to be admitted: its
// destination holds as much as it may, or has parked mail that came before. Mail that
// would be suspended at once is to be admitted.
func (m *Machine) Full(r Recipient) bool {
	t := m.transports[r.Transport]
	if t == nil || t.refuses() {
		return false
	}
	d := t.dests[t.key(&r)]
	return d != nil && d.parked > 0 || m.fullFor(t, d)
}

// FullFor is Full for mail that was first in the list p itself.
func (m *Machine) FullFor(r Recipient, p Parking) bool {
	t := m.transports[r.Transport]
	if t == nil || t.name != p.Transport || t.key(&r) != p.Name {
		return m.Full(r)
	}
	return !t.refuses() && m.fullFor(t, t.dests[p.Name])
}

func (m *Machine) fullFor(t *transport, d *dest) bool {
	if d == nil {
		return m.room(t, fresh) <= 0
	}
	m.expire(d)
	return m.full(d)
}

// Key returns the list of the destination of r.
func (m *Machine) Key(r Recipient) Parking {
	t := m.transports[r.Transport]
	if t == nil {
		return Parking{r.Transport, r.NextHop}
	}
	return Parking{t.name, t.key(&r)}
}

// Parking returns the list that mail for r, which is Full, belongs to: that of Key, or
// of the others.
func (m *Machine) Parking(r Recipient) Parking {
	t := m.transports[r.Transport]
	key := t.key(&r)
	if d := t.dests[key]; m.parkedDests >= maxParked && (d == nil || d.parked == 0) {
		return Parking{t.name, Others}
	}
	return Parking{t.name, key}
}

// Park is the event that the caller put a message into the list that Parking named
// for r.
func (m *Machine) Park(now Time, p Parking, r Recipient) {
	m.advance(now)
	t := m.transports[p.Transport]
	if p.Name == Others {
		t.others++
	} else {
		d := t.dests[p.Name]
		if d == nil {
			d = newDest(t, p.Name, r.NextHop)
		}
		if d.parked++; d.parked == 1 {
			m.parkedDests++
			d.idle.leave()
			d.repark()
		}
	}
	m.parkers.member(&t.parker, true)
}

// Again is Park for a further message of a list that has some.
func (m *Machine) Again(now Time, p Parking) { m.Park(now, p, Recipient{}) }

// Unpark returns the list whose next message is to be admitted, or false when there
// is none now. Transports take turns, and in each destinations that are proven, new,
// failing, or dead; of these that which holds the least is the first, so that none
// runs dry while it has parked mail. The caller says what he took by Unparked.
func (m *Machine) Unpark() (Parking, bool) {
	for range m.parkers.n {
		t := m.parkers.rotate()
		for range parkTurns {
			i := t.park
			t.park = (t.park + 1) % parkTurns
			if i == parkTurns-1 {
				if t.others > 0 && (m.parkedDests < maxParked*3/4 || t.refuses()) && m.room(t, fresh) > 0 {
					return Parking{t.name, Others}, true
				}
				continue
			}
			if h := t.parked[i]; len(h) > 0 {
				if d := h[0]; t.refuses() || !m.full(d) {
					return Parking{t.name, d.key}, true
				}
			}
		}
	}
	return Parking{}, false
}

// refuses says that mail for t is suspended.
func (t *transport) refuses() bool { return t.state == down || t.state == unknown }

// Unparked is the event that n messages of a list are parked no longer, whatever
// became of them.
func (m *Machine) Unparked(p Parking, n int) {
	t := m.transports[p.Transport]
	if t == nil {
		return
	}
	if p.Name == Others {
		t.others = max(t.others-n, 0)
	} else if d := t.dests[p.Name]; d != nil && d.parked > 0 {
		m.parkSeq++
		d.parkSeq = m.parkSeq
		if d.parked = max(d.parked-n, 0); d.parked == 0 {
			m.parkedDests--
		}
		if d.repark(); d.parked == 0 {
			m.rest(d)
		}
	}
	any := t.others > 0
	for i := range t.parked {
		any = any || len(t.parked[i]) > 0
	}
	m.parkers.member(&t.parker, any)
}

// repark moves d to where it belongs among the parked destinations. It follows every
// change of parked, messages, held, rank or dead.
func (d *dest) repark() {
	var h *parkHeap
	if d.parked > 0 {
		h = d.where()
	}
	if d.spotIn != h {
		if d.spotIn != nil {
			d.spotIn.remove(d)
		}
		if h != nil {
			h.add(d)
		}
		return
	}
	if h != nil {
		h.fix(d)
	}
}

// parkHeap has the destination first that holds the fewest recipients, and of these
// that which waited longest.
type parkHeap []*dest

func (h parkHeap) less(i, j int) bool {
	a, b := h[i], h[j]
	return a.held < b.held || a.held == b.held && a.parkSeq < b.parkSeq
}

func (h parkHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].spot, h[j].spot = i, j
}

func (h *parkHeap) add(d *dest) {
	d.spotIn, d.spot = h, len(*h)
	*h = append(*h, d)
	h.fix(d)
}

func (h *parkHeap) remove(d *dest) {
	i, end := d.spot, len(*h)-1
	h.swap(i, end)
	(*h)[end] = nil
	*h = (*h)[:end]
	d.spotIn = nil
	if i < end {
		h.fix((*h)[i])
	}
}

// fix moves d to its place.
func (h parkHeap) fix(d *dest) {
	for d.spot > 0 && h.less(d.spot, (d.spot-1)/2) {
		h.swap(d.spot, (d.spot-1)/2)
	}
	for {
		c := 2*d.spot + 1
		if c+1 < len(h) && h.less(c+1, c) {
			c++
		}
		if c >= len(h) || !h.less(c, d.spot) {
			return
		}
		h.swap(c, d.spot)
	}
}
