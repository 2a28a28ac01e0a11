package sched

// timer wakes a destination that is dead or rests, a transport that is
// unavailable or paced, a message whose time is up, or a limit. place is its index in the heap plus
// one, 0 when it is not set.
type timer struct {
	at    Time
	place int
	dest  *dest
	trans *transport
	msg   *message
	limit *limit
}

// timers is a heap with the earliest first. It is written out because
// container/heap cannot take a timer out by its place without an interface.
type timers []*timer

func (h *timers) set(t *timer, at Time) {
	h.clear(t)
	t.at = at
	*h = append(*h, t)
	t.place = len(*h)
	h.up(len(*h) - 1)
}

func (h *timers) clear(t *timer) {
	if t.place == 0 {
		return
	}
	i, end := t.place-1, len(*h)-1
	h.swap(i, end)
	(*h)[end] = nil
	*h = (*h)[:end]
	t.place = 0
	if i < end {
		h.down(i)
		h.up(i)
	}
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h timers) up(i int) {
	for i > 0 && h[i].at < h[(i-1)/2].at {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h timers) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].at < h[c].at {
			c++
		}
		if h[i].at <= h[c].at {
			return
		}
		h.swap(i, c)
		i = c
	}
}
