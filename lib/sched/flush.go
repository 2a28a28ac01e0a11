package sched

// FlushDestination is the operator's word that all is well with one destination: when it
// is dead it starts anew with its initial concurrency. r is any recipient of it.
func (m *Machine) FlushDestination(now Time, r Recipient) {
	m.advance(now)
	t := m.transports[r.Transport]
	if t == nil {
		return
	}
	if d := t.dests[t.key(&r)]; d != nil && d.dead {
		m.wake(&d.alarm, true)
	}
}
