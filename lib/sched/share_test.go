package sched

import (
	"fmt"
	"slices"
	"testing"
)

// How many slots the unproven may hold; 0 is no limit.
func TestUnprovenSlots(t *testing.T) {
	for _, c := range []struct{ slots, share, want int }{
		{100, 50, 50}, {3, 50, 1}, {3, 20, 1}, {1, 50, 1}, {1, 99, 1}, {0, 50, 0}, {100, 0, 0}, {100, 100, 0}, {100, 120, 0}, {100, -1, 0},
	} {
		if got := (&Transport{Slots: c.slots, UnprovenShare: c.share}).unproven(); got != c.want {
			t.Errorf("%d %% of %d slots: %d, want %d", c.share, c.slots, got, c.want)
		}
	}
}

// Ten thousand black holes, one healthy destination with a message a second: it
// never waits, and new destinations get a turn among those that failed.
func TestBlackHoles(t *testing.T) {
	tr := stock()
	tr.UnprovenShare = 50
	m := New(Config{ActiveLimit: 30000, Retry: Retry{MinBackoff: 300e9}, Transports: map[string]Transport{"smtp": tr}})
	m.Admit(0, Message{ID: 1, Recipients: recipients(1, "smtp", "healthy", 0)})
	a, _ := m.Next()
	m.Result(0, a.Entry, HopResult{OK: true})
	for i := range 10000 {
		m.Admit(0, Message{ID: MsgID(100 + i), Recipients: recipients(1, "smtp", "%d.hole", i)})
	}
	type end struct {
		at Time
		id EntryID
	}
	var ends []end // by time, since every hole takes as long
	id := MsgID(100000)
	for now := Time(0); now < 3600e9; now += 1e9 {
		m.Tick(now)
		for len(ends) > 0 && ends[0].at <= now {
			m.Result(now, ends[0].id, HopResult{})
			ends = ends[1:]
		}
		id++
		m.Admit(now, Message{ID: id, Recipients: recipients(1, "smtp", "healthy", 0)})
		started := false
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			switch {
			case a.Kind == Deliver && a.NextHop == "healthy":
				started = started || a.Msg == id
				m.Result(now, a.Entry, HopResult{OK: true})
			case a.Kind == Deliver:
				ends = append(ends, end{now + 30e9, a.Entry})
			}
		}
		if !started || len(ends) > 50 {
			t.Fatalf("at %v: healthy mail started %v, %d slots in black holes", now, started, len(ends))
		}
	}
	check(t, m)
}

// A destination whose first mail comes when ten thousand black holes hold all that
// they may, and wait for more, has one of the next eight slots that are free.
func TestNewcomerAmongHoles(t *testing.T) {
	tr := stock()
	tr.UnprovenShare = 50
	m := New(Config{ActiveLimit: 30000, Retry: Retry{MinBackoff: 300e9}, Transports: map[string]Transport{"smtp": tr}})
	for i := range 10000 {
		m.Admit(0, Message{ID: MsgID(100 + i), Recipients: recipients(1, "smtp", "%d.hole", i)})
	}
	var inHand []EntryID
	starts := func(now Time) (names []string) {
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				names, inHand = append(names, a.NextHop), append(inHand, a.Entry)
			}
		}
		return names
	}
	oldest := starts(0)
	if len(oldest) != 50 {
		t.Fatalf("%d start", len(oldest))
	}
	for round := range 20 {
		now := Time(round+1) * 1e9
		name := fmt.Sprintf("%d.new", round)
		m.Admit(now, Message{ID: MsgID(20000 + round), Recipients: recipients(1, "smtp", name, 0)})
		for range 8 {
			m.Result(now, inHand[0], HopResult{})
			inHand = inHand[1:]
		}
		if names := starts(now); len(names) != 8 || !slices.Contains(names, name) {
			t.Errorf("eight slots are free, and %v start, not %s", names, name)
		}
	}
	check(t, m)
}
