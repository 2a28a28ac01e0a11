package agent

import (
	"slices"

	"postrider/lib/mutant"
)

// service is one line of master.cf: what waits for it and how much of it runs.
type service struct {
	limit   int
	running int
	queue   []job // waiting, oldest first from head on
	head    int
	free    []chan job // workers with nothing to do, the last used last
}

type job struct {
	r *Request
	d *delivery
}

// maxFree is how many idle workers a service keeps. Keeping one saves growing the
// stack of a new one.
const maxFree = 64

// drop lets go of what waits. Agent.mu is held.
func (s *service) drop() {
	for _, j := range s.queue[s.head:] {
		j.r.release()
	}
	s.queue, s.head = nil, 0
	for _, w := range s.free {
		close(w)
	}
	s.free = nil
}

// next takes the oldest waiting job. Agent.mu is held.
func (s *service) next() (job, bool) {
	if s.head == len(s.queue) {
		return job{}, false
	}
	j := s.queue[s.head]
	s.queue[s.head] = job{}
	s.head++
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	} else if s.head >= 1024 && s.head*2 >= len(s.queue) {
		s.queue, s.head = append(s.queue[:0], s.queue[s.head:]...), 0
	}
	return j, true
}

// start runs j at once or lets it wait its turn. Agent.mu is held.
func (a *Agent) start(j job) {
	s := a.services[j.r.Service]
	if s == nil {
		s = &service{}
		a.services[j.r.Service] = s
	}
	s.limit = a.opt.Limit(j.r.Service)
	if s.limit > 0 && s.running >= s.limit {
		s.queue = append(s.queue, j)
		return
	}
	s.running++
	a.running++
	j.r.Lane = a.lanes.take()*a.opt.Of + a.opt.Number + 1
	if n := len(s.free); n > 0 {
		w := s.free[n-1]
		s.free = s.free[:n-1]
		w <- j
		return
	}
	go a.work(s, j)
}

// work runs jobs of a service until there is none left and enough others wait for
// the next.
func (a *Agent) work(s *service, j job) {
	in := make(chan job, 1) // never full: only a free worker is given a job
	for {
		lane := j.r.Lane
		res, whole := a.run(j.r)
		if whole { // else who knows who has it still
			requests.Put(j.r)
		}
		a.finish(j.d, res)

		a.mu.Lock()
		if next, ok := s.next(); ok && (s.limit <= 0 || s.running <= s.limit) {
			next.r.Lane = lane
			j = next
			a.mu.Unlock()
			continue
		} else if ok {
			s.queue = slices.Insert(s.queue, s.head, next) // the limit was lowered
		}
		s.running--
		a.running--
		a.lanes.give((lane - 1 - a.opt.Number) / a.opt.Of)
		if a.running == 0 {
			a.idle.Broadcast()
		}
		if a.stopping || len(s.free) >= maxFree {
			a.mu.Unlock()
			return
		}
		if !mutant.On(mutant.StrayWorkers) {
			s.free = append(s.free, in)
		}
		a.mu.Unlock()
		var ok bool
		if j, ok = <-in; !ok {
			return
		}
	}
}

// lanes gives the smallest numbers that nobody has: the delivery slots whose
// numbers stand in brackets in the log.
type lanes struct {
	next int
	back []int // given back
}

func (l *lanes) take() int {
	if n := len(l.back); n > 0 {
		v := l.back[n-1]
		l.back = l.back[:n-1]
		return v
	}
	l.next++
	return l.next - 1
}

func (l *lanes) give(n int) { l.back = append(l.back, n) }
