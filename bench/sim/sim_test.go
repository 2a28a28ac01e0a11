package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"postrider/lib/sched"
)

// A hundredth of each scenario: the same twice, and every message is accounted
// for by both.
func TestPlay(t *testing.T) {
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := play(out, options{Seed: 1, Scale: 0.01}); err != nil {
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

// What the scheduler is for, in a small version of each scenario: no row is worse
// than the model's, and those that each scenario is about are clearly better.
func TestBetter(t *testing.T) {
	const most = math.MaxFloat64
	for _, c := range []struct {
		scenario string
		scale    float64
		class    int
		figure   string
		factor   float64 // ours times this is not more than the model's
		limit    float64 // and ours is not more than this
	}{
		{"day", 0.3, 3, "wasted attempts", 1.5, most},
		{"a", 0.2, 0, "delay, worst (s)", 10, 1},
		{"a", 0.2, 1, "wasted attempts", 2, most},
		{"b", 1, 2, "delay, median (s)", 1.5, most},
		{"b", 1, 0, "delay, 99 % (s)", 0.98, 1},
		{"b", 1, 1, "delay, 99 % (s)", 0.98, 1},
		{"c", 0.5, 1, "wasted attempts", 2, most},
		{"c", 0.5, 0, "delay, worst (s)", 0.98, 1},
		{"d", 0.3, 0, "delay, 99 % (s)", 10, 1},
		{"e", 1, 0, "delay, 99 % (s)", 100, 1},
		{"e", 1, 2, "wasted attempts", 1.3, most},
	} {
		ours, model := played(t, c.scenario, c.scale)
		for _, f := range figures {
			if f.name != c.figure {
				continue
			}
			if got, other := f.of(ours, c.class), f.of(model, c.class); got*c.factor > other || got > c.limit {
				t.Errorf("%s, class %d, %s: %.2f, the model %.2f", c.scenario, c.class, f.name, got, other)
			}
		}
	}
}

// played plays a part of a scenario, once, and holds that no row is worse.
var played = func() func(t *testing.T, name string, scale float64) (ours, model *result) {
	type pair struct{ ours, model *result }
	done := map[string]pair{}
	return func(t *testing.T, name string, scale float64) (ours, model *result) {
		t.Helper()
		if p, ok := done[name]; ok {
			return p.ours, p.model
		}
		for _, s := range scenarios {
			if s.name == name {
				w := s.make(3, scale)
				ours, model = both(w, 3)
				var out bytes.Buffer
				if n := compare(&out, w, ours, model, partNoise); n > 0 {
					t.Errorf("%s: worse in %d rows\n%s", name, n, out.String())
				}
			}
		}
		done[name] = pair{ours, model}
		return ours, model
	}
}()

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
