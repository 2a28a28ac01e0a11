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
	if t.unproven() > 0 {
		d.leaveRings() // for others
	}
	was := d.rank
	d.rank = r
	d.repark()
	switch {
	case was == proven:
		t.unprovenBusy += d.busy
	case r == proven:
		d.curbed.leave()
		t.unprovenBusy -= d.busy
		t.uncurb()
	}
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

func (d *dest) leaveRings() {
	for b := d.bins; b != nil; b = b.next {
		b.leaveRings()
	}
}

// rankCan says whether an entry of rank r may start as far as the share goes.
func (c *tier) rankCan(r rank) bool {
	limit := c.trans.unproven()
	if limit > 0 && r != proven && c.trans.unprovenBusy >= limit {
		return false
	}
	return c.rings[r][0].n+c.rings[r][1].n+c.rings[r][2].n > 0
}

// short says whether slots are short for d: half of those that it may have a part of are
// in use, and not by d alone. That is the share of the unproven, or all where Spares says so.
func (t *transport) short(d *dest) bool {
	if t.Spares && t.Slots > 0 && 2*t.busy >= t.Slots && t.busy > d.busy {
		return true
	}
	limit := t.unproven()
	return limit > 0 && d.rank != proven && 2*t.unprovenBusy >= limit && t.unprovenBusy > d.busy
}

// uncurb is called when slots were freed. Those that were curbed because slots were short
// and may have more now go back to their rings.
func (t *transport) uncurb() {
	var next *node[dest]
	for x := t.curbed.first; x != nil; x = next { // no more than there are slots, since each has one
		next = x.next
		if d := x.of; d.busy == 0 || !t.short(d) {
			x.leave()
			d.settle()
		}
	}
}

// mayStart says whether d, which is open, may start an entry now. If not, it
// has left its ring: its rank was too old; or it has connections and slots are short,
// so it is curbed until they are not. An unproven one without any begins with one, and
// that is its window.
func (m *Machine) mayStart(d *dest) bool {
	was := d.rank
	if m.expire(d); d.rank != was && d.trans.unproven() > 0 {
		return false
	}
	if !d.trans.short(d) {
		return true
	}
	if d.busy == 0 {
		if !d.trans.Spares {
			d.window = 1
		}
		return true
	}
	d.trans.curbed.push(&d.curbed)
	d.settle()
	return false
}
