package sched

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The transcripts' commands for what a policy says.

// daily is a window that is open from one time of each day to another.
func daily(from, to time.Duration) Window {
	const day = Time(24 * time.Hour)
	return func(at Time) (bool, Time) {
		midnight := at - at%day
		switch {
		case at < midnight.Add(from):
			return false, midnight.Add(from)
		case at < midnight.Add(to):
			return true, midnight.Add(to)
		}
		return false, (midnight + day).Add(from)
	}
}

func (s *transcript) policy(what string, args []string) error {
	c := &s.cfg
	switch what {
	case "queue":
		if c.Queues == nil {
			c.Queues = map[string]Queue{}
		}
		if len(args) == 2 && args[1] == "gone" {
			delete(c.Queues, args[0])
			return nil
		}
		q := Queue{Weight: 1, Share: -1}
		err := settings(args[1:], map[string]any{"slots": &q.Slots, "weight": &q.Weight, "share": &q.Share})
		c.Queues[args[0]] = q
		return err
	case "priorities":
		if c.NoPriorities = args[0] == "off"; c.NoPriorities {
			return nil
		}
		var err error
		c.Aging, err = duration(args[0])
		return err
	case "limit":
		if c.Limits == nil {
			c.Limits = map[string]Limit{}
		}
		if args[1] == "gone" {
			delete(c.Limits, args[0])
			return nil
		}
		var l Limit
		for _, a := range args[1:] {
			if n, ok := strings.CutPrefix(a, "connections="); ok {
				l.Connections, _ = strconv.Atoi(n)
				continue
			}
			part := strings.Split(a, "/")
			r := Rate{Burst: 1}
			r.Count, _ = strconv.ParseInt(part[0], 10, 64)
			r.Per, _ = duration(part[1])
			if len(part) > 2 {
				r.Burst, _ = strconv.ParseInt(part[2], 10, 64)
			}
			l.Rates = append(l.Rates, r)
		}
		c.Limits[args[0]] = l
	case "window":
		if c.Windows == nil {
			c.Windows = map[string]Window{}
		}
		from, to, _ := strings.Cut(args[1], "-")
		begin, err := duration(from)
		if err != nil {
			return err
		}
		end, err := duration(to)
		c.Windows[args[0]] = daily(begin, end)
		return err
	case "pool":
		if c.Pools == nil {
			c.Pools = map[string][]Member{}
		}
		var list []Member
		for _, a := range args[1:] {
			name, weight, _ := strings.Cut(a, "=")
			weight, limit, _ := strings.Cut(weight, "/")
			n, err := strconv.Atoi(weight)
			if err != nil {
				return err
			}
			list = append(list, Member{Source: name, Weight: n, Limit: limit})
		}
		c.Pools[args[0]] = list
	case "sourcedown":
		s.m.SourceDown(s.now, args[0])
	}
	return nil
}

// schedule sets the schedule, or says what it gives.
func (s *transcript) schedule(out *strings.Builder, what string, args []string) error {
	list := func(text string) (all []time.Duration) {
		for t := range strings.SplitSeq(text, ",") {
			d, _ := duration(t)
			all = append(all, d)
		}
		return all
	}
	switch what {
	case "notices":
		told, err := duration(args[0])
		if up, due := s.paces.Noticed(told, time.Duration(s.now)); due {
			fmt.Fprintf(out, "notice, all are sent up to %v\n", up)
		}
		if next, ok := s.paces.Notice(max(told, time.Duration(s.now))); ok {
			fmt.Fprintf(out, "the next at %v\n", next)
		}
		return err
	case "failures":
		for _, a := range args {
			n, err := strconv.Atoi(a)
			if err != nil {
				return err
			}
			if s.paces.Over(s.cfg.Retry, n, 0, s.now, false) {
				fmt.Fprintf(out, "%d: over\n", n)
				continue
			}
			fmt.Fprintf(out, "%d: in %v\n", n, time.Duration(s.paces.Next(s.cfg.Retry, n, 0, s.now, 1)-s.now).Round(time.Second))
		}
		return nil
	}
	s.paces = &Schedule{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "ladder":
			s.paces.Ladder = list(value)
		case "notice":
			s.paces.Notices = list(value)
		case "tier":
			after, every, _ := strings.Cut(value, "/")
			n, _ := strconv.Atoi(after)
			s.paces.Tiers = append(s.paces.Tiers, Pace{n, list(every)[0]})
		default:
			if err := settings([]string{a}, map[string]any{"interval": &s.paces.Interval, "max": &s.paces.MaxInterval, "expire": &s.paces.Expire,
				"attempts": &s.paces.MaxAttempts, "jitter": &s.paces.Jitter}); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestHigherBehindMany holds that a message of a higher level which comes behind a great
// many of a lower one, for the same destination, is neither parked nor kept waiting: it is
// the next that starts.
func TestHigherBehindMany(t *testing.T) {
	const many = 200_000
	m := New(Config{ActiveLimit: 20000, Transports: map[string]Transport{"smtp": stock()},
		Queues: map[string]Queue{DefaultQueue: {Weight: 1}, "bulk": {Weight: 1}}, Aging: time.Hour})
	low := &Terms{Queue: "bulk", Level: Low}
	parked := 0
	for i := range many {
		r := Recipient{Transport: "smtp", NextHop: "one.example", Terms: low}
		if m.Full(r) {
			m.Park(0, m.Parking(r), r)
			parked++
			continue
		}
		m.Admit(0, Message{ID: MsgID(i + 1), Recipients: []Recipient{r}})
	}
	if parked < many/2 {
		t.Fatalf("only %d are parked", parked)
	}
	var hand []EntryID
	for a, ok := m.Next(); ok; a, ok = m.Next() {
		hand = append(hand, a.Entry)
	}
	high := Recipient{Transport: "smtp", NextHop: "one.example"}
	if m.Full(high) {
		t.Fatal("a message of a higher level is parked")
	}
	m.Admit(0, Message{ID: many + 1, Recipients: []Recipient{high}})
	m.Result(0, hand[0], HopResult{OK: true})
	for a, ok := m.Next(); ok; a, ok = m.Next() {
		if a.Kind == Deliver {
			if a.Msg != many+1 {
				t.Fatalf("m%d starts before it", a.Msg)
			}
			return
		}
	}
	t.Fatal("nothing starts")
}
