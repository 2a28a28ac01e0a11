package main

import (
	"cmp"
	"slices"

	"postrider/lib/sched"
)

// result ends a delivery of the model: the window of its queue moves
// (qmgr_queue.c), blocked jobs are freed, recipients are read.
func (p *postfix) result(now sched.Time, id uint64, ok bool) {
	p.tick(now)
	e := p.entries[id]
	delete(p.entries, id)
	q, j := e.q, e.j
	if ok {
		q.better(p.limits)
	} else {
		p.worse(q)
	}
	p.busy--
	q.busy--
	p.rcpts -= len(e.recipients)
	j.left--
	if room := !q.dead && q.busy < q.window; q.tag == p.tag && (room || q.dead) {
		if room && q.todo > 0 {
			p.tag += 2
			p.current, p.candidate.of = p.first, nil
		}
		q.tag = 0
	}
	p.forget(q)
	if p.unread > 0 && recipientLimit-p.rcpts >= refillLimit {
		p.refill()
	}
	p.finish(j)
}

// refill reads for the first job that has unread recipients.
func (p *postfix) refill() {
	for j := p.first; j != nil; j = j.next {
		if j.unread > 0 {
			p.readMore(j)
			if p.current == nil {
				p.current = p.first
			}
			p.finish(j)
			return
		}
	}
}

func (q *queue) better(l limits) {
	q.cohorts = 0
	if q.dead {
		q.dead, q.window = false, max(q.busy, 1)
		q.success, q.failure = 0, 0
		return
	}
	if q.window >= l.window || q.window >= q.busy+l.initial {
		return
	}
	for q.success++; q.success+0.5 >= 1; q.success-- {
		q.window++
		q.failure = 0
	}
	q.window = min(q.window, l.window)
}

func (p *postfix) worse(q *queue) {
	if q.dead {
		return
	}
	if q.cohorts += 1 / float64(q.window); q.cohorts < 1 {
		for q.failure--; q.failure-0.5 < 0; q.failure++ {
			q.window--
			q.success = 0
		}
		q.window = max(q.window, 1)
		return
	}
	q.dead = true
	p.revivals.add(p.whole(p.now).Add(p.minBackoff), q)
	for _, e := range p.waiting(q) {
		delete(q.entries, e)
		q.todo--
		p.rcpts -= len(e.recipients)
		pe := e.j.bySite[q.site]
		for i := range pe.entries {
			if pe.entries[i] == e {
				pe.entries = append(pe.entries[:i], pe.entries[i+1:]...)
				break
			}
		}
		e.j.selected++ // by the retry transport
		e.j.left--
		p.out = append(p.out, action{msg: e.j.m.id, recipients: e.recipients, suspend: true})
		p.finish(e.j)
	}
}

// waiting lists the entries that wait for q, oldest first.
func (p *postfix) waiting(q *queue) []*entry {
	all := make([]*entry, 0, len(q.entries))
	for e := range q.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return all
}
