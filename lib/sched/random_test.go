package sched

import (
	"fmt"
	"math/rand/v2"
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
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, rand.New(rand.NewPCG(seed, 1)), func() bool { return true }) })
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
	index uint32 // of the last refill

	ending  bool
	policy  bool                // queues, limits and windows
	started map[LimitKey][]Time // of each limit since its rates changed
}

// FuzzEvents plays lives whose every choice is a byte of the input.
func FuzzEvents(f *testing.F) {
	for seed := range uint64(4) {
		r, data := rand.New(rand.NewPCG(seed, 2)), make([]byte, 2000)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &tape{data: data}
		randomLife(t, rand.New(in), func() bool { return in.at < len(data) })
	})
}

// tape is a source of chance that is an input, and then a plain sequence.
type tape struct {
	data []byte
	at   int
}

func (t *tape) Uint64() uint64 {
	t.at++
	if t.at > len(t.data) {
		return mix(uint64(t.at))
	}
	return uint64(t.data[t.at-1])<<56 | mix(uint64(t.at))>>8
}

func randomLife(t *testing.T, r *rand.Rand, more func() bool) {
	l := &life{t: t, r: r, left: map[MsgID]map[uint32]bool{}, drop: map[MsgID]bool{},
		hand: map[EntryID]Action{}, busy: map[string]int{}, fast: map[string]Time{}}
	l.policy = r.IntN(3) > 0
	l.started = map[LimitKey][]Time{}
	l.cfg = Config{ActiveLimit: 1 + r.IntN(60), Retry: Retry{MinBackoff: time.Duration(1 + r.IntN(300))}}
	l.randomTransports()
	l.randomPolicy()
	l.m = New(l.cfg)
	l.m.keep = r.IntN(5)
	for n := 0; n < 600 && more(); n++ {
		l.step()
		if n%100 == 99 {
			l.restart()
		}
		l.drain()
		check(t, l.m)
	}
	// The end: all is up, all succeeds, nobody starves.
	l.ending = true
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
			Resolves:         l.r.IntN(2) == 0, CohortLimit: float64(l.r.IntN(3)), UnprovenShare: l.r.IntN(120),
			DestinationRateDelay: time.Duration(max(l.r.IntN(30)-20, 0)), TransportRateDelay: time.Duration(max(l.r.IntN(30)-25, 0)),
		}
	}
}

// restart holds that a snapshot tells another machine what this one knows.
func (l *life) restart() {
	s, err := DecodeSnapshot(l.m.Snapshot(l.now).Encode())
	if err != nil {
		l.t.Fatal(err)
	}
	m := New(l.cfg)
	m.Restore(l.now, s)
	check(l.t, m)
	for _, is := range m.Destinations() {
		d := l.m.transports[is.Transport].dests[is.Name]
		was := l.m.describe(d)
		was.Busy, was.Todo = 0, 0
		if was.Dead && !is.Dead {
			l.t.Fatalf("%+v came back as %+v", was, is)
		}
		if is != was {
			l.t.Fatalf("%+v came back as %+v", was, is)
		}
	}
}

func (l *life) reload() {
	l.randomTransports()
	if l.r.IntN(2) == 0 {
		l.randomPolicy()
	}
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
	case 19, 20:
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
	msg := Message{ID: l.last, Flush: l.r.IntN(9) == 0}
	n := l.r.IntN(4)
	if l.r.IntN(10) == 0 {
		n = l.r.IntN(300)
	}
	l.left[msg.ID] = map[uint32]bool{}
	msg.More = l.r.IntN(5) == 0
	if l.r.IntN(4) == 0 {
		msg.Expire, msg.Notice = l.now+Time(l.r.IntN(30)), l.now+Time(l.r.IntN(30))
	}
	for i := range n {
		msg.Recipients = append(msg.Recipients, Recipient{Terms: l.terms(), Index: uint32(i * 2), Transport: fmt.Sprintf("t%d", l.r.IntN(4)),
			NextHop: fmt.Sprintf("d%d", l.r.IntN(6)), User: fmt.Sprintf("u%d", l.r.IntN(3))})
		l.left[msg.ID][uint32(i*2)] = true
	}
	l.m.Admit(l.now, msg)
	clear(msg.Recipients) // the machine must not have kept it
}
