// Package verbs carries out each operator's verb at each point of a delivery, lets
// something happen right after the command has ended with 0, and looks whether what it
// said holds (S8): what happens is a kill in this package's own test, and a power cut in
// package block.
//
// Each message has two recipients: one whose delivery stands still at the point in
// question, and one whose server does not answer, so that nobody has him in hand.
package verbs

import (
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Points of a delivery. At those of hand the first recipient is in an agent's hands; at
// refused his server is about to say that there is nobody of that name.
var (
	hand   = []string{"greeting", "mail", "rcpt", "refused", "data", "dot"}
	points = append([]string{"waiting", "deferred", "held"}, hand...)
	all    = []string{"delete", "hold", "release", "requeue", "flush", "expire"}
)

// arguments of the command that is the verb.
var arguments = map[string][]string{
	"delete": {"postsuper", "-d"}, "hold": {"postsuper", "-h"}, "release": {"postsuper", "-H"},
	"requeue": {"postsuper", "-r"}, "flush": {"postqueue", "-i"}, "expire": {"postsuper", "-f"},
}

// cell is a verb at a point.
type cell struct {
	point, verb string
	id          string // queue id
}

func (c *cell) name() string   { return c.point + "." + c.verb }
func (c *cell) first() string  { return c.name() + "@" + c.point + ".test" }
func (c *cell) second() string { return c.name() + "@down.test" }
func (c *cell) inHand() bool {
	for _, p := range hand {
		if c.point == p {
			return true
		}
	}
	return false
}

// Matrix is a system and the far ends of its deliveries.
type Matrix struct {
	*instance.Instance
	t     testing.TB
	cells []*cell
	gate  chan struct{} // closed when deliveries may go on
	open  func()
	mute  *sink.Sink // greets nobody before that
	slow  *sink.Sink
	down  *sink.Sink // refuses connections until the end
	back  *sink.Sink

	mu        sync.Mutex
	stands    map[string]bool // cells whose delivery has come to its point
	delivered map[string]int  // by recipient
	bounced   map[string]int
}

// New makes the far ends, and the system by create, which is given lines for main.cf.
func New(t testing.TB, create func(lines ...string) *instance.Instance) *Matrix {
	m := &Matrix{t: t, gate: make(chan struct{}), stands: map[string]bool{}, delivered: map[string]int{}, bounced: map[string]int{}}
	m.open = sync.OnceFunc(func() { close(m.gate) })
	m.mute, m.slow, m.down, m.back = sink.New(t, nil), sink.New(t, nil), sink.New(t, nil), sink.New(t, nil)
	t.Cleanup(m.open)
	for _, s := range []*sink.Sink{m.mute, m.slow, m.down} {
		s.Handle(false, m.took)
	}
	m.back.Handle(false, m.reported)
	m.down.Refuse()
	m.mute.Do(sink.Behaviour{Greet: func() string { <-m.gate; return "" }})
	at := func(point string) func(sender string) string {
		return func(sender string) string { m.stand(point, sender); return "" }
	}
	mail, rcpt, data := at("mail"), at("rcpt"), at("data")
	m.slow.Do(sink.Behaviour{From: mail, Rcpt: func(sender, _ string) string {
		if strings.HasPrefix(sender, "refused.") {
			m.stand("refused", sender)
			return "550 5.1.1 nobody of that name"
		}
		return rcpt(sender)
	}, Data: data,
		Dot: func(x *sink.Mail) string { m.stand("dot", x.Sender); return "" }})
	routes := "{down.test=smtp:" + m.down.NextHop() + "} {deferred.test=smtp:" + m.down.NextHop() + "} {held.test=smtp:" + m.down.NextHop() +
		"} {back.test=smtp:" + m.back.NextHop() + "} {greeting.test=smtp:" + m.mute.NextHop() + "} {waiting.test=relay:" + m.slow.NextHop() + "}"
	for _, p := range hand[1:] {
		routes += " {" + p + ".test=smtp:" + m.slow.NextHop() + "}"
	}
	m.Instance = create("transport_maps = inline:{ "+routes+" }", "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s",
		"default_destination_concurrency_failed_cohort_limit = 0", "initial_destination_concurrency = 90", "default_destination_concurrency_limit = 90", "default_process_limit = 200", "relay_initial_destination_concurrency = 1",
		"relay_destination_concurrency_limit = 1", "service_throttle_time = 1s")
	return m
}

// stand lets the delivery of a cell at its point wait there.
func (m *Matrix) stand(point, sender string) {
	if name, _, _ := strings.Cut(sender, "@"); strings.HasPrefix(name, point+".") {
		m.mu.Lock()
		m.stands[name] = true
		m.mu.Unlock()
		<-m.gate
	}
}

func (m *Matrix) took(x *sink.Mail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range x.Recipients {
		m.delivered[r]++
	}
}

func (m *Matrix) reported(x *sink.Mail) {
	_, failed, err := ledger.Reported(x.Content)
	if err != nil {
		m.t.Errorf("a report: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range failed {
		m.bounced[r]++
	}
}

// Bring sends a message for each cell and waits until each is at its point.
func (m *Matrix) Bring() {
	m.t.Helper()
	m.send("rcpt.blocker", "rcpt.blocker@waiting.test") // holds the only slot
	m.Await("the blocker", func() bool { return m.standing("rcpt.blocker") })
	for _, p := range points {
		for _, v := range all {
			c := &cell{point: p, verb: v}
			c.id = m.send(c.name(), c.first(), c.second())
			m.cells = append(m.cells, c)
		}
	}
	m.Await("each delivery to be at its point", func() bool {
		for _, c := range m.cells {
			if c.inHand() && c.point != "greeting" && !m.standing(c.name()) {
				return false
			}
		}
		if sessions, _, _ := m.mute.Counts(); sessions < len(all) {
			return false
		}
		asked := 0
		for _, q := range m.List() {
			for _, r := range q.Recipients {
				if strings.HasSuffix(r.Address, "@down.test") && r.Reason != "" {
					asked++
				}
			}
		}
		return asked >= 2*len(all) // those that have nobody in hand or waiting
	})
	for _, c := range m.cells {
		if c.point == "held" || c.verb == "release" {
			m.Must("postsuper", "-h", c.id)
		}
	}
}

func (m *Matrix) send(name string, to ...string) string {
	m.t.Helper()
	o, err := source.Send1(m.Addr, source.New(name, name+"@back.test", 3000, to...), nil)
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return o.QueueID
}

func (m *Matrix) standing(name string) bool { m.mu.Lock(); defer m.mu.Unlock(); return m.stands[name] }

// Command carries out every verb. When it returns, each has ended with 0.
func (m *Matrix) Command() {
	m.t.Helper()
	for _, c := range m.cells {
		a := arguments[c.verb]
		m.Must(a[0], a[1], c.id)
	}
}

// Judge lets everything go on, with the deliveries that stood still cut off or not, and
// looks what became of each message.
func (m *Matrix) Judge(cut bool) {
	m.t.Helper()
	m.open()
	m.Await("what is expired to be returned", func() bool {
		m.Run("postqueue", "-f")
		for _, c := range m.cells {
			if c.verb == "expire" && m.count(m.bounced, c.second()) == 0 {
				return false
			}
		}
		return true
	})
	m.down.Accept(m.t)
	flushed := func() bool {
		m.Run("postqueue", "-f")
		for _, q := range m.List() {
			if q.Queue != "hold" {
				return false
			}
		}
		return len(m.Files("maildrop")) == 0
	}
	m.Await("an empty queue but for what is on hold", flushed)
	held := map[string]bool{}
	for _, q := range m.List() {
		held[q.ID] = true
	}
	for _, c := range m.cells {
		stays := c.verb == "hold" || c.point == "held" && c.verb == "flush"
		if held[c.id] != stays {
			m.t.Errorf("%s: on hold: %v", c.name(), held[c.id])
		}
		if stays && m.count(m.delivered, c.second()) > 0 {
			m.t.Errorf("%s: on hold, and was delivered to %s", c.name(), c.second())
		}
	}
	m.Must("postsuper", "-H", "ALL")
	m.Await("an empty queue", func() bool { return flushed() && m.Drained() })
	for _, c := range m.cells {
		m.judge(c, c.first(), c.inHand(), cut)
		m.judge(c, c.second(), false, cut)
	}
}

func (m *Matrix) count(of map[string]int, recipient string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return of[recipient]
}

// judge says what must have become of a recipient: what was in hand and not cut off is
// delivered, whatever the verb; for all others the verb counts.
func (m *Matrix) judge(c *cell, recipient string, inHand, cut bool) {
	m.t.Helper()
	delivered, bounced := m.count(m.delivered, recipient), m.count(m.bounced, recipient)
	least, most, back := 1, 1, 0
	if !inHand || cut {
		switch c.verb {
		case "delete":
			least, most = 0, 0
		case "expire":
			least, most, back = 0, 0, 1
		}
	}
	if inHand && c.point == "refused" && c.verb == "delete" {
		least, most = 0, 0 // nobody is told of what was deleted
	} else if inHand && c.point == "refused" { // whoever tries him
		least, most, back = 0, 0, 1
	}
	if inHand && cut && c.point == "dot" { // the server had it
		least, most = 1, most+1
	}
	if delivered < least || delivered > most || bounced != back {
		m.t.Errorf("%s, %s: delivered %d times, not %d to %d; returned %d times, not %d", c.name(), recipient, delivered, least, most, bounced, back)
	}
}
