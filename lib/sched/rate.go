package sched

import (
	"maps"
	"slices"
)

// relax makes d rest after a delivery that ended, for DestinationRateDelay.
func (m *Machine) relax(d *dest) {
	if delay := d.trans.DestinationRateDelay; delay > 0 {
		d.resting, d.rested = true, m.now.Add(delay)
		m.watch(d)
	}
}

// watch sets the alarm of d: for its probe when it is dead, else for the end of
// its rest. It follows every change of dead, revival, resting or rested; the
// caller settles d.
func (m *Machine) watch(d *dest) {
	d.resting = d.resting && d.rested > m.now
	switch {
	case d.dead:
		m.timers.set(&d.alarm, d.revival)
	case d.resting:
		m.timers.set(&d.alarm, d.rested)
	default:
		m.timers.clear(&d.alarm)
	}
}

// pace keeps t from starting anything for TransportRateDelay, from a start on.
func (m *Machine) pace(t *transport) {
	if t.TransportRateDelay > 0 {
		m.changed()
		t.paced, t.next = true, m.now.Add(t.TransportRateDelay)
		m.watchTransport(t)
	}
}

// watchTransport sets the alarm of t: for the end of its pace.
func (m *Machine) watchTransport(t *transport) {
	t.paced = t.paced && t.next > m.now
	switch {
	case t.paced:
		m.timers.set(&t.alarm, t.next)
	default:
		m.timers.clear(&t.alarm)
	}
}

// retime makes t and its destinations wait no longer than the delays of a new
// configuration say.
func (m *Machine) retime(t *transport) {
	t.next = min(t.next, m.now.Add(t.TransportRateDelay))
	m.watchTransport(t)
	for _, key := range slices.Sorted(maps.Keys(t.dests)) {
		if d := t.dests[key]; d != nil && d.resting {
			d.rested = min(d.rested, m.now.Add(t.DestinationRateDelay))
			if m.watch(d); !d.resting {
				m.rest(d)
			}
		}
	}
}
