package qmgr

import (
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// results takes what an agent reports.
func (m *manager) results(a *agent, rs []proto.Result) {
	if len(rs) > 0 && m.acks[a] == nil {
		m.acks[a] = make([]proto.DeliveryID, 0, len(rs))
	}
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
		if r.Fault != "" {
			m.confessed(a, d, r)
			continue
		}
		delete(m.inHand, id)
		a.busy--
		m.record(d.msg, d.report, d.nextHop, r)
		// A recipient the agent says nothing of was not tried.
		m.untried(d.msg, d)
		m.pass(d.msg, d, r)
		if r.Absent {
			m.machine.Result(m.now(), id, sched.HopResult{Unknown: true, Unmade: true})
			m.sourceGone(d.source)
			continue
		}
		m.machine.Result(m.now(), id, sched.HopResult{OK: r.Hop.Class != mail.Deferred, Reason: r.Hop})
	}
}

// record notes the outcome for each recipient of a result: of a delivery, or of a report
// when it is one. hop is where it went.
func (m *manager) record(msg *message, report, hop string, r *proto.Result) {
	for i := range r.Recipients {
		rr := &r.Recipients[i]
		if int(rr.Index) >= len(msg.rcpts) {
			continue
		}
		if report != "" {
			m.reported(msg, report, rr)
			continue
		}
		if rr.Pass.Transport != "" { // nothing was tried yet
			continue
		}
		rc := &msg.rcpts[rr.Index]
		if rr.Replaced { // also when the message that takes it over was seen before this
			m.expanded(msg, rr)
		}
		if rc.state != trying && rc.state != foreign {
			continue
		}
		rc.status, rc.tried, rc.mayFail = msg.share(rr.Status), true, true
		if !rr.Replaced {
			m.trace(msg, rr.Index)
		}
		switch {
		case rr.Replaced:
			rc.state = replaced
		case msg.Envelope.Trace == mail.TraceVerify: // until it is reported
			rc.state = deferred
		case rr.Status.Class == mail.Sent:
			rc.state = finished
			m.touch(msg, rr.Index)
			if msg.Envelope.Recipients[rr.Index].Notify&mail.NotifySuccess != 0 && !rr.Reports && msg.Envelope.Sender != "" {
				msg.arrived = append(msg.arrived, rr.Index)
			}
		case rr.Status.Class == mail.Bounced && !m.set.softBounce:
			rc.state = failed
		default:
			rc.state = deferred
			if strings.HasPrefix(hop, proto.MaildirHop) {
				rc.due = m.now().Add(maildirPause)
			}
		}
	}
}

// expanded notes that a recipient lives on as others: of success that is all there is to
// report (RFC 3461, 5.2.7.2).
func (m *manager) expanded(msg *message, rr *proto.RecipientResult) {
	rc := &msg.rcpts[rr.Index]
	rc.expanded, rc.status = true, msg.share(rr.Status)
	if msg.Envelope.Recipients[rr.Index].Notify&mail.NotifySuccess != 0 && msg.Envelope.Sender != "" {
		msg.arrived = append(msg.arrived, rr.Index)
	}
	m.trace(msg, rr.Index)
}

// trace notes a recipient whose outcome the sender asked for: of each attempt when nothing
// is delivered, since what was reported is over; else of the first.
func (m *manager) trace(msg *message, n uint32) {
	switch msg.Envelope.Trace {
	case mail.TraceRecord:
		if len(msg.State.Groups) > 0 {
			return
		}
	case mail.TraceVerify:
	default:
		return
	}
	msg.traced = append(msg.traced, n)
}

// maildirPause is how long mail waits for the maildir of a route that could not be
// written, whatever its schedule: nobody's server is to be spared.
const maildirPause = time.Minute
