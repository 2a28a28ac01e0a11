package main

import (
	"time"

	"postrider/lib/sched"
)

// retryNext is Postfix's time of the next attempt, without the scan.
func (l limits) retryNext(created, now sched.Time) sched.Time {
	created, now = l.whole(created), l.whole(now)
	return now.Add(max(min(now.Sub(created), l.maxBackoff), l.minBackoff))
}

// whole cuts a time to the second of the wall clock, in which Postfix counts.
func (l limits) whole(t sched.Time) sched.Time {
	t = t.Add(l.second)
	return (t - (t%1e9+1e9)%1e9).Add(-l.second)
}

// scan is the deferred queue: every queue_run_delay a scan begins, unless one is under
// way, and gives what is due.
type scan struct {
	waiting []deferred
	current []deferred
	begun   sched.Time
	limits
}

type deferred struct {
	m   *message
	due sched.Time
}

func (q *scan) put(now sched.Time, m *message) {
	q.waiting = append(q.waiting, deferred{m, q.retryNext(m.at, now)})
}

func (q *scan) lay(m *message) { q.waiting = append(q.waiting, deferred{m, 0}) }

func (q *scan) next(now sched.Time) *message {
	if len(q.current) == 0 && now >= q.begun.Add(q.queueRun) {
		for q.begun = q.begun.Add(q.queueRun); q.begun.Add(q.queueRun) <= now; {
			q.begun = q.begun.Add(q.queueRun)
		}
		q.current, q.waiting = q.waiting, nil
	}
	for len(q.current) > 0 {
		d := q.current[0]
		q.current = q.current[1:]
		if d.due <= q.whole(now).Add(time.Second) { // "in the future" begins a second later (qmgr_active.c)
			return d.m
		}
		q.waiting = append(q.waiting, d)
	}
	return nil
}

func (q *scan) wakeAt(now sched.Time) (sched.Time, bool) {
	at := q.begun.Add(q.queueRun)
	return at, len(q.current) == 0 && len(q.waiting) > 0 && at > now
}
