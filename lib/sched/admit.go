package sched

import (
	"cmp"
	"slices"

	"postrider/lib/mail"
)

// Source is the queue that a message comes from.
type Source uint8

// The queues that mail is admitted from.
const (
	Incoming Source = iota // new mail, from the journal
	Deferred               // mail whose time has come
)

func (s Source) String() string {
	if s == Deferred {
		return "deferred"
	}
	return "incoming"
}

// Message is what the scheduler needs to know of one.
type Message struct {
	ID MsgID
	// Flush revives the destinations and transports of this message first
	// (postqueue -i).
	Flush bool
	// Recipients to deliver to now. The Machine keeps no reference to the slice.
	Recipients []Recipient
	// More says that further recipients follow: Refill asks for them, and there
	// is no MessageDone before the Admit that has none left. It keeps a large
	// message from filling the memory; all of it counts as large.
	More bool
	// Beside says that these recipients come beside those that are to be tried, as
	// for a report, or that Reroute gave back: More, Expire and Notice stay as they are.
	Beside bool
	// Single asks for a delivery of its own for each of Recipients.
	Single bool
	// Expire is when what waits is to be given back, and Notice when its recipients are to be
	// named, so that their sender hears of the delay. 0 is never.
	Expire, Notice Time
}

// maxSlice is how many recipients of a large message are admitted at once at most: enough
// for all connections that it may use.
const maxSlice = 5000

// Slice returns how many recipients of a message to admit at once: at most a quarter
// of what may be in memory.
func (m *Machine) Slice() int { return max(min(maxSlice, m.cfg.RecipientLimit/4), 1) }

// Recipient is one recipient, resolved.
type Recipient struct {
	Index     uint32 // the caller's name for it within the message
	Transport string
	NextHop   string
	// User is the local part without its extension. It counts only where the
	// transport's RecipientLimit is 1: then user@nexthop is the destination.
	User string
	// Source is the name of the egress source that Choose gave, or "". It makes a
	// destination of its own.
	Source string
	// Terms are what a policy says of it, nil without one.
	Terms *Terms
}

// message is an active message: its entries that wait or are in hand.
type message struct {
	id      MsgID
	entries list[entry]
	open    int  // recipients in entries
	sliced  bool // it is large
	more    bool // further recipients follow
	asked   bool // Refill was decided
	expire  Time // when what waits is given back; 0: never
	notice  Time // when what waits is named
	alarm   timer
	one     one
}

// one is memory for the first entry of a message and its recipient, taken with its own.
type one struct {
	entry entry
	index [1]uint32
	used  bool // entry is; never again, since its number may be asked for later
}

// newEntry returns memory for an entry of m.
func (m *message) newEntry() *entry {
	if m.one.used {
		return &entry{}
	}
	m.one.used = true
	return &m.one.entry
}

// entry is one delivery to be: it waits in a lane of dest, or is in hand, and
// then it has an id.
type entry struct {
	id         EntryID
	msg        *message
	dest       *dest
	flow       *flow
	terms      *Terms
	recipients []uint32
	lane       int
	start      uint64      // its number among the starts under limits
	withdrawn  bool        // in hand, and not to wait again
	leads      bool        // its message is counted with it in its flow
	leadsAll   bool        // and in the transport
	leadsClass bool        // and in the class
	turn       node[entry] // in the lane of the flow
	place      node[entry] // in the message
}

// place says where one recipient of an Admit goes, by the order in which the flows
// appeared. That of a dead destination has no flow.
type place struct {
	dest  *dest
	flow  *flow
	terms *Terms
	order int
	index uint32
}

// Room returns how many messages may be admitted now. A message may bring more
// recipients than there is room for; none is admitted after it until there is.
func (m *Machine) Room() int {
	if m.recipients >= m.cfg.RecipientLimit {
		return 0
	}
	return max(m.cfg.ActiveLimit-len(m.messages), 0)
}

// Admit is the event that a message enters the active queue. The caller asks
// Room first. An id that is active already gets further recipients. Recipients
// whose destination is dead or whose transport is down are suspended at once.
func (m *Machine) Admit(now Time, in Message) {
	m.advance(now)
	m.admission++
	msg := m.messages[in.ID]
	if msg == nil {
		msg = &message{id: in.ID}
		msg.alarm.msg = msg
		m.messages[in.ID] = msg
	}
	if !in.Beside {
		msg.more, msg.asked, msg.sliced = in.More, false, msg.sliced || in.More
		msg.expire, msg.notice = in.Expire, in.Notice
		m.watchMessage(msg)
	}
	indices := m.group(msg, in)
	for first, end := 0, 0; first < len(m.groups); first = end {
		d, f := m.groups[first].dest, m.groups[first].flow
		for end < len(m.groups) && m.groups[end].dest == d && m.groups[end].flow == f {
			end++
		}
		all := indices[first:end:end]
		if d.dead {
			m.suspendNew(in.ID, d.trans.name, d.nextHop, all, d.reason, d.remembered)
			m.rest(d) // it is the last used of the idle ones now
			continue
		}
		limit := len(all)
		if d.trans.RecipientLimit > 0 {
			limit = d.trans.RecipientLimit
		}
		if in.Single {
			limit = 1
		}
		leads := true
		for chunk := range slices.Chunk(all, limit) {
			m.wait(msg, f, m.groups[first].terms, chunk, leads)
			leads = false
		}
		m.settle(d.trans)
	}
	clear(m.groups)
	m.finish(msg)
}

