package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is rerouted and when, each recipient ends once, by the way that he was given
// last unless he was in hand, and those who need not move keep their places.
func TestReroute(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		tr := stock()
		tr.Slots, tr.InitialConcurrency, tr.ConcurrencyLimit, tr.RecipientLimit = 3, 2, 2, 2
		m := New(Config{ActiveLimit: 100, RecipientLimit: 1000, Retry: Retry{MinBackoff: time.Hour}, Transports: map[string]Transport{"a": tr, "b": tr}})
		way := map[string]string{} // "message recipient" to where he is to go
		var hand []Action
		done, tried := map[MsgID]bool{}, 0
		choose := func(id MsgID, n uint32) Recipient {
			to := Recipient{Index: n, Transport: string("ab"[r.IntN(2)]), NextHop: fmt.Sprintf("h%d", r.IntN(3))}
			way[fmt.Sprint(id, n)] = to.Transport + to.NextHop
			return to
		}
		drain := func() {
			for {
				a, ok := m.Next()
				switch {
				case !ok:
					check(t, m)
					return
				case a.Kind == Deliver:
					for _, n := range a.Recipients {
						if want := way[fmt.Sprint(a.Msg, n)]; want != a.Transport+a.NextHop {
							t.Fatalf("seed %d: recipient %d of %d goes to %s%s, not %s", seed, n, a.Msg, a.Transport, a.NextHop, want)
						}
						delete(way, fmt.Sprint(a.Msg, n))
						tried++
					}
					hand = append(hand, a)
				case a.Kind == MessageDone:
					done[a.Msg] = true
				}
			}
		}
		total := 0
		for id := MsgID(1); id <= 40; id++ {
			in := Message{ID: id}
			for n := range uint32(1 + r.IntN(5)) {
				in.Recipients = append(in.Recipients, choose(id, n))
			}
			total += len(in.Recipients)
			m.Admit(Time(id), in)
			drain()
			if other := MsgID(1 + r.IntN(int(id))); r.IntN(2) == 0 && !done[other] {
				odd := r.IntN(3)
				again := m.Reroute(Time(id), other, func(to Recipient, _ []uint32) bool { return to.NextHop != fmt.Sprintf("h%d", odd) })
				in := Message{ID: other, Beside: true}
				for _, n := range again {
					in.Recipients = append(in.Recipients, choose(other, n))
				}
				if again != nil {
					m.Admit(Time(id), in)
				}
				drain()
			}
			if len(hand) > 2 {
				m.Result(Time(id), hand[0].Entry, HopResult{OK: true})
				hand = hand[1:]
				drain()
			}
		}
		for len(hand) > 0 {
			m.Result(1000, hand[0].Entry, HopResult{OK: true})
			hand = hand[1:]
			drain()
		}
		if len(way) > 0 || len(done) != 40 || tried != total || m.Stats().Recipients > 0 {
			t.Fatalf("seed %d: left %v, %d messages done, %d of %d tried, %+v", seed, way, len(done), tried, total, m.Stats())
		}
	}
	m := New(Config{ActiveLimit: 9, Transports: map[string]Transport{"a": stock()}})
	m.Admit(1, Message{ID: 1, Recipients: recipients(1, "a", "h", 0)})
	a, _ := m.Next()
	if again := m.Reroute(2, 1, func(Recipient, []uint32) bool { return false }); again != nil {
		t.Errorf("taken from an agent's hand: %v", again)
	}
	m.Return(3, a.Entry) // untried: it is left to whoever hears that the message is done
	if b, ok := m.Next(); !ok || b.Kind != MessageDone {
		t.Errorf("goes the old way: %+v", b)
	}
}
