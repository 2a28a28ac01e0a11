package sched

// The second part of check: queues, flows and limits.

// flows returns all that d has.
func (d *dest) flows() (all []*flow) {
	for b := d.bins; b != nil; b = b.next {
		all = append(append(all, &b.own), b.sorted()...)
	}
	return all
}

// checkFlows counts the flows of b that are ready, by lane.
func checkFlows(bad func(bool, string, ...any), m *Machine, b *bin) (ready [lanes]int) {
	bad(b.own.held+b.own.parked+len(b.more) > 0, "%s: an empty bin", b.dest.key)
	for i, f := range append(b.sorted(), &b.own) {
		todo := 0
		bad(f.bin == b, "%s: a flow of another bin", b.dest.key)
		bad(i == len(b.more) || f.held > 0 || f.parked > 0, "%s: an empty flow", b.dest.key)
		for l := range f.lanes {
			n := f.lanes[l].todo.n
			if todo += n; n > 0 && f.waits.in == nil {
				ready[l]++
			}
		}
		bad(todo == f.todo, "%s: a flow has %d waiting, counted %d", b.dest.key, f.todo, todo)
		bad(f.waits.in == nil || f.todo > 0 && f.waits.in == &f.bound.waiting, "%s: a flow waits for a limit with nothing", b.dest.key)
	}
	return ready
}

// checkTier counts what c may start.
func checkTier(bad func(bool, string, ...any), m *Machine, c *tier, unproven int) (can int) {
	t := c.trans
	todo, busy := 0, 0
	for _, d := range t.dests {
		if b := d.bin(c); b != nil {
			for _, f := range append(b.sorted(), &b.own) {
				todo += f.todo
			}
		}
	}
	for _, e := range m.inHand {
		if e.flow.bin.tier.hold == c.hold {
			busy++
		}
	}
	bad(todo == c.todo && (todo > 0) == (c.active.in != nil), "%s: tier %q has %d waiting, counted %d", t.name, c.queue, c.todo, todo)
	bad(busy == c.hold.busy, "%s: queue %q has %d in hand, counted %d", t.name, c.queue, c.hold.busy, busy)
	if !c.has() {
		return 0
	}
	for r := range c.rings {
		if limit := t.unproven(); limit > 0 && rank(r) != proven && unproven >= limit {
			continue
		}
		for l := range c.rings[r] {
			can += c.rings[r][l].n
		}
	}
	return can
}

// checkLimits recounts the limits and returns how many timers they have.
func checkLimits(bad func(bool, string, ...any), m *Machine) (timers int) {
	busy, refs := map[*limit]int{}, map[*limit]int{}
	sets := map[*terms]int{}
	for _, t := range m.transports {
		for _, d := range t.dests {
			for _, f := range d.flows() {
				if f.terms != nil {
					sets[f.terms]++
				}
			}
		}
	}
	for _, e := range m.inHand {
		if s := e.flow.terms; s != nil {
			for _, l := range s.limits {
				busy[l]++
			}
		}
	}
	for s, n := range sets {
		bad(s.refs == n, "terms %q: %d flows, counted %d", s.key, s.refs, n)
		bad(s.key == "" || m.terms[s.key] == s, "terms %q are not known", s.key)
		for _, l := range s.limits {
			refs[l]++
		}
	}
	for _, l := range m.limits {
		bad(l.busy == busy[l] && l.refs == refs[l], "limit %s %q: %d in hand, %d terms, counted %d, %d", l.rule.name, l.key, l.busy, l.refs, busy[l], refs[l])
		bad((l.refs == 0) == (l.idle.in != nil), "limit %s %q: idle is wrong", l.rule.name, l.key)
		bad(l.rule.Connections == 0 || l.rule.gone || l.busy <= l.rule.Connections || l.room0(m.now), "limit %s %q: %d in hand", l.rule.name, l.key, l.busy)
		n, at := l.room(m.now)
		bad(l.waiting.n == 0 || n == 0, "limit %s %q: %d wait, and it has room for %d", l.rule.name, l.key, l.waiting.n, n)
		bad(l.waiting.n == 0 || at == 0 || l.alarm.place > 0 && l.alarm.at <= at, "limit %s %q: no alarm at %d", l.rule.name, l.key, at)
		if l.alarm.place > 0 {
			timers++
		}
	}
	return timers
}

// room0 says whether l has no room for more, as after a reload that narrowed it.
func (l *limit) room0(now Time) bool {
	n, _ := l.room(now)
	return n == 0
}
