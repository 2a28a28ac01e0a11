package main

import "postrider/lib/sched"

// future holds what is to happen, in order of time and then of entry.
type future[T any] struct {
	items []item[T]
	seq   int
}

type item[T any] struct {
	at  sched.Time
	seq int
	v   T
}

func (q *future[T]) less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *future[T]) add(at sched.Time, v T) {
	q.seq++
	q.items = append(q.items, item[T]{at, q.seq, v})
	for i := len(q.items) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q.items[i], q.items[(i-1)/2] = q.items[(i-1)/2], q.items[i]
	}
}

// first returns when the next thing happens, or false when nothing does.
func (q *future[T]) first() (sched.Time, bool) {
	if len(q.items) == 0 {
		return 0, false
	}
	return q.items[0].at, true
}

// take removes the next thing; there must be one.
func (q *future[T]) take() T {
	v := q.items[0].v
	end := len(q.items) - 1
	q.items[0] = q.items[end]
	q.items[end] = item[T]{}
	q.items = q.items[:end]
	for i := 0; ; {
		c := 2*i + 1
		if c >= end {
			return v
		}
		if c+1 < end && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return v
		}
		q.items[i], q.items[c] = q.items[c], q.items[i]
		i = c
	}
}
