package sched

import (
	"fmt"
	"testing"
)

// BenchmarkFull is one message admitted, delivered and done while 20,000 are
// active for 5,000 destinations behind 100 slots.
func BenchmarkFull(b *testing.B) {
	m := New(Config{ActiveLimit: 20000, Transports: map[string]Transport{"smtp": stock()}})
	hops := make([]string, 5000)
	for i := range hops {
		hops[i] = fmt.Sprintf("site%d.example", i)
	}
	r := make([]Recipient, 1)
	next := MsgID(0)
	admit := func() {
		for m.Room() > 0 {
			next++
			r[0] = Recipient{Transport: "smtp", NextHop: hops[int(next)*7919%len(hops)]}
			m.Admit(Time(next), Message{ID: next, Recipients: r})
		}
	}
	admit()
	var hand []EntryID
	step := func() {
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				hand = append(hand, a.Entry)
			}
		}
		m.Result(Time(next), hand[0], HopResult{OK: true})
		hand = append(hand[:0], hand[1:]...)
		admit()
	}
	for range 40000 {
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// BenchmarkDead is one message admitted for a dead destination.
func BenchmarkDead(b *testing.B) {
	m := New(Config{ActiveLimit: 10, Transports: map[string]Transport{"smtp": {CohortLimit: 1}}, Retry: Retry{MinBackoff: 1 << 60}})
	r := []Recipient{{Transport: "smtp", NextHop: "a.example"}}
	m.Admit(0, Message{ID: 1, Recipients: r})
	m.Next()
	m.Result(0, 1, HopResult{})
	b.ReportAllocs()
	id := MsgID(1)
	for b.Loop() {
		id++
		m.Admit(0, Message{ID: id, Recipients: r})
		for _, ok := m.Next(); ok; _, ok = m.Next() {
		}
	}
}

// BenchmarkLarge is one recipient of messages for 1,000 each.
func BenchmarkLarge(b *testing.B) {
	m := New(Config{ActiveLimit: 100, Transports: map[string]Transport{"smtp": stock()}})
	r := recipients(1000, "smtp", "%d.example", 0)
	b.ReportAllocs()
	id, n := MsgID(0), 0
	for b.Loop() {
		if n == 0 {
			id, n = id+1, len(r)
			m.Admit(0, Message{ID: id, Recipients: r})
		}
		for {
			a, ok := m.Next()
			if !ok {
				break
			}
			if a.Kind == Deliver {
				m.Result(0, a.Entry, HopResult{OK: true})
			}
		}
		n--
	}
}
