package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"postrider/lib/sched"
)

// A thirtieth of each scenario: the same twice, and every message is accounted
// for by both.
func TestPlay(t *testing.T) {
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := play(out, options{Seed: 1, Scale: 0.03}); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Error("the same seed gave two days")
	}
	for _, s := range scenarios {
		if !strings.Contains(first.String(), "\n"+s.name+": ") && !strings.HasPrefix(first.String(), s.name+": ") {
			t.Errorf("no scenario %s", s.name)
		}
	}
	if err := play(&first, options{Only: []string{"z"}}); err == nil {
		t.Error("scenario z was played")
	}
}

// What the scheduler is for: healthy mail hardly notices black holes or a
// mailing, and a model that lacks the means does.
func TestPoint(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(uint64, float64) *world
		scale float64
		most  float64 // seconds, 99 % of the first class
	}{{"black holes", holes, 0.1, 1}, {"mailing", mailing, 0.3, 1}, {"giant down", downGiant, 0.1, 1}} {
		w := c.make(3, c.scale)
		s, later := newOurs(3)(w.limits)
		ours := simulate(w, s, later)
		s, later = newPostfix(w.limits)
		model := simulate(w, s, later)
		if got := ours.quantile(0, 0.99); got > c.most {
			t.Errorf("%s: 99 %% of healthy mail within %.2f s, want %v", c.name, got, c.most)
		}
		if len(ours.delays[0]) < len(model.delays[0]) {
			t.Errorf("%s: %d delivered, the model %d", c.name, len(ours.delays[0]), len(model.delays[0]))
		}
		if c.name == "black holes" && model.quantile(0, 0.99) < 20 {
			t.Error("the model does not mind black holes: it cannot be Postfix")
		}
	}
}

// The model's windows: Postfix's failures until a destination is dead.
func TestModelDies(t *testing.T) {
	for window, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 10: 7, 20: 13} {
		p := &postfix{}
		q := &queue{window: window, entries: map[*entry]bool{}}
		n := 0
		for ; !q.dead && n < 99; n++ {
			p.worse(q)
		}
		if n != want {
			t.Errorf("window %d: dead after %d failures, want %d", window, n, want)
		}
	}
}

// The model's delivery slots: a message with one recipient passes a large one
// within some deliveries, and one with many does not.
func TestModelPreempts(t *testing.T) {
	s, _ := newPostfix(defaults)
	p := s.(*postfix)
	msg := func(id uint32, n int) *message {
		m := &message{id: id, sites: make([]int32, n)}
		for i := range n {
			m.sites[i] = int32(i)
			m.todo = append(m.todo, uint32(i))
		}
		return m
	}
	p.admit(0, msg(1, 1000), false)
	p.admit(0, msg(2, 90), false)
	p.admit(0, msg(3, 1), false)
	var order []uint32
	for len(order) < 20 {
		a, ok := p.next()
		if !ok {
			t.Fatalf("nothing more after %v", order)
		}
		if a.entry == 0 {
			continue
		}
		order = append(order, a.msg)
		p.result(0, a.entry, true)
	}
	if order[1] != 3 || order[0] != 1 || order[2] != 1 || order[19] != 1 {
		t.Errorf("order %v, want message 3 second, and message 2 not yet", order)
	}
}

// Deferred mail of the model waits for a scan, ours does not.
func TestDeferred(t *testing.T) {
	m := &message{id: 1}
	q := &scan{limits: defaults}
	q.put(200e9, m)
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{300 * time.Second, false}, {500 * time.Second, false}, {600 * time.Second, true}} {
		if got := q.next(sched.Time(c.at)) != nil; got != c.want {
			t.Errorf("at %v: %v", c.at, got)
		}
	}
}
