package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

// TestRandom plays many short random lives and holds the promises of the API:
// limits are never exceeded, every admitted recipient ends exactly once, every
// message is done exactly once and after its recipients, nothing is left over.
func TestRandom(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, seed) })
	}
}

type life struct {
	t     *testing.T
	r     *rand.Rand
	cfg   Config
	m     *Machine
	now   Time
	last  MsgID
	left  map[MsgID]map[uint32]bool // admitted and not ended recipients
	drop  map[MsgID]bool            // withdrawn
	hand  map[EntryID]Action
	busy  map[string]int  // by transport
	fast  map[string]Time // no start of the transport or destination before
	order []EntryID
}

func randomLife(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	l := &life{t: t, r: r, left: map[MsgID]map[uint32]bool{}, drop: map[MsgID]bool{},
		hand: map[EntryID]Action{}, busy: map[string]int{}, fast: map[string]Time{}}
	l.cfg = Config{ActiveLimit: 1 + r.IntN(60), Retry: Retry{MinBackoff: time.Duration(1 + r.IntN(300))}}
	l.randomTransports()
	l.m = New(l.cfg)
	l.m.keep = r.IntN(5)
	for range 600 {
		l.step()
		l.drain()
		check(t, l.m)
	}
	// The end: all is up, all succeeds, nobody starves.
	l.reload()
	l.m.Flush(l.now)
	for name := range l.cfg.Transports {
		l.m.TransportUp(l.now, name)
	}
	l.drain()
	for at, wake := l.m.WakeAt(); len(l.order) > 0 || wake; at, wake = l.m.WakeAt() {
		if len(l.order) == 0 {
			l.now = at
			l.m.Tick(at)
		}
		l.end(func(id EntryID) { l.m.Result(l.now, id, HopResult{OK: true}) })
		l.drain()
		check(t, l.m)
	}
	if len(l.left) > 0 || l.m.Stats().Messages > 0 || l.m.Stats().Recipients > 0 {
		t.Fatalf("starved: %v, %+v", l.left, l.m.Stats())
	}
}

func (l *life) randomTransports() {
	l.cfg.Transports = map[string]Transport{}
	for i := range 3 {
		if l.r.IntN(8) == 0 {
			continue
		}
		l.cfg.Transports[fmt.Sprintf("t%d", i)] = Transport{
			Slots: l.r.IntN(6), InitialConcurrency: l.r.IntN(4), ConcurrencyLimit: l.r.IntN(5), RecipientLimit: l.r.IntN(4),
			PositiveFeedback: Feedback{amount: l.r.Float64(), by: divisor(l.r.IntN(3))},
			NegativeFeedback: Feedback{amount: l.r.Float64(), by: divisor(l.r.IntN(3))},
			CohortLimit:      float64(l.r.IntN(3)), RetryTime: time.Duration(l.r.IntN(100)), UnprovenShare: l.r.IntN(120),
			DestinationRateDelay: time.Duration(max(l.r.IntN(30)-20, 0)), TransportRateDelay: time.Duration(max(l.r.IntN(30)-25, 0)),
		}
	}
}

func (l *life) reload() {
	l.randomTransports()
	l.m.SetConfig(l.now, l.cfg)
	for where, at := range l.fast { // nobody waits longer than the new delays say
		name, _, one := strings.Cut(where, ":")
		if c := l.cfg.Transports[name]; one {
			l.fast[where] = min(at, l.now.Add(c.DestinationRateDelay))
		} else {
			l.fast[where] = min(at, l.now.Add(c.TransportRateDelay))
		}
	}
}

func (l *life) step() {
	m, r := l.m, l.r
	l.now += Time(r.IntN(3))
	name := fmt.Sprintf("t%d", r.IntN(4)) // t3 never exists
	switch r.IntN(24) {
	case 0, 1, 2, 3, 4, 5, 6:
		for range min(m.Room(), 1+r.IntN(4)) {
			l.admit()
		}
	case 7, 8, 9, 10, 11, 12, 13:
		l.end(func(id EntryID) { m.Result(l.now, id, HopResult{OK: true}) })
	case 14, 15, 16:
		l.end(func(id EntryID) {
			a := l.hand[id]
			m.Result(l.now, id, HopResult{Reason: mail.Status{Text: "no"}})
			for _, d := range m.Destinations() {
				if d.Transport == a.Transport && d.Dead && d.Reason.Text != "delivery temporarily suspended: no" {
					l.t.Fatalf("reason %q", d.Reason.Text)
				}
			}
		})
	case 17:
		l.giveBack()
	case 18:
		if at, ok := m.WakeAt(); ok {
			l.now = max(l.now, at)
		}
		m.Tick(l.now)
		if at, ok := m.WakeAt(); ok && at <= l.now {
			l.t.Fatal("a timer is due and did not ring")
		}
	case 19:
		m.TransportDown(l.now, name, mail.Status{})
	case 20:
		m.TransportPause(l.now, name)
	case 21:
		m.TransportUp(l.now, name)
	case 22:
		l.withdraw(MsgID(1 + r.Uint64N(uint64(l.last)+2)))
	case 23:
		if r.IntN(4) == 0 {
			l.reload()
		} else if r.IntN(3) == 0 {
			m.Flush(l.now)
		}
	}
}

