package qmgr

import (
	"fmt"
	"testing"
	"time"
)

// TestDemand: a destination is in demand when it was asked for a moment ago, and what is
// remembered is bounded by what was asked for since.
func TestDemand(t *testing.T) {
	var d demand
	at := time.Now()
	for _, step := range []struct {
		after   time.Duration
		nextHop string
		want    bool
	}{
		{0, "a", false}, {0, "a", true}, {0, "b", false},
		{demandTime, "a", true}, {0, "b", true}, {0, "c", false},
		{2 * demandTime, "a", false}, {demandTime / 2, "a", true},
		{5 * demandTime, "b", false}, {-time.Hour, "a", false}, {0, "a", true},
	} {
		at = at.Add(step.after)
		if got := d.again(at, "smtp", step.nextHop); got != step.want {
			t.Errorf("%+v: %v", step, got)
		}
	}
	if d.again(at, "relay", "a") {
		t.Error("another transport's demand counts")
	}
	for i := range 10_000 {
		at = at.Add(demandTime / 100)
		d.again(at, "smtp", fmt.Sprint(i))
	}
	if n := len(d.now) + len(d.before); n > 210 {
		t.Errorf("%d destinations are remembered", n)
	}
}
