package qmgr

import (
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// Deliveries that an earlier qmgr asked for. Agents name them in their hello and
// report them like any other; until then their recipients are not tried.

// takeForeign notes what an agent has in hand from before.
func (m *manager) takeForeign(a *agent, hands []proto.InHand) {
	for i := range hands {
		h := &hands[i]
		if h.ID.Epoch == m.epoch || m.foreign[h.ID] != nil {
			continue
		}
		d := &delivery{ref: place(h.File, h.Slot), agent: a, report: h.Report, recipients: h.Recipients}
		if a.program == bounceService {
			d.service = bounceService
		}
		d.program, d.alone = a.program, a.alone
		m.foreign[h.ID] = d
		m.held[d.ref] = append(m.held[d.ref], d)
		if msg := m.byRef[d.ref]; msg != nil {
			m.applyForeign(msg)
		}
	}
}

// applyForeign marks the recipients that agents have in hand since before we were
// started: they are neither tried nor reported again. Nor is a delay notice
// sent twice.
func (m *manager) applyForeign(msg *message) {
	for _, d := range m.held[msg.Ref] {
		if beside(d.report) {
			msg.warning = msg.warning || d.report == reportDelay
			continue
		}
		for _, n := range d.recipients {
			if int(n) >= len(msg.rcpts) {
				continue
			}
			if r := &msg.rcpts[n]; r.state == trying || r.state == failed {
				r.state = foreign
			}
		}
	}
}

// release forgets a delivery of an earlier qmgr.
func (m *manager) release(d *delivery) {
	for id, x := range m.foreign {
		if x == d {
			delete(m.foreign, id)
			break
		}
	}
	if s := m.asides[d.program]; s != nil && s.current == d {
		s.current = nil
	}
	list := m.held[d.ref]
	for i := range list {
		if list[i] == d {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(m.held, d.ref)
	} else {
		m.held[d.ref] = list
	}
}

// foreignResult takes a result of a delivery that an earlier qmgr asked for.
func (m *manager) foreignResult(a *agent, r *proto.Result) {
	d := m.foreign[r.ID]
	if d == nil || d.agent != a {
		return
	}
	if r.Fault != "" {
		m.confessed(a, d, r)
		return
	}
	m.release(d)
	if msg := m.byRef[d.ref]; msg != nil {
		if d.msg == msg {
			m.lift(msg, d)
		}
		m.applyResult(msg, d, r)
		m.resume(msg)
		return
	}
	if m.spool.Finished(d.ref) {
		return // deleted
	}
	// Not open yet. What is finished is marked at once; the rest is known again when
	// the message is opened.
	if !beside(d.report) {
		var sent []uint32
		for i := range r.Recipients {
			if rr := &r.Recipients[i]; rr.Status.Class == mail.Sent && !rr.Replaced {
				sent = append(sent, rr.Index)
			}
		}
		m.spool.Done(d.ref, sent...)
	}
	late := *r
	late.Recipients = slices.Clone(r.Recipients) // r's are used again
	m.early[d.ref] = append(m.early[d.ref], early{d, late})
}

// early is a result that came before its message was open.
type early struct {
	d *delivery
	r proto.Result
}

// sweepEarly drops results of messages that ended without being opened: all that was
// left of them was done. It looks once a second.
func (m *manager) sweepEarly() {
	now := time.Now()
	if len(m.early) == 0 || now.Sub(m.swept) < time.Second {
		return
	}
	m.swept = now
	for ref := range m.early {
		if m.spool.Finished(ref) {
			delete(m.early, ref)
		}
	}
}

// applyEarly gives a message that was just opened the results that came before.
func (m *manager) applyEarly(msg *message) {
	list := m.early[msg.Ref]
	delete(m.early, msg.Ref)
	for i := range list {
		for _, n := range list[i].d.recipients {
			if int(n) < len(msg.rcpts) && !beside(list[i].d.report) && (msg.rcpts[n].state == trying || msg.rcpts[n].state == failed) {
				msg.rcpts[n].state = foreign
			}
		}
		m.applyResult(msg, list[i].d, &list[i].r)
	}
}

// applyResult notes what became of a delivery of an earlier qmgr. Recipients the
// agent says nothing of, or could not report, are as they were.
func (m *manager) applyResult(msg *message, d *delivery, r *proto.Result) {
	switch {
	case d.report == reportDelay:
		for i := range r.Recipients {
			if r.Recipients[i].Status.Class == mail.Sent {
				msg.State.Notices = max(uint32(m.spool.Now().Sub(msg.State.Since)/time.Second), 1)
			}
		}
		return
	case over(d.report):
		return
	case d.service == bounceService:
		for i := range r.Recipients {
			rr := &r.Recipients[i]
			if int(rr.Index) >= len(msg.rcpts) || msg.rcpts[rr.Index].state != foreign {
				continue
			}
			switch rc := &msg.rcpts[rr.Index]; {
			case rr.Replaced:
				rc.state = replaced
			case rr.Status.Class == mail.Sent:
				rc.state = finished
				m.touch(msg, rr.Index)
			}
		}
	default:
		m.record(msg, "", d.nextHop, r)
	}
	m.untried(msg, d)
}

// untried is again for those of a delivery that its agent said nothing of. A report
// that is beside the delivery leaves its recipients where they are.
func (m *manager) untried(msg *message, d *delivery) {
	if !beside(d.report) {
		m.again(msg, d.recipients)
	}
}

// again gives recipients whose agent died, or said nothing of them, back to the
// wheel, due at once: an attempt that nobody knows the end of is no attempt. What
// was known to have failed before is still to be reported.
func (m *manager) again(msg *message, numbers []uint32) {
	due := m.now().Add(time.Second)
	for _, n := range numbers {
		if int(n) >= len(msg.rcpts) {
			continue
		}
		r := &msg.rcpts[n]
		switch {
		case r.state == foreign && r.status.Class == mail.Bounced:
			r.state, r.due = failed, due
		case r.state == trying || r.state == foreign:
			r.state, r.tried, r.mayFail, r.due = deferred, false, false, due
		}
	}
}

// inHandOf lists what an agent has in hand, from whichever qmgr.
func (m *manager) inHandOf(a *agent) []*delivery {
	var all []*delivery
	for _, d := range m.inHand {
		if d.agent == a {
			all = append(all, d)
		}
	}
	for _, d := range m.foreign {
		if d.agent == a {
			all = append(all, d)
		}
	}
	return all
}

// place is the identity of a message's content, as agents and reports name it.
func place(file uint64, n uint32) slot.Ref { return slot.Ref{File: file, Slot: n} }
