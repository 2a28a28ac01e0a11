package sched

import "postrider/lib/mail"

// The rules and the order of their steps are Postfix's (qmgr_queue.c), so that
// an administrator's numbers mean the same here. Both run while the delivery
// that ended still counts as busy.

// suspended is put before the reason of a dead destination, Postfix's text.
const suspended = "delivery temporarily suspended: "

// rounding is what three times a third may lack of one.
const rounding = 1e-9

// succeeded widens the window of a destination whose hop worked.
func (m *Machine) succeeded(d *dest) {
	m.changed()
	d.cohorts, d.failures, d.died = 0, 0, 0
	m.rank(d, proven)
	if d.dead {
		// A delivery that was under way when it died. What runs works.
		m.revive(d, d.busy)
		return
	}
	limit := d.trans.ConcurrencyLimit
	if (limit > 0 && d.window >= limit) || d.window >= d.busy+d.trans.initial() {
		return // at the limit, or so far that widening it would not be used
	}
	f := d.trans.PositiveFeedback.at(d.window)
	d.success += f
	for d.success+f/2 >= 1 { // half a step forgives rounding
		d.window++
		d.success--
		d.failure = 0
	}
	d.window = d.trans.clamp(d.window)
}

// failed narrows the window of a destination whose hop did not work, or
// declares it dead.
func (m *Machine) failed(d *dest, reason mail.Status) {
	d.failures++
	m.changed()
	if d.dead {
		return
	}
	if m.expire(d); d.rank != proven {
		m.rank(d, failing)
	}
	d.cohorts += 1 / float64(d.window)
	if limit := d.trans.CohortLimit; limit > 0 && d.cohorts >= limit-rounding {
		d.dead = true
		if d.died == 0 {
			d.died = m.now
		}
		d.reason = reason
		d.reason.Class = mail.Deferred
		d.reason.Text = suspended + reason.Text
		d.revival = m.now.Add(m.cfg.Retry.MinBackoff)
		m.watch(d)
		m.rank(d, failing)
		d.settle()
		d.repark()
		m.suspendAll(d, d.reason)
		return
	}
	f := d.trans.NegativeFeedback.at(d.window)
	d.failure -= f
	for d.failure-f/2 < 0 {
		d.window--
		d.success = 0
		d.failure++
	}
	d.window = max(d.window, 1)
}

// revive ends the death of d. Its window is what is in hand, or else fresh. The
// caller lets d rest, or gives it mail.
func (m *Machine) revive(d *dest, fresh int) {
	m.changed()
	d.dead, d.remembered, d.reason = false, false, mail.Status{}
	m.watch(d)
	d.repark()
	d.success, d.failure, d.cohorts = 0, 0, 0
	if d.busy > 0 {
		fresh = d.busy
	}
	d.window = d.trans.clamp(fresh)
}
