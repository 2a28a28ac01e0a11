package sched

import (
	"math/rand/v2"
	"testing"
	"time"

	"postrider/lib/mail"
)

// TestSimulation runs an hour of a small site in its own time: 50 destinations,
// of which 5 refuse connections and 5 are slow, 30 messages a second, retries by
// Postfix's backoff. Healthy mail must hardly notice, the dead be left alone.
func TestSimulation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	tr := stock()
	tr.Slots = 90 // the slow ones alone want 60
	retry := Retry{MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second}
	m := New(Config{ActiveLimit: 20000, Transports: map[string]Transport{"smtp": tr}, Retry: retry})

	type event struct {
		end  EntryID // 0: a message arrives or is due again
		msg  MsgID
		hop  int
		fail bool
	}
	var q queue[event]
	born := map[MsgID]Time{}
	hops := map[MsgID]int{}
	var now Time
	last, attempts := MsgID(0), [50]int{}
	var worst, sum time.Duration
	healthy := 0
	q.add(0, event{})
	for {
		at, e, ok := q.next()
		if wake, any := m.WakeAt(); any && (!ok || wake < at) {
			now = wake
			m.Tick(now)
		} else if !ok {
			break
		} else {
			q.pop()
			now = at
			switch {
			case e.end != 0:
				m.Result(now, e.end, HopResult{OK: !e.fail, Reason: mail.Status{Text: "connection refused"}})
				if e.fail && now < Time(time.Hour) {
					q.add(retry.Next(born[e.msg], now, uint64(e.msg)), event{msg: e.msg, hop: e.hop})
				}
			case e.msg != 0:
				m.Admit(now, Message{ID: e.msg, Recipients: recipients(1, "smtp", "%d.example", e.hop)})
			default:
				last++
				hop := r.IntN(50)
				born[last], hops[last] = now, hop
				m.Admit(now, Message{ID: last, Recipients: recipients(1, "smtp", "%d.example", hop)})
				if now < Time(time.Hour) {
					q.add(now.Add(time.Duration(r.ExpFloat64()*float64(time.Second)/30)), event{})
				}
			}
		}
		for a, ok := m.Next(); ok; a, ok = m.Next() {
			hop := hops[a.Msg]
			switch a.Kind {
			case Deliver:
				if now < Time(time.Hour) {
					attempts[hop]++
				}
				took, fail := time.Duration(100+r.IntN(200))*time.Millisecond, false
				switch {
				case hop < 5: // refuses after a timeout
					took, fail = 30*time.Second, true
				case hop < 10:
					took = 20 * time.Second
				default:
					wait := now.Sub(born[a.Msg])
					worst, sum = max(worst, wait), sum+wait
					healthy++
				}
				q.add(now.Add(took), event{end: a.Entry, msg: a.Msg, hop: hop, fail: fail})
			case Suspend:
				if hop >= 5 {
					t.Fatalf("mail for the living destination %d is suspended", hop)
				}
				if now < Time(time.Hour) {
					q.add(retry.Next(born[a.Msg], now, uint64(a.Msg)), event{msg: a.Msg, hop: hop})
				}
			}
		}
	}
	check(t, m)
	if s := m.Stats(); s.Messages != 0 {
		t.Errorf("left over: %+v", s)
	}
	t.Logf("%d messages; healthy: %d, mean wait %v, worst %v; attempts at dead destinations: %v",
		last, healthy, sum/time.Duration(healthy), worst, attempts[:5])
	// The slow ones take every slot now and then (20 connections each); the wait
	// is over when one of them ends.
	if mean := sum / time.Duration(healthy); mean > 50*time.Millisecond || worst > 20*time.Second {
		t.Errorf("healthy mail waited %v in the mean, up to %v", mean, worst)
	}
	// One probe in 330 s, after the five connections of the beginning.
	for hop, n := range attempts[:5] {
		if n > 5+12 {
			t.Errorf("dead destination %d was tried %d times in an hour", hop, n)
		}
	}
}

// queue is the simulation's future, in order of time and then of entry.
type queue[T any] struct {
	items []item[T]
	seq   int
}

type item[T any] struct {
	at  Time
	seq int
	v   T
}

func (q *queue[T]) less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue[T]) add(at Time, v T) {
	q.seq++
	q.items = append(q.items, item[T]{at, q.seq, v})
	for i := len(q.items) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q.items[i], q.items[(i-1)/2] = q.items[(i-1)/2], q.items[i]
	}
}

func (q *queue[T]) next() (Time, T, bool) {
	if len(q.items) == 0 {
		var zero T
		return 0, zero, false
	}
	return q.items[0].at, q.items[0].v, true
}

func (q *queue[T]) pop() {
	end := len(q.items) - 1
	q.items[0] = q.items[end]
	q.items = q.items[:end]
	for i := 0; ; {
		c := 2*i + 1
		if c >= end {
			return
		}
		if c+1 < end && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return
		}
		q.items[i], q.items[c] = q.items[c], q.items[i]
		i = c
	}
}
