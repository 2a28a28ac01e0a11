package sched

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// offer does what the queue manager does with a message: it is parked when its
// destination is full.
func (s *transcript) offer(out *strings.Builder, args []string) error {
	err := s.parse(args)
	s.offerParsed(out)
	return err
}

func (s *transcript) offerParsed(out *strings.Builder) {
	r := s.message.Recipients[0]
	if !s.m.Full(r) {
		s.m.Admit(s.now, s.message)
		return
	}
	p := s.m.Parking(r)
	if s.parked == nil {
		s.parked = map[Parking][]Message{}
	}
	s.parked[p] = append(s.parked[p], s.message)
	s.m.Park(s.now, p, r)
	fmt.Fprintf(out, "m%d parked in %s:%s\n", s.message.ID, p.Transport, p.Name)
}

func (s *transcript) unpark(out *strings.Builder) {
	for s.m.Room() > 0 {
		p, ok := s.m.Unpark()
		if !ok {
			return
		}
		msg := s.parked[p][0]
		s.parked[p] = s.parked[p][1:]
		s.m.Unparked(p, 1)
		fmt.Fprintf(out, "m%d from %s:%s\n", msg.ID, p.Transport, p.Name)
		s.m.Admit(s.now, msg)
	}
}

// checkParked checks where a flow with parked mail stands.
func checkParked(bad func(bool, string, ...any), m *Machine, f *flow) int {
	key := f.bin.dest.key
	if f.parked == 0 {
		bad(f.spotIn == nil && f.list == nil, "%s: nothing parked, and in a heap", key)
		return 0
	}
	h := f.where()
	bad(f.spotIn == h && (*h)[f.spot] == f, "%s: in the wrong heap", key)
	bad(f.spot == 0 || !h.less(f.spot, (f.spot-1)/2), "%s: heap out of order", key)
	bad(f.bin.tier.parker.in != nil, "%s: its tier parks nothing", key)
	bad(m.lists[*f.list] == f, "%s: its list is not known", key)
	return 1
}

// checkHeld counts what destinations and transports hold.
func checkHeld(bad func(bool, string, ...any), m *Machine) {
	held, messages := map[any]int{}, map[any]int{}
	for _, msg := range m.messages {
		for x := msg.entries.first; x != nil; x = x.next {
			e := x.of
			class := e.flow.bin.tier.hold.class
			held[e.flow] += len(e.recipients)
			held[class] += len(e.recipients)
			held[e.dest.trans] += len(e.recipients)
			if e.leads {
				messages[e.flow]++
			}
			if e.leadsClass {
				messages[class]++
			}
			if e.leadsAll {
				messages[e.dest.trans]++
			}
		}
	}
	for name, t := range m.transports {
		bad(t.held == held[t] && t.messages == messages[t], "%s: holds %d of %d messages, counted %d of %d", name, t.held, t.messages, held[t], messages[t])
		for key, d := range t.dests {
			for _, f := range d.flows() {
				bad(f.held == held[f] && f.messages == messages[f], "%s:%s: holds %d of %d messages, counted %d of %d", name, key, f.held, f.messages, held[f], messages[f])
			}
		}
	}
	for name, c := range m.classes {
		bad(c.held == held[c] && c.messages == messages[c], "queue %s: holds %d of %d messages, counted %d of %d", name, c.held, c.messages, held[c], messages[c])
	}
}

// However many destinations do not move, a proven one, a new one and one of another
// transport find room; and one that moves never runs dry while it has parked mail.
func TestParkLeavesRoom(t *testing.T) {
	for _, blocked := range []int{1, 3, 50, 1000, 5000} {
		t.Run(fmt.Sprint(blocked), func(t *testing.T) {
			smtp := stock()
			m := New(Config{ActiveLimit: 2000, RecipientLimit: 2000, Transports: map[string]Transport{"smtp": smtp, "local": stock()}})
			id := MsgID(0)
			offer := func(transport, hop string) bool {
				r := Recipient{Transport: transport, NextHop: hop}
				if m.Full(r) || m.Room() == 0 {
					m.Park(0, m.Parking(r), r)
					return false
				}
				id++
				m.Admit(0, Message{ID: id, Recipients: []Recipient{r}})
				return true
			}
			offer("smtp", "good.example")
			a, _ := m.Next()
			m.Result(0, a.Entry, HopResult{OK: true})
			r := rand.New(rand.NewPCG(1, uint64(blocked)))
			for range 20000 {
				offer("smtp", fmt.Sprintf("%d.example", r.IntN(blocked)))
			}
			if m.Room() == 0 {
				t.Fatal("no room is left")
			}
			for _, x := range [][2]string{{"smtp", "good.example"}, {"local", "here"}} {
				if !offer(x[0], x[1]) {
					t.Errorf("%v is parked", x)
				}
			}
			if blocked <= 50 && !offer("smtp", "new.example") {
				t.Error("a new destination is parked")
			}
			check(t, m)
		})
	}
}

// All that is parked comes out, in the order of its destination, whatever happens.
func TestParkLife(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 3))
		smtp := stock()
		smtp.Slots, smtp.UnprovenShare = 10, int(seed%2)*50
		s := &transcript{m: New(Config{ActiveLimit: 60, RecipientLimit: 90, Transports: map[string]Transport{"smtp": smtp}})}
		hand := []EntryID{}
		last := map[string]uint32{}
		over := map[MsgID]bool{}
		step := func() {
			s.unpark(&strings.Builder{})
			for a, ok := s.m.Next(); ok; a, ok = s.m.Next() {
				switch a.Kind {
				case Deliver:
					if a.Recipients[0] < last[a.NextHop] {
						t.Fatalf("seed %d: %s: %v after %d", seed, a.NextHop, a.Recipients, last[a.NextHop])
					}
					last[a.NextHop] = a.Recipients[0]
					hand = append(hand, a.Entry)
				case MessageDone:
					over[a.Msg] = true
				}
			}
			check(t, s.m)
		}
		end := func() {
			i := r.IntN(len(hand))
			s.m.Result(s.now, hand[i], HopResult{OK: r.IntN(5) > 0})
			hand = append(hand[:i], hand[i+1:]...)
		}
		const n = 1500
		for i := range n {
			hop := fmt.Sprintf("%d.example", r.IntN(1+i%7))
			s.message = Message{ID: MsgID(i + 1), Recipients: []Recipient{{Index: uint32(i), Transport: "smtp", NextHop: hop}}}
			var out strings.Builder
			s.offerParsed(&out)
			step()
			for len(hand) > 0 && r.IntN(3) == 0 {
				end()
				step()
			}
			if r.IntN(50) == 0 {
				s.now = s.now.Add(400e9)
				s.m.Tick(s.now)
			}
		}
		for len(hand) > 0 {
			end()
			step()
		}
		if len(over) != n || s.m.parkedFlows != 0 {
			t.Fatalf("seed %d: %d of %d messages are done, %d flows have parked mail", seed, len(over), n, s.m.parkedFlows)
		}
	}
}