// group fills m.groups with the recipients that have a transport, ordered by
// flow and then as they came, and returns their indices in that order.
// It also counts each transport's share, from which the lane follows.
func (m *Machine) group(msg *message, in Message) []uint32 {
	m.groups = m.groups[:0]
	order := 0
	for i := range in.Recipients {
		r := &in.Recipients[i]
		t := m.transports[r.Transport]
		if t == nil || t.state == unknown {
			m.suspendNew(in.ID, r.Transport, r.NextHop, []uint32{r.Index}, unavailable, false)
			continue
		}
		d := m.dest(t, r)
		if d.dead && in.Flush {
			m.revive(d, t.initial())
		}
		if t.admission != m.admission {
			t.admission, t.share = m.admission, 0
		}
		if d.dead {
			if d.admission != m.admission {
				d.admission, d.order = m.admission, order
				order++
			}
			m.groups = append(m.groups, place{dest: d, order: d.order, index: r.Index})
			continue
		}
		f := m.flow(d, m.tier(t, r.Terms), m.on(r.Terms))
		if f.admission != m.admission {
			f.admission, f.order, f.share = m.admission, order, 0
			order++
		}
		if f.share == 0 || in.Single || t.RecipientLimit > 0 && f.share%t.RecipientLimit == 0 {
			t.share++ // an entry begins
		}
		f.share++
		m.groups = append(m.groups, place{d, f, r.Terms, f.order, r.Index})
	}
	if order > 1 {
		slices.SortStableFunc(m.groups, func(a, b place) int { return cmp.Compare(a.order, b.order) })
	}
	indices := msg.one.index[:]
	if len(m.groups) != 1 || msg.one.used {
		indices = make([]uint32, len(m.groups))
	}
	for i := range m.groups {
		indices[i] = m.groups[i].index
	}
	return indices
}

// wait makes an entry and lets it wait in f.
func (m *Machine) wait(msg *message, f *flow, on *Terms, recipients []uint32, leads bool) {
	d, c := f.bin.dest, f.bin.tier
	lane := laneOf(d.trans.share)
	if msg.sliced {
		lane = lanes - 1
	}
	e := msg.newEntry()
	*e = entry{msg: msg, dest: d, flow: f, terms: on, recipients: recipients, lane: lane, leads: leads}
	if e.leadsAll = d.trans.counted != m.admission; e.leadsAll {
		d.trans.counted = m.admission
	}
	if class := c.hold.class; class.counted != m.admission {
		class.counted, e.leadsClass = m.admission, true
	}
	e.turn.of, e.place.of = e, e
	msg.entries.push(&e.place)
	m.recipients += len(recipients)
	e.count(1)
	msg.open += len(recipients)
	f.lanes[e.lane].todo.push(&e.turn)
	d.idle.leave()
	m.waiting(e, 1)
}

// waiting counts an entry that waits from now on (1) or no longer does (-1).
func (m *Machine) waiting(e *entry, n int) {
	f := e.flow
	f.todo += n
	f.bin.dest.todo += n
	m.waits(f.bin.tier, n)
	f.settle()
	f.bin.dest.settle()
}

// count adds e to what its flow, its class and its transport hold, or takes it off.
func (e *entry) count(sign int) {
	f, t, class := e.flow, e.dest.trans, e.flow.bin.tier.hold.class
	f.held += sign * len(e.recipients)
	t.held += sign * len(e.recipients)
	class.held += sign * len(e.recipients)
	if e.leads {
		f.messages += sign
	}
	if e.leadsAll {
		t.messages += sign
	}
	if e.leadsClass {
		class.messages += sign
	}
	f.repark()
}

func (m *Machine) suspendNew(id MsgID, transport, nextHop string, recipients []uint32, reason mail.Status, remembered bool) {
	m.out.put(Action{Kind: Suspend, Msg: id, Transport: transport, NextHop: nextHop,
		Recipients: recipients, Reason: reason, Remembered: remembered})
}
