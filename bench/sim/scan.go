package main

import (
	"time"

	"postrider/lib/sched"
)

// retryNext is Postfix's time of the next attempt, without the scan.
func retryNext(created, now sched.Time) sched.Time {
	return now.Add(max(min(now.Sub(created), 4000*time.Second), 300*time.Second))
}

// scan is the deferred queue: every 300 s a scan begins, unless one is under
// way, and gives what is due.
type scan struct {
	waiting []deferred
	current []deferred
	begun   sched.Time
}

type deferred struct {
	m   *message
	due sched.Time
}

const queueRunDelay = 300 * time.Second

func (q *scan) put(now sched.Time, m *message) {
	q.waiting = append(q.waiting, deferred{m, retryNext(m.at, now)})
}

func (q *scan) next(now sched.Time) *message {
	if len(q.current) == 0 && now >= q.begun.Add(queueRunDelay) {
		q.begun = now
		q.current, q.waiting = q.waiting, nil
	}
	for len(q.current) > 0 {
		d := q.current[0]
		q.current = q.current[1:]
		if d.due <= now {
			return d.m
		}
		q.waiting = append(q.waiting, d)
	}
	return nil
}

func (q *scan) wakeAt(now sched.Time) (sched.Time, bool) {
	at := q.begun.Add(queueRunDelay)
	return at, len(q.current) == 0 && len(q.waiting) > 0 && at > now
}
