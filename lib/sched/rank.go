package sched

import "time"

// rank is what a destination has shown lately. The ranks have rings of their
// own where UnprovenShare limits the unproven, fresh and failing; elsewhere all
// share the first. Ranks that may start something take turns, so that a site
// that was never tried does not wait behind ten thousand that failed.
type rank uint8

const (
	proven  rank = iota // a delivery to it succeeded, and it did not die since
	fresh               // nothing is known
	failing             // it failed, and had no success to set against it
	ranks
)

// memory is how long a success or a failure tells something about the next
// delivery. It is longer than maximal_backoff_time commonly is, so a site that
// gets mail once per retry keeps its rank.
const memory = 4 * time.Hour

// rank gives d a rank that holds from now on.
func (m *Machine) rank(d *dest, r rank) {
	d.until = m.now.Add(memory)
	if d.rank == r {
		return
	}
	t := d.trans
	switch {
	case d.rank == proven:
		t.unprovenBusy += d.busy
	case r == proven:
		t.unprovenBusy -= d.busy
	}
	if t.unproven() > 0 {
		d.leaveRings() // for others
	}
	d.rank = r
	d.settle()
	m.settle(t)
}

// expire forgets the rank of d when it is too old. It is asked before the rank
// counts; no timer runs for it.
func (m *Machine) expire(d *dest) {
	if d.rank != fresh && m.now >= d.until {
		m.rank(d, fresh)
	}
}

// rings returns where d may stand.
func (d *dest) rings() *[lanes]list[lane] {
	if d.trans.unproven() == 0 {
		return &d.trans.rings[0]
	}
	return &d.trans.rings[d.rank]
}

func (d *dest) leaveRings() {
	for l := range d.lanes {
		d.lanes[l].ring.leave()
	}
}

// can says whether an entry of rank r may start as far as the share goes.
func (t *transport) can(r rank) bool {
	limit := t.unproven()
	if limit > 0 && r != proven && t.unprovenBusy >= limit {
		return false
	}
	return t.rings[r][0].n+t.rings[r][1].n+t.rings[r][2].n > 0
}

// short says whether slots for unproven destinations are short: half of their
// share is in use.
func (t *transport) short() bool {
	limit := t.unproven()
	return limit > 0 && 2*t.unprovenBusy >= limit
}

// mayStart says whether d, which is open, may start an entry now. If not, it
// has left its ring: its rank was too old; or it is unproven, has connections,
// and slots are short, so those it has are its window. Without any it begins
// with one.
func (m *Machine) mayStart(d *dest) bool {
	was := d.rank
	if m.expire(d); d.rank != was && d.trans.unproven() > 0 {
		return false
	}
	if d.rank == proven || !d.trans.short() {
		return true
	}
	d.window = max(d.busy, 1)
	d.settle()
	return d.busy == 0
}