func (l *life) admit() {
	l.last++
	msg := Message{ID: l.last, Source: Source(l.r.IntN(2)), Flush: l.r.IntN(9) == 0}
	n := l.r.IntN(4)
	if l.r.IntN(10) == 0 {
		n = l.r.IntN(300)
	}
	l.left[msg.ID] = map[uint32]bool{}
	for i := range n {
		msg.Recipients = append(msg.Recipients, Recipient{Index: uint32(i * 2), Transport: fmt.Sprintf("t%d", l.r.IntN(4)),
			NextHop: fmt.Sprintf("d%d", l.r.IntN(6)), User: fmt.Sprintf("u%d", l.r.IntN(3))})
		l.left[msg.ID][uint32(i*2)] = true
	}
	l.m.Admit(l.now, msg)
	clear(msg.Recipients) // the machine must not have kept it
}

// gone ends recipients of a message, each once.
func (l *life) gone(id MsgID, recipients []uint32) {
	for _, i := range recipients {
		if !l.left[id][i] {
			l.t.Fatalf("m%d: recipient %d ended twice, or never was", id, i)
		}
		delete(l.left[id], i)
	}
}

func (l *life) drain() {
	for a, ok := l.m.Next(); ok; a, ok = l.m.Next() {
		switch a.Kind {
		case Deliver:
			c := l.cfg.Transports[a.Transport]
			l.busy[a.Transport]++
			if l.drop[a.Msg] {
				l.t.Fatalf("m%d was withdrawn", a.Msg)
			}
			if c.Slots > 0 && l.busy[a.Transport] > c.Slots {
				l.t.Fatalf("%s: %d in hand, slots %d", a.Transport, l.busy[a.Transport], c.Slots)
			}
			d := l.m.inHand[a.Entry].dest
			if d.busy > d.window {
				l.t.Fatalf("%s: %d in hand, window %d", d.key, d.busy, d.window)
			}
			if limit := c.unproven(); limit > 0 && d.rank != proven && d.trans.unprovenBusy > limit {
				l.t.Fatalf("%s: %d in hand for unproven destinations, limit %d", a.Transport, d.trans.unprovenBusy, limit)
			}
			if l.now < l.fast[a.Transport] || l.now < l.fast[a.Transport+":"+d.key] {
				l.t.Fatalf("%s:%s starts at %d before its rate allows: %v", a.Transport, d.key, l.now, l.fast)
			}
			l.fast[a.Transport] = l.now.Add(c.TransportRateDelay)
			for _, i := range a.Recipients {
				if !l.left[a.Msg][i] {
					l.t.Fatalf("m%d: recipient %d delivered after its end", a.Msg, i)
				}
			}
			l.hand[a.Entry] = a
			l.order = append(l.order, a.Entry)
		case Suspend:
			l.gone(a.Msg, a.Recipients)
		case MessageDone:
			if left := l.left[a.Msg]; left == nil || len(left) > 0 && !l.drop[a.Msg] {
				l.t.Fatalf("m%d done with %v left", a.Msg, left)
			}
			for _, h := range l.hand {
				if h.Msg == a.Msg {
					l.t.Fatalf("m%d done with e%d in hand", a.Msg, h.Entry)
				}
			}
			delete(l.left, a.Msg)
		}
	}
	// Nothing that could start is left waiting: work conservation.
	for _, t := range l.m.transports {
		for _, d := range t.dests {
			full := t.unproven() > 0 && d.rank != proven && t.unprovenBusy >= t.unproven()
			if t.state == up && !t.paced && !full && !d.resting && d.todo > 0 && d.busy < d.window && (t.Slots == 0 || t.busy < t.Slots) {
				l.t.Fatalf("%s:%s waits for nothing", t.name, d.key)
			}
		}
	}
}

// pick takes a random entry out of the shadow's hand.
func (l *life) pick() (EntryID, Action, bool) {
	if len(l.order) == 0 {
		return 0, Action{}, false
	}
	i := l.r.IntN(len(l.order))
	id := l.order[i]
	l.order = slices.Delete(l.order, i, i+1)
	return id, l.hand[id], true
}

func (l *life) end(result func(EntryID)) {
	id, a, ok := l.pick()
	if !ok {
		return
	}
	if e := l.m.inHand[id]; e != nil {
		l.fast[a.Transport+":"+e.dest.key] = l.now.Add(l.cfg.Transports[a.Transport].DestinationRateDelay)
	}
	result(id)
	result(id) // a second result of the same entry is ignored
	delete(l.hand, id)
	l.busy[a.Transport]--
	l.gone(a.Msg, a.Recipients)
}

func (l *life) giveBack() {
	id, a, ok := l.pick()
	if !ok {
		return
	}
	l.m.Return(l.now, id)
	delete(l.hand, id)
	l.busy[a.Transport]--
}

func (l *life) withdraw(id MsgID) {
	want := 0
	for _, a := range l.hand {
		if a.Msg == id {
			want += len(a.Recipients)
		}
	}
	if got := l.m.Withdraw(l.now, id); got != want {
		l.t.Fatalf("withdraw m%d: %d in hand, want %d", id, got, want)
	}
	if l.left[id] != nil {
		l.drop[id] = true
	}
}
