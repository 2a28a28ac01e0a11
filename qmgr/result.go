package qmgr

import (
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
)

// results takes what an agent reports.
func (m *manager) results(a *agent, rs []proto.Result) {
	for i := range rs {
		r := &rs[i]
		m.acks[a] = append(m.acks[a], r.ID)
		if r.ID.Epoch != m.epoch {
			m.foreignResult(a, r)
			continue
		}
		id := sched.EntryID(r.ID.Seq)
		d := m.inHand[id]
		if d == nil || d.agent != a {
			continue
		}
		delete(m.inHand, id)
		a.busy--
		m.record(d.msg, d.service, r)
		// A recipient the agent says nothing of was not tried.
		m.again(d.msg, d.recipients)
		m.machine.Result(m.now(), id, sched.HopResult{OK: r.Hop.Class != mail.Deferred, Reason: r.Hop})
	}
}

// record notes the outcome for each recipient of a result.
func (m *manager) record(msg *message, service string, r *proto.Result) {
	for i := range r.Recipients {
		rr := &r.Recipients[i]
		if int(rr.Index) >= len(msg.rcpts) {
			continue
		}
		if service == bounceService {
			m.reported(msg, rr)
			continue
		}
		rc := &msg.rcpts[rr.Index]
		if rc.state != trying && rc.state != foreign {
			continue
		}
		rc.status, rc.tried, rc.mayFail = rr.Status, true, true
		switch {
		case rr.Replaced:
			rc.state = replaced
		case rr.Status.Class == mail.Sent:
			rc.state = finished
			m.touch(msg)
		case rr.Status.Class == mail.Bounced && !m.set.softBounce:
			rc.state = failed
		default:
			rc.state = deferred
		}
	}
}

// foreignResult takes a result of a delivery that an earlier qmgr asked for.
func (m *manager) foreignResult(a *agent, r *proto.Result) {
	ref := place(r.File, r.Slot)
	m.unhold(a, ref, r)
	msg := m.byRef[ref]
	if msg == nil {
		// Not open yet. What was delivered is marked at once; the rest is known
		// again when the message is.
		var sent []uint32
		for i := range r.Recipients {
			if rr := &r.Recipients[i]; rr.Status.Class == mail.Sent && !rr.Replaced {
				sent = append(sent, rr.Index)
			}
		}
		if len(sent) > 0 {
			m.spool.Done(ref, sent...)
		}
		m.early[ref] = append(m.early[ref], *r)
		return
	}
	m.record(msg, "", r)
	m.resume(msg)
}

// unhold notes that a is done with what r is about.
func (m *manager) unhold(a *agent, ref slot.Ref, r *proto.Result) {
	h := m.held[ref]
	for n, who := range h {
		if who == a && named(r, n) {
			delete(h, n)
		}
	}
	if len(h) == 0 {
		delete(m.held, ref)
	}
}

func named(r *proto.Result, n uint32) bool {
	for i := range r.Recipients {
		if r.Recipients[i].Index == n {
			return true
		}
	}
	return false
}

// applyEarly gives a message that was just opened the results that came before.
func (m *manager) applyEarly(msg *message) {
	for _, r := range m.early[msg.Ref] {
		for i := range r.Recipients {
			if rr := &r.Recipients[i]; int(rr.Index) < len(msg.rcpts) && rr.Status.Class == mail.Sent && !rr.Replaced {
				msg.rcpts[rr.Index].state, msg.rcpts[rr.Index].logged = finished, true
			}
		}
		m.record(msg, "", &r)
	}
	delete(m.early, msg.Ref)
}

// applyForeign marks the recipients that agents have in hand since before we were
// started: they are not tried again.
func (m *manager) applyForeign(msg *message) {
	for n := range m.held[msg.Ref] {
		if int(n) < len(msg.rcpts) && msg.rcpts[n].state == trying {
			msg.rcpts[n].state = foreign
		}
	}
}
