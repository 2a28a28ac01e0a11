package sched

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// The cost of a delivery does not grow with the mail or the destinations there
// are. Memory is counted, which is exact; time is judged by ratio, of the best of
// several runs and with a margin that no busy machine uses up but any search
// through 20,000 of something does. BenchmarkCost has the figures.
func TestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures")
	}
	const steps = 3000
	measure := func(active, destinations int) (allocations float64, each time.Duration) {
		step := costs(active, destinations)
		allocations = testing.AllocsPerRun(steps, step)
		each = math.MaxInt64
		for range 5 {
			begin := time.Now()
			for range steps {
				step()
			}
			each = min(each, time.Since(begin)/steps)
		}
		return allocations, each
	}
	few, quick := measure(100, 10)
	for _, c := range []struct{ active, destinations int }{{100, 20000}, {20000, 10}, {20000, 20000}} {
		t.Run(fmt.Sprint(c.active, c.destinations), func(t *testing.T) {
			many, slow := measure(c.active, c.destinations)
			t.Logf("%.1f allocations and %v, against %.1f and %v", many, slow, few, quick)
			if many > few+3 { // a destination may be new each time
				t.Errorf("%.1f allocations, with few %.1f", many, few)
			}
			if slow > 20*quick && slow > 40*time.Microsecond {
				t.Errorf("%v, with few %v", slow, quick)
			}
		})
	}
}
