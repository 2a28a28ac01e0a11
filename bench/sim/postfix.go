package main

import "postrider/lib/sched"

// postfix models Postfix's queue manager for one transport: the job list with
// its peers and entries, delivery slots (preempt.go), windows and dead
// destinations. Not modelled: the pool of extra recipients for preempting jobs,
// the time to get an agent, and several transports. Names are those of
// SCHEDULER_README.
type postfix struct {
	now       sched.Time
	queues    map[int32]*queue // by site
	entries   map[uint64]*entry
	lastEntry uint64
	busy      int
	messages  map[uint32]*job // active
	first     *job            // the job list
	last      *job
	current   *job
	tag       int // of the transport: jobs and queues with it are blocked
	rcpts     int // in memory
	unread    int // jobs that have some
	candidate struct {
		of     *job
		second sched.Time
		is     *job
	}
	deferred bool // prefer
	out      []action
	taken    int
	revivals future[*queue]
	limits
}

// recipientLimit is default_recipient_limit, refillLimit the number of free
// places that are worth reading for.
const (
	recipientLimit = 20000
	refillLimit    = 100
)

// queue is a destination.
type queue struct {
	site             int32
	todo, busy       int
	entries          map[*entry]bool // waiting, needed when it dies
	window           int
	success, failure float64
	cohorts          float64
	dead             bool
	tag              int
}

// job is a message in the transport.
type job struct {
	m          *message
	queued     sched.Time
	next, prev *job
	listed     bool
	peers      []*peer
	bySite     map[int32]*peer
	unread     int // recipients
	read       int // entries
	selected   int
	slots      int // available
	used       int // slots
	level      int
	parent     *job
	children   map[*job]bool
	tag        int
	left       int // entries waiting or in hand
}

// peer is a job's entries for one queue.
type peer struct {
	q       *queue
	entries []*entry
}

type entry struct {
	id         uint64
	j          *job
	q          *queue
	recipients []uint32
}

func newPostfix(l limits) (scheduler, deferredQueue) {
	return &postfix{queues: map[int32]*queue{}, entries: map[uint64]*entry{}, messages: map[uint32]*job{}, tag: 1, limits: l},
		&scan{limits: l, begun: l.scan.Add(-l.queueRun)}
}

// take admits one message, of incoming and deferred in turn.
func (p *postfix) take(now sched.Time, from intake) bool {
	if len(p.messages) >= p.active {
		p.deferred = false // a full active queue begins anew with incoming
		return false
	}
	m, deferred := from.either(p.deferred)
	if m != nil {
		p.admit(now, m, deferred)
	}
	return m != nil
}

func (p *postfix) wakeAt() (sched.Time, bool) { return p.revivals.first() }

// tick revives the dead whose time has come: with initial concurrency, and as
// nothing waits for them, they are forgotten.
func (p *postfix) tick(now sched.Time) {
	p.now = now
	for {
		at, ok := p.revivals.first()
		if !ok || at > now {
			return
		}
		if q := p.revivals.take(); q.dead && p.queues[q.site] == q {
			q.dead, q.window, q.success, q.failure, q.cohorts = false, p.initial, 0, 0, 0
			p.forget(q)
		}
	}
}

func (p *postfix) forget(q *queue) {
	if q.todo == 0 && q.busy == 0 && !q.dead {
		delete(p.queues, q.site)
	}
}

func (p *postfix) admit(now sched.Time, m *message, deferred bool) {
	p.tick(now)
	p.deferred = !deferred
	j := &job{m: m, queued: p.whole(now), bySite: map[int32]*peer{}, unread: len(m.todo)}
	p.messages[m.id] = j
	p.unread++
	p.readMore(j)
	if j.left > 0 || j.unread > 0 {
		p.link(j)
	}
	p.finish(j)
}

// readMore reads recipients of j into memory, at least ten, and makes entries.
func (p *postfix) readMore(j *job) {
	n := min(j.unread, max(recipientLimit-p.rcpts, 10), 5000)
	todo := j.m.todo[:n]
	j.m.todo = j.m.todo[n:]
	if j.unread -= n; j.unread == 0 {
		p.unread--
	}
	open := map[int32]*entry{}
	for _, r := range todo {
		site := j.m.sites[r]
		q := p.queues[site]
		if q == nil {
			q = &queue{site: site, window: p.initial, entries: map[*entry]bool{}}
			p.queues[site] = q
		}
		if q.dead {
			p.out = append(p.out, action{msg: j.m.id, recipients: []uint32{r}, suspend: true})
			continue
		}
		p.rcpts++
		e := open[site]
		if e == nil || len(e.recipients) == p.perDelivery {
			e = p.entry(j, q)
			open[site] = e
		}
		e.recipients = append(e.recipients, r)
	}
}

func (p *postfix) entry(j *job, q *queue) *entry {
	p.lastEntry++
	e := &entry{id: p.lastEntry, j: j, q: q}
	pe := j.bySite[q.site]
	if pe == nil {
		pe = &peer{q: q}
		j.bySite[q.site] = pe
		j.peers = append(j.peers, pe)
	}
	pe.entries = append(pe.entries, e)
	q.entries[e] = true
	q.todo++
	j.read++
	j.left++
	p.candidate.of = nil
	if j.tag == p.tag { // not blocked by this one
		j.tag, p.current = 0, p.first
	}
	return e
}

// link puts a job at the end of the list.
func (p *postfix) link(j *job) {
	j.listed, j.prev = true, p.last
	if p.last != nil {
		p.last.next = j
	} else {
		p.first = j
	}
	p.last = j
	if p.current == nil {
		p.current = j
	}
}

func (p *postfix) unlink(j *job) {
	if j.prev != nil {
		j.prev.next = j.next
	} else {
		p.first = j.next
	}
	if j.next != nil {
		j.next.prev = j.prev
	} else {
		p.last = j.prev
	}
	j.listed, j.next, j.prev = false, nil, nil
}

// finish ends the pass of a message that has nothing left.
func (p *postfix) finish(j *job) {
	if j.left > 0 || j.unread > 0 {
		return
	}
	if j.listed {
		p.retire(j)
	}
	delete(p.messages, j.m.id)
	p.out = append(p.out, action{msg: j.m.id})
}

func (p *postfix) next() (action, bool) {
	if p.taken < len(p.out) {
		p.taken++
		return p.out[p.taken-1], true
	}
	p.out, p.taken = p.out[:0], 0
	if p.busy >= p.slots {
		return action{}, false
	}
	e := p.choose()
	if e == nil {
		return action{}, false
	}
	p.busy++
	p.entries[e.id] = e
	return action{entry: e.id, msg: e.j.m.id, recipients: e.recipients}, true
}
