package sched

// Queue is what the operator chose for a virtual queue: a class of mail that waits and
// runs by itself.
type Queue struct {
	Slots  int // deliveries at once, over all transports; 0 is no limit
	Weight int // its part among the queues of its level; at least 1
	// Share is how many percent of a transport's starts are its own, whatever the levels
	// above it want. Negative: five, or less with many queues, while there is ageing.
	Share int
}

// class is a virtual queue.
type class struct {
	Queue
	name           string
	busy           int
	messages, held int // of messages in the active queue, and their recipients
	counted        uint64
	holdings       []*holding
}

func (c *class) full() bool { return c.Slots > 0 && c.busy >= c.Slots }

// holding is what a class has of a transport. keep slots of the transport are kept for
// each, so that a class whose deliveries all hang leaves the others something.
type holding struct {
	class *class
	trans *transport
	busy  int
}

// tier is the mail of one class and level in a transport.
type tier struct {
	trans *transport
	hold  *holding
	queue string // its name, "" for the default
	level Level

	rings  [ranks][lanes]list[lane] // of those that may start something, by rank and lane
	rank   rank                     // the rank that is next
	turn   [ranks]int               // the lane of each that is next
	starts uint64                   // of the fresh while slots were short
	todo   int                      // entries waiting
	active node[tier]               // while there are any

	since Time    // it waits since then for its turn
	pass  float64 // its virtual time: the starts it had, by its weight
	owed  int     // of its share, in thousandths of a start

	parked [ranks + 1]parkHeap // flows with parked mail, by rank, and those of the dead
	others int                 // parked messages in the list without a name
	park   int                 // whose turn it is to give one
	parker node[tier]          // while anything of it is parked
}

// tierKey names one.
type tierKey struct {
	queue string
	level Level
}

// tier returns where mail on these terms waits.
func (m *Machine) tier(t *transport, terms *Terms) *tier {
	if terms == nil {
		return t.base
	}
	return m.tierOf(t, tierKey{terms.Queue, terms.Level})
}

func (m *Machine) tierOf(t *transport, k tierKey) *tier {
	if m.classes[k.queue] == nil || k.queue == DefaultQueue {
		k.queue = ""
	}
	if k == (tierKey{}) {
		return t.base
	}
	if c := t.tiers[k]; c != nil {
		return c
	}
	return m.newTier(t, k)
}

func (m *Machine) newTier(t *transport, k tierKey) *tier {
	c := &tier{trans: t, hold: m.holding(t, k.queue), queue: k.queue, level: k.level}
	c.active.of, c.parker.of = c, c
	t.tiers[k] = c
	return c
}

// holding returns what a class has of t.
func (m *Machine) holding(t *transport, queue string) *holding {
	class := m.classes[queue]
	for _, h := range class.holdings {
		if h.trans == t {
			return h
		}
	}
	h := &holding{class: class, trans: t}
	class.holdings = append(class.holdings, h)
	return h
}

// keepOne says which part of its slots a transport keeps free for its classes together.
const keepOne = 8

// setQueues takes the virtual queues of a new configuration. Those that are gone have
// what the default has, until their mail has other terms.
func (m *Machine) setQueues() {
	if m.classes == nil {
		m.classes = map[string]*class{"": {Queue: Queue{Share: -1}}}
	}
	for name, q := range m.cfg.Queues {
		if name == DefaultQueue {
			name = ""
		}
		if m.classes[name] == nil {
			m.classes[name] = &class{name: name}
		}
		m.classes[name].Queue = q
	}
	for name, c := range m.classes {
		if name == "" {
			name = DefaultQueue
		}
		if _, ok := m.cfg.Queues[name]; !ok {
			c.Queue = Queue{Share: -1}
		}
	}
}

// share is that of c in thousandths.
func (m *Machine) share(c *class) int {
	switch {
	case c.Share >= 0:
		return min(c.Share, 100) * 10
	case m.cfg.Aging <= 0:
		return 0
	}
	return min(50, 500/max(len(m.cfg.Queues), 1))
}

// reserve works out what of the slots of t is kept for its classes.
func (m *Machine) reserve(t *transport) {
	t.keep, t.kept = 0, 0
	if len(m.cfg.Queues) > 1 {
		t.keep = t.Slots / (keepOne * len(m.cfg.Queues))
	}
	for _, c := range m.classes {
		h := m.holding(t, c.name)
		t.kept += max(t.keep-h.busy, 0)
	}
}

// hold counts a delivery of c that starts (1) or ends (-1).
func (m *Machine) hold(c *tier, sign int) {
	t, h, class := c.trans, c.hold, c.hold.class
	t.kept -= max(t.keep-h.busy, 0)
	h.busy += sign
	t.kept += max(t.keep-h.busy, 0)
	was := class.full()
	class.busy += sign
	if was != class.full() {
		for _, h := range class.holdings {
			if h.trans != t { // the caller settles that
				m.settle(h.trans)
			}
		}
	}
}

// has says whether the slots of its transport and of its class let c start something.
func (c *tier) has() bool {
	t := c.trans
	if c.hold.class.full() {
		return false
	}
	return t.Slots <= 0 || t.Slots-t.busy > t.kept-max(t.keep-c.hold.busy, 0)
}

// can says whether an entry of c may start.
func (c *tier) can() bool {
	return c.has() && c.ready()
}

// ready says whether it has one that nothing below it keeps back.
func (c *tier) ready() bool { return c.rankCan(proven) || c.rankCan(fresh) || c.rankCan(failing) }

// waits notes n more entries of c.
func (m *Machine) waits(c *tier, n int) {
	if c.todo == 0 && n > 0 {
		c.since, c.owed = m.now, 0
		c.pass = max(c.pass, c.trans.vtime[c.level-Low])
	}
	c.todo += n
	c.trans.active.member(&c.active, c.todo > 0)
}

// pick chooses whose turn it is: what a share is owed; else the highest level, where
// waiting for Aging counts as one level more; in a level by weight. nil: none may start.
func (m *Machine) pick(t *transport) *tier {
	if t.active.n == 1 {
		if c := t.active.first.of; c.can() {
			return c
		}
		return nil
	}
	var best *tier
	var high int64
	for x := t.active.first; x != nil; x = x.next {
		c := x.of
		if !c.can() {
			continue
		}
		at := m.effective(c)
		if c.owed >= 1000 {
			at += 1<<40 + int64(c.owed)
		}
		switch {
		case best == nil || at > high:
		case at < high:
			continue
		case c.level == best.level && c.pass >= best.pass, c.level != best.level && c.since >= best.since:
			continue
		}
		best, high = c, at
	}
	return best
}

// effective is the level of c with what it gained by waiting.
func (m *Machine) effective(c *tier) int64 {
	if m.cfg.NoPriorities {
		return 0
	}
	at := int64(c.level)
	if m.cfg.Aging > 0 {
		at += int64(m.now.Sub(c.since) / m.cfg.Aging)
	}
	return at
}

// turned notes that a delivery of best started, and what the levels below are owed for it.
func (m *Machine) turned(t *transport, best *tier) {
	if best.owed >= 1000 {
		best.owed -= 1000
	}
	for x := t.active.first; x != nil && t.active.n > 1; x = x.next {
		if c := x.of; c.level < best.level && !m.cfg.NoPriorities && !c.hold.class.full() && c.ready() {
			c.owed = min(c.owed+m.share(c.hold.class), 2000)
		}
	}
	v := &t.vtime[best.level-Low]
	*v = max(*v, best.pass)
	best.pass += 1 / float64(max(best.hold.class.Weight, 1))
	best.since = m.now
}
