package sched

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCost is one message admitted, delivered and done while so many are
// active for so many destinations behind 100 slots. It must be flat.
func BenchmarkCost(b *testing.B) {
	for _, active := range []int{100, 1000, 20000} {
		for _, destinations := range []int{10, 1000, 20000} {
			b.Run(fmt.Sprintf("active=%d/destinations=%d", active, destinations), func(b *testing.B) {
				cost(b, active, destinations)
			})
		}
	}
}

func cost(b *testing.B, active, destinations int) {
	step := costs(active, destinations)
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// costs returns one such step, warmed up.
func costs(active, destinations int) (step func()) {
	tr := stock()
	tr.UnprovenShare = 50
	m := New(Config{ActiveLimit: active, Transports: map[string]Transport{"smtp": tr}})
	hops := make([]string, destinations)
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
	step = func() {
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				hand = append(hand, a.Entry)
			}
		}
		m.Result(Time(next), hand[0], HopResult{OK: true})
		hand = append(hand[:0], hand[1:]...)
		admit()
	}
	for range 2 * max(active, destinations) {
		step()
	}
	return step
}

// processor returns the processor time that was used, with the garbage
// collector's: what a busy machine says of the cost.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
