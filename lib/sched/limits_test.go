package sched

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// What a random life has of policies, and what holds of limits: no rate is exceeded over
// any time by more than its burst, nor the number of connections, nor the slots of a queue.

func (l *life) randomPolicy() {
	r, c := l.r, &l.cfg
	c.Queues, c.Limits, c.Windows = nil, nil, nil
	if !l.policy {
		return
	}
	c.Queues = map[string]Queue{}
	for _, name := range []string{DefaultQueue, "q1", "q2"} {
		if r.IntN(4) > 0 {
			c.Queues[name] = Queue{Slots: r.IntN(4), Weight: r.IntN(4), Share: r.IntN(30) - 10}
		}
	}
	c.NoPriorities, c.Aging = r.IntN(5) == 0, time.Duration(r.IntN(30))
	c.Limits = map[string]Limit{}
	for i := range 3 {
		if r.IntN(5) == 0 {
			continue
		}
		b := Limit{Connections: r.IntN(4)}
		for range r.IntN(3) {
			b.Rates = append(b.Rates, Rate{Count: 1 + r.Int64N(3), Per: time.Duration(1 + r.IntN(20)), Burst: r.Int64N(4)})
		}
		c.Limits[fmt.Sprintf("l%d", i)] = b
	}
	on := time.Duration(1 + r.IntN(50))
	c.Windows = map[string]Window{"w": func(at Time) (bool, Time) {
		n := at / Time(on)
		return n%3 != 0, (n + 1) * Time(on)
	}}
	clear(l.started)
}

func (l *life) terms() *Terms {
	r := l.r
	if !l.policy || r.IntN(3) == 0 {
		return nil
	}
	t := &Terms{Queue: []string{"", "q1", "q2", "q3"}[r.IntN(4)], Level: Level(r.IntN(4)) + Low}
	for range r.IntN(3) {
		t.Limits = append(t.Limits, LimitKey{fmt.Sprintf("l%d", r.IntN(3)), fmt.Sprint(r.IntN(2))})
	}
	if r.IntN(4) == 0 && !l.ending {
		t.Window = "w"
	}
	return t
}

// bounds holds that an entry that starts exceeds nothing.
func (l *life) bounds(e *entry) {
	s, class := e.flow.terms, e.flow.bin.tier.hold.class
	if class.Slots > 0 && class.busy > class.Slots {
		l.t.Fatalf("queue %q: %d in hand, slots %d", class.name, class.busy, class.Slots)
	}
	if s == nil {
		return
	}
	if s.window != nil {
		if open, _ := s.window.isOpen(l.now); !open {
			l.t.Fatalf("it starts while its window is shut")
		}
	}
	for _, b := range s.limits {
		if b.rule.gone {
			continue
		}
		if n := b.rule.Connections; n > 0 && b.busy > n {
			l.t.Fatalf("limit %s: %d in hand", b.rule.name, b.busy)
		}
		k := LimitKey{b.rule.name, b.key}
		l.started[k] = append(l.started[k], l.now)
		all := l.started[k]
		for _, r := range b.rule.Rates {
			for i, from := range all {
				most := max(r.Burst, 1) + int64(l.now.Sub(from))*r.Count/int64(r.Per)
				if n := int64(len(all) - i); n > most {
					l.t.Fatalf("limit %s %q: %d started in %d, at most %d", k.Limit, k.Key, n, l.now.Sub(from), most)
				}
			}
		}
	}
}

// tenants admits and delivers one message for each of n keys.
func tenants(m *Machine, n int) {
	for i := range n {
		r := Recipient{Transport: "smtp", NextHop: "a.example", Terms: &Terms{Limits: []LimitKey{{"tenant", fmt.Sprintf("tenant-%06d", i)}}}}
		m.Admit(0, Message{ID: MsgID(i + 1), Recipients: []Recipient{r}})
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				m.Result(0, a.Entry, HopResult{OK: true})
			}
		}
	}
}

// TestLimitMemory holds that 100,000 keys whose rates remember something fit into 64 MB,
// and that what has nothing to remember is forgotten.
func TestLimitMemory(t *testing.T) {
	const keys = 100_000
	m := New(Config{ActiveLimit: 100, Transports: map[string]Transport{"smtp": stock()},
		Limits: map[string]Limit{"tenant": {Rates: []Rate{{Count: 1000, Per: time.Hour, Burst: 10}}}}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tenants(m, keys)
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d keys: %d MB, %d bytes each; snapshot %d MB", m.Stats().Limits, used>>20, used/keys, len(m.Snapshot(0).Encode())>>20)
	if used > 64<<20 || m.Stats().Limits != keys {
		t.Errorf("%d keys take %d MB", m.Stats().Limits, used>>20)
	}
	m.Tick(Time(time.Hour))
	for i := range keys {
		r := Recipient{Transport: "smtp", NextHop: "a.example", Terms: &Terms{Limits: []LimitKey{{"tenant", fmt.Sprint("other", i)}}}}
		m.Admit(Time(time.Hour), Message{ID: MsgID(keys + i + 1), Recipients: []Recipient{r}})
		a, _ := m.Next()
		m.Result(Time(time.Hour), a.Entry, HopResult{OK: true})
		m.Next()
	}
	if n := m.Stats().Limits; n > keys+10 {
		t.Errorf("%d keys are remembered, of %d and as many that forgot all", n, keys)
	}
}

// TestLimitWakes holds that a limit which has room again wakes as many as it has room for,
// of 1,000 destinations that wait for it.
func TestLimitWakes(t *testing.T) {
	m := New(Config{ActiveLimit: 2000, Transports: map[string]Transport{"smtp": stock()},
		Limits: map[string]Limit{"few": {Connections: 3}, "slow": {Rates: []Rate{{Count: 2, Per: time.Second, Burst: 4}}}}})
	for _, name := range []string{"few", "slow"} {
		on := &Terms{Limits: []LimitKey{{name, "k"}}}
		for i := range 1000 {
			m.Admit(0, Message{ID: MsgID(len(m.messages) + 1), Recipients: []Recipient{{Transport: "smtp", NextHop: fmt.Sprint(name, i), Terms: on}}})
		}
	}
	next := func() (started []EntryID) {
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				started = append(started, a.Entry)
			}
		}
		return started
	}
	hand := next()
	if len(hand) != 7 {
		t.Fatalf("%d started", len(hand))
	}
	woken := m.woken
	m.Result(0, hand[0], HopResult{OK: true})
	if n := len(next()); n != 1 || m.woken-woken != 1 {
		t.Errorf("one ended: %d woken, %d started", m.woken-woken, n)
	}
	woken = m.woken
	m.Tick(Time(1500 * time.Millisecond))
	if n := len(next()); n != 3 || m.woken-woken > 3 {
		t.Errorf("three are due: %d woken, %d started", m.woken-woken, n)
	}
}
