package sched

import "postrider/lib/mail"

// Stats counts what is in memory.
type Stats struct {
	Messages   int // active
	Recipients int // waiting or in hand
	InHand     int // entries
	Idle       int // destinations without mail that are remembered
	Limits     int // by key, that are remembered
}

// Stats returns the present counts.
func (m *Machine) Stats() Stats {
	return Stats{len(m.messages), m.recipients, len(m.inHand), m.idle.n, len(m.limits)}
}

// Destination is what a listing shows of one.
type Destination struct {
	Transport string
	Name      string // next hop, or user@nexthop
	Window    int    // deliveries it may have in hand
	Busy      int    // entries in hand
	Todo      int    // entries waiting
	Dead      bool
	Until     Time        // when it is dead: the revival
	Reason    mail.Status // when it is dead
	Died      Time        // when it was found dead first, without a success since; else 0
	Failures  int         // deliveries that failed without a success since
	Rests     Time        // when it rests for DestinationRateDelay: the end; else 0
	// Where UnprovenShare limits: whether it is proven, and if not, whether it
	// failed lately.
	Proven, Failing bool
}

// Destination returns what is known of the destination of r, or false when that
// is nothing.
func (m *Machine) Destination(r Recipient) (Destination, bool) {
	t := m.transports[r.Transport]
	if t == nil || t.dests[t.key(&r)] == nil {
		return Destination{}, false
	}
	return m.describe(t.dests[t.key(&r)]), true
}

func (m *Machine) describe(d *dest) Destination {
	out := Destination{Transport: d.trans.name, Name: d.key, Window: d.window, Busy: d.busy, Todo: d.todo, Died: d.died, Failures: d.failures}
	if d.dead {
		out.Dead, out.Until, out.Reason = true, d.revival, d.reason
	}
	if d.resting && d.rested > m.now {
		out.Rests = d.rested
	}
	if d.trans.unproven() > 0 && (d.rank == fresh || m.now < d.until) {
		out.Proven, out.Failing = d.rank == proven, d.rank == failing
	}
	return out
}
