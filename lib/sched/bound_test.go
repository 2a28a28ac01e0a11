package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The bound of doc.go, over random workloads: a destination that has room gets a
// turn at least once in 3 R starts of its rank, R being the destinations that had
// mail of the same lane ready meanwhile, and the entry with p others before it in
// its lane goes with the 3(p+1)th turn at the latest. All destinations here are of
// one rank, so the starts are the transport's.
func TestBound(t *testing.T) {
	worst := 0.0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		tr := stock()
		tr.Slots, tr.RecipientLimit = 1+r.IntN(8), 1+r.IntN(3)
		tr.ConcurrencyLimit, tr.InitialConcurrency = 0, 100 // so that every destination has room
		m := New(Config{ActiveLimit: 1000, RecipientLimit: 100000, Transports: map[string]Transport{"smtp": tr}})
		sites := 1 + r.IntN(20)
		waits := map[*entry]*bound{}
		var hand []EntryID
		last := MsgID(0)
		for range 600 {
			if r.IntN(3) == 0 {
				last++
				size := []int{1, 1, 1, 2, 10, 40, 150, 600}[r.IntN(8)]
				msg := Message{ID: last}
				one := r.IntN(sites)
				for i := range size {
					site := one
					if seed%2 == 0 {
						site = r.IntN(sites)
					}
					msg.Recipients = append(msg.Recipients, Recipient{Index: uint32(i), Transport: "smtp", NextHop: fmt.Sprint("site", site)})
				}
				m.Admit(0, msg)
				x := m.messages[last].entries.first
				for i := r.IntN(m.messages[last].entries.n); i > 0; i-- {
					x = x.next
				}
				if len(waits) < 20 { // a sample
					waits[x.of] = &bound{ahead: before(x.of)}
				}
			}
			for a, ok := m.Next(); ok; a, ok = m.Next() {
				if a.Kind != Deliver {
					continue
				}
				e := m.inHand[a.Entry]
				b := waits[e]
				delete(waits, e)
				if b == nil {
					b = &bound{}
				}
				if most := 3 * b.ready * 3 * (b.ahead + 1); b.starts >= most && b.starts > 0 {
					t.Fatalf("seed %d: %d starts before an entry with %d before it, among %d destinations", seed, b.starts, b.ahead, b.ready)
				} else if most > 0 {
					worst = max(worst, float64(b.starts+1)/float64(most))
				}
				hand = append(hand, a.Entry)
				ready := m.ready1("smtp")
				for other, b := range waits {
					b.starts++
					b.ready = max(b.ready, ready[other.lane])
				}
			}
			if len(hand) > 0 {
				i := r.IntN(len(hand))
				m.Result(0, hand[i], HopResult{OK: true})
				hand = append(hand[:i], hand[i+1:]...)
			}
		}
	}
	t.Logf("at most %.0f %% of the bound", 100*worst)
	if worst < 0.2 {
		t.Error("the workloads do not come near the bound: they show nothing")
	}
}

// bound is what TestBound knows of an entry that waits.
type bound struct{ ahead, starts, ready int }

// before counts what goes before an entry in its lane.
func before(e *entry) (n int) {
	for x := e.turn.prev; x != nil; x = x.prev {
		n++
	}
	return n
}

// ready1 counts the destinations with mail ready, and one for that which may have
// just left with its last, by lane, in all ranks.
func (m *Machine) ready1(name string) (n [lanes]int) {
	for r := range m.transports[name].base.rings {
		for l := range n {
			n[l] += m.transports[name].base.rings[r][l].n
		}
	}
	for l := range n {
		n[l]++
	}
	return n
}
