package sched

import "slices"

// The second half of a random life: actions and ends.

// gone ends recipients of a message, each once.
func (l *life) gone(id MsgID, recipients []uint32) {
	for _, i := range recipients {
		if !l.left[id][i] {
			l.t.Fatalf("m%d: recipient %d ended twice, or never was", id, i)
		}
		delete(l.left[id], i)
	}
}

func (l *life) drain() {
	for a, ok := l.m.Next(); ok; a, ok = l.m.Next() {
		switch a.Kind {
		case Deliver:
			c := l.cfg.Transports[a.Transport]
			l.busy[a.Transport]++
			if l.drop[a.Msg] {
				l.t.Fatalf("m%d was withdrawn", a.Msg)
			}
			if c.Slots > 0 && l.busy[a.Transport] > c.Slots {
				l.t.Fatalf("%s: %d in hand, slots %d", a.Transport, l.busy[a.Transport], c.Slots)
			}
			d := l.m.inHand[a.Entry].dest
			if d.busy > d.window {
				l.t.Fatalf("%s: %d in hand, window %d", d.key, d.busy, d.window)
			}
			if limit := c.unproven(); limit > 0 && d.rank != proven && d.trans.unprovenBusy > limit {
				l.t.Fatalf("%s: %d in hand for unproven destinations, limit %d", a.Transport, d.trans.unprovenBusy, limit)
			}
			if l.now < l.fast[a.Transport] || l.now < l.fast[a.Transport+":"+d.key] {
				l.t.Fatalf("%s:%s starts at %d before its rate allows: %v", a.Transport, d.key, l.now, l.fast)
			}
			l.fast[a.Transport] = l.now.Add(c.TransportRateDelay)
			for _, i := range a.Recipients {
				if !l.left[a.Msg][i] {
					l.t.Fatalf("m%d: recipient %d delivered after its end", a.Msg, i)
				}
			}
			l.bounds(l.m.inHand[a.Entry])
			l.hand[a.Entry] = a
			l.order = append(l.order, a.Entry)
		case Postpone:
			if a.Until <= l.now {
				l.t.Fatalf("m%d: postponed to %d at %d", a.Msg, a.Until, l.now)
			}
			l.gone(a.Msg, a.Recipients)
		case Suspend, Expire:
			l.gone(a.Msg, a.Recipients)
		case Resolve:
			l.m.Resolved(l.now, Parking{Transport: a.Transport, Name: a.Name}, l.now+Time(l.r.IntN(40)), l.r.IntN(3) == 0)
		case Notice:
			for _, i := range a.Recipients {
				if !l.left[a.Msg][i] {
					l.t.Fatalf("m%d: recipient %d named after its end", a.Msg, i)
				}
			}
		case Refill:
			l.refill(a.Msg)
		case MessageDone:
			if left := l.left[a.Msg]; left == nil || len(left) > 0 && !l.drop[a.Msg] {
				l.t.Fatalf("m%d done with %v left", a.Msg, left)
			}
			for _, h := range l.hand {
				if h.Msg == a.Msg {
					l.t.Fatalf("m%d done with e%d in hand", a.Msg, h.Entry)
				}
			}
			delete(l.left, a.Msg)
		}
	}
	// Nothing that could start is left waiting: work conservation.
	for _, t := range l.m.transports {
		for _, d := range t.dests {
			full := d.curbed.in != nil || t.unproven() > 0 && d.rank != proven && t.unprovenBusy >= t.unproven()
			for _, f := range d.flows() {
				limit, _ := f.terms.tightest(l.m.now)
				if limit == nil && f.bin.tier.has() && t.state == up && !t.paced && !full && !d.resting && d.named() && f.todo > 0 && d.busy < d.window && (t.Slots == 0 || t.busy < t.Slots) {
					l.t.Fatalf("%s:%s waits for nothing", t.name, d.key)
				}
			}
		}
	}
}

// pick takes a random entry out of the shadow's hand.
func (l *life) pick() (EntryID, Action, bool) {
	if len(l.order) == 0 {
		return 0, Action{}, false
	}
	i := l.r.IntN(len(l.order))
	id := l.order[i]
	l.order = slices.Delete(l.order, i, i+1)
	return id, l.hand[id], true
}

func (l *life) end(result func(EntryID)) {
	id, a, ok := l.pick()
	if !ok {
		return
	}
	if e := l.m.inHand[id]; e != nil {
		l.fast[a.Transport+":"+e.dest.key] = l.now.Add(l.cfg.Transports[a.Transport].DestinationRateDelay)
	}
	result(id)
	result(id) // a second result of the same entry is ignored
	delete(l.hand, id)
	l.busy[a.Transport]--
	l.gone(a.Msg, a.Recipients)
}

func (l *life) giveBack() {
	id, a, ok := l.pick()
	if !ok {
		return
	}
	if e := l.m.inHand[id]; e != nil && e.flow.terms != nil {
		for _, b := range e.flow.terms.limits {
			k := LimitKey{b.rule.name, b.key}
			if n := len(l.started[k]); n > 0 && b.last == e.start {
				l.started[k] = l.started[k][:n-1] // it was not made after all
			}
		}
	}
	l.m.Return(l.now, id)
	delete(l.hand, id)
	l.busy[a.Transport]--
}

func (l *life) withdraw(id MsgID) {
	want := 0
	for _, a := range l.hand {
		if a.Msg == id {
			want += len(a.Recipients)
		}
	}
	if got := l.m.Withdraw(l.now, id); got != want {
		l.t.Fatalf("withdraw m%d: %d in hand, want %d", id, got, want)
	}
	if l.left[id] != nil {
		l.drop[id] = true
	}
}

// refill gives a message further recipients, mostly, unless it was withdrawn.
func (l *life) refill(id MsgID) {
	if l.drop[id] {
		return
	}
	l.index += 1000
	msg := Message{ID: id, More: l.r.IntN(2) == 0}
	for i := range uint32(l.r.IntN(4)) {
		i += l.index
		msg.Recipients = append(msg.Recipients, Recipient{Index: i, Transport: "t1", NextHop: "d1"})
		l.left[id][i] = true
	}
	l.m.Admit(l.now, msg)
}
