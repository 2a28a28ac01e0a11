package sched

import "testing"

// check recounts what the machine keeps in lists and counters.
func check(t testing.TB, m *Machine) {
	t.Helper()
	bad := func(ok bool, what string, args ...any) {
		if !ok {
			t.Helper()
			t.Fatalf(what, args...)
		}
	}
	timers, idle, recipients, inHand := 0, 0, 0, 0
	parking := 0
	for name, tr := range m.transports {
		busy, waiting, unproven := 0, 0, 0
		for key, d := range tr.dests {
			todo, rest := 0, d.todo == 0 && d.busy == 0 && !d.resting && d.parked == 0
			parked := 0
			for b := d.bins; b != nil; b = b.next {
				bad(b.dest == d, "%s:%s: has the bin of another", name, key)
				open := !d.dead && !d.resting && d.curbed.in == nil && d.named() && d.busy < d.window
				ready := checkFlows(bad, m, b)
				for l := range b.lanes {
					should := open && ready[l] > 0
					bad(ready[l] == b.lanes[l].ready.n, "%s:%s lane %d: %d flows are ready, counted %d", name, key, l, b.lanes[l].ready.n, ready[l])
					bad(should == (b.lanes[l].ring.in == &b.rings()[l]), "%s:%s lane %d: in the ring %v, should be %v", name, key, l, !should, should)
					bad(should == (b.lanes[l].ring.in != nil), "%s:%s lane %d: in the ring %v, should be %v", name, key, l, !should, should)
				}
			}
			for _, f := range d.flows() {
				todo += f.todo
				parked += f.parked
				parking += checkParked(bad, m, f)
			}
			bad(parked == d.parked, "%s:%s: %d parked, counted %d", name, key, d.parked, parked)
			bad(todo == d.todo, "%s:%s: todo %d, counted %d", name, key, d.todo, todo)
			bad(rest == (d.idle.in != nil), "%s:%s: idle wrong", name, key)
			bad((d.todo > 0) == (d.waiting.in != nil), "%s:%s: waiting wrong", name, key)
			bad((d.dead || d.resting) == (d.alarm.place > 0), "%s:%s: dead %v, resting %v without timer or the reverse", name, key, d.dead, d.resting)
			bad(!d.dead || d.alarm.at == d.revival, "%s:%s: dead, and the alarm is not for its revival", name, key)
			bad(!d.resting || d.dead || d.alarm.at == d.rested, "%s:%s: resting, and the alarm is not for the end", name, key)
			seeks := !d.named() && !d.name.asked && !d.dead && todo > 0
			bad(seeks == (d.name.waiting.in != nil), "%s:%s: its name is to be looked up %v, should be %v", name, key, !seeks, seeks)
			if d.rank != proven {
				unproven += d.busy
			}
			bad(d.curbed.in == nil || d.busy > 0 && tr.short(d), "%s:%s: curbed without need", name, key)
			bad(!d.dead || d.todo == 0, "%s:%s: dead with mail", name, key)
			bad(d.window >= 1 && d.busy >= 0, "%s:%s: window %d busy %d", name, key, d.window, d.busy)
			bad(tr.clamp(d.window) == d.window, "%s:%s: window %d over the limit", name, key, d.window)
			busy += d.busy
			if d.todo > 0 {
				waiting++
			}
			if rest {
				idle++
			}
			if d.alarm.place > 0 {
				timers++
			}
		}
		bad(tr.unproven() == 0 || tr.curbed.n <= tr.unproven(), "%s: %d curbed", name, tr.curbed.n)
		bad(unproven == tr.unprovenBusy, "%s: %d in hand for unproven, counted %d", name, tr.unprovenBusy, unproven)
		if tr.alarm.place > 0 {
			timers++
		}
		can := 0
		for _, c := range tr.tiers {
			can += checkTier(bad, m, c, unproven)
		}
		kept := 0
		for _, c := range m.classes {
			kept += max(tr.keep-m.holding(tr, c.name).busy, 0)
		}
		bad(kept == tr.kept, "%s: %d slots kept, counted %d", name, tr.kept, kept)
		bad(busy == tr.busy, "%s: busy %d, counted %d", name, tr.busy, busy)
		bad(waiting == tr.waiting.n, "%s: waiting %d, counted %d", name, tr.waiting.n, waiting)
		bad(tr.paced == (tr.alarm.place > 0), "%s: paced, and timer disagree", name)
		bad(tr.state == up || tr.state == paused || waiting == 0, "%s: mail waits in state %d", name, tr.state)
		ready := tr.state == up && !tr.paced && can > 0 && (tr.Slots <= 0 || tr.busy < tr.Slots)
		bad(ready == (tr.ready.in != nil), "%s: ready %v, should be %v", name, !ready, ready)
		inHand += busy
	}
	for _, msg := range m.messages {
		if msg.alarm.place > 0 {
			timers++
		}
		bad(msg.entries.n > 0 || msg.more && msg.asked, "m%d: active without entries", msg.id)
		open := recipients
		for x := msg.entries.first; x != nil; x = x.next {
			recipients += len(x.of.recipients)
			bad((x.of.id != 0) == (x.of.turn.in == nil), "m%d: an entry both waits and is in hand, or neither", msg.id)
			bad(x.of.dest.trans.dests[x.of.dest.key] == x.of.dest, "m%d: its destination was forgotten", msg.id)
		}
		bad(recipients-open == msg.open, "m%d: %d open, counted %d", msg.id, msg.open, recipients-open)
		bad(!msg.more || msg.asked == (msg.open <= m.Slice()/2), "m%d: more, asked %v", msg.id, msg.asked)
	}
	checkHeld(bad, m)
	bad(parking == m.parkedFlows && parking == len(m.lists), "%d parked flows, counted %d", m.parkedFlows, parking)
	bad(recipients == m.recipients, "recipients %d, counted %d", m.recipients, recipients)
	bad(inHand == len(m.inHand), "in hand %d, counted %d", len(m.inHand), inHand)
	bad(idle == m.idle.n && idle <= m.keep, "idle %d, counted %d, at most %d", m.idle.n, idle, m.keep)
	timers += checkLimits(bad, m)
	bad(timers == len(m.timers), "timers %d, counted %d", len(m.timers), timers)
	for i, tm := range m.timers {
		bad(tm.place == i+1 && (i == 0 || m.timers[(i-1)/2].at <= tm.at), "timer heap out of order at %d", i)
	}
}
