package sched

import (
	"math/rand/v2"
	"testing"
)

func TestTimers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var h timers
	all := make([]timer, 200)
	for range 20000 {
		switch tm := &all[r.IntN(len(all))]; r.IntN(3) {
		case 0:
			h.clear(tm)
		default:
			h.set(tm, Time(r.IntN(1000)))
		}
		for i, tm := range h {
			if tm.place != i+1 || i > 0 && h[(i-1)/2].at > tm.at {
				t.Fatalf("out of order at %d of %d", i, len(h))
			}
		}
	}
	set := 0
	for i := range all {
		if all[i].place > 0 {
			set++
		}
	}
	if set != len(h) {
		t.Fatalf("%d timers think they are set, %d are", set, len(h))
	}
}
