package sched

import (
	"fmt"
	"testing"
)

// recipients returns n of them, each for its own destination of the given
// names, or all for one when the name has no verb.
func recipients(n int, transport, hop string, from int) []Recipient {
	all := make([]Recipient, n)
	for i := range all {
		all[i] = Recipient{Index: uint32(i), Transport: transport, NextHop: hop}
		if hop[0] == '%' {
			all[i].NextHop = fmt.Sprintf(hop, from+i)
		}
	}
	return all
}

// startsUntil ends deliveries one by one, oldest first, and returns how many
// others start before the first of the message does.
func startsUntil(t *testing.T, m *Machine, hand []EntryID, id MsgID) int {
	t.Helper()
	starts := 0
	for range 100000 {
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind != Deliver {
				continue
			}
			if a.Msg == id {
				return starts
			}
			starts++
			hand = append(hand, a.Entry)
		}
		if len(hand) == 0 {
			break
		}
		m.Result(0, hand[0], HopResult{OK: true})
		hand = hand[1:]
	}
	t.Fatal("it never starts")
	return 0
}

// The bound of doc.go: a message alone in its lane starts within nine starts of
// its transport, whatever large mail is there before it, and after p of its own
// lane within 9(p+1).
func TestSmallBehindLarge(t *testing.T) {
	for _, c := range []struct {
		name       string
		slots      int
		large, hop string // next hops of the large messages, and of the small
		medium     bool
		ahead      int // small messages of the same destination before it
		want       int
	}{
		{"other destination", 1, "%d.large", "small", false, 0, 9},
		{"one of its destinations", 1, "%d.large", "500.large", false, 0, 9},
		{"same single destination", 1, "one", "one", false, 0, 9},
		{"all lanes", 1, "%d.large", "500.large", true, 0, 9},
		{"all lanes, single destination", 1, "one", "one", true, 0, 9},
		{"more slots than window", 50, "one", "one", true, 0, 9},
		{"some small ones before", 1, "one", "one", true, 4, 45},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := stock()
			tr.Slots, tr.RecipientLimit = c.slots, 2
			m := New(Config{Transports: map[string]Transport{"smtp": tr}})
			for i := range 5 {
				m.Admit(0, Message{ID: MsgID(i + 1), Recipients: recipients(1000, "smtp", c.large, 0)})
			}
			if c.medium {
				m.Admit(0, Message{ID: 10, Recipients: recipients(60, "smtp", c.large, 480)})
			}
			var hand []EntryID // the large mail takes all slots, or its window
			for a, ok := m.Next(); ok; a, ok = m.Next() {
				hand = append(hand, a.Entry)
			}
			for i := range c.ahead {
				m.Admit(0, Message{ID: MsgID(20 + i), Recipients: recipients(1, "smtp", c.hop, 0)})
			}
			m.Admit(0, Message{ID: 99, Recipients: recipients(1, "smtp", c.hop, 0)})
			got := startsUntil(t, m, hand, 99)
			t.Logf("%d other starts before", got)
			if got > c.want {
				t.Errorf("%d others start first, want at most %d", got, c.want)
			}
		})
	}
}

// Large mail still gets its turn under a flood of small mail: its share of one
// destination's connections is a half while only two lanes have any.
func TestLargeUnderFlood(t *testing.T) {
	tr := stock()
	tr.Slots, tr.RecipientLimit = 2, 1
	m := New(Config{Transports: map[string]Transport{"smtp": tr}})
	m.Admit(0, Message{ID: 1, Recipients: recipients(1000, "smtp", "%d.list", 0)})
	next, large, small := MsgID(2), 0, 0
	var hand []EntryID
	for range 1000 {
		for m.Stats().Messages < 200 {
			m.Admit(0, Message{ID: next, Recipients: recipients(1, "smtp", "%d.site", int(next%50))})
			next++
		}
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			if a.Kind == Deliver {
				hand = append(hand, a.Entry)
				if a.Msg == 1 {
					large++
				} else {
					small++
				}
			}
		}
		m.Result(0, hand[0], HopResult{OK: true})
		hand = hand[1:]
	}
	if large < 450 || small < 450 {
		t.Errorf("large mail started %d times, small %d times", large, small)
	}
}
