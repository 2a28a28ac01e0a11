package qmgr

import (
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// bounceService is master.cf's name of the agent that writes reports.
const bounceService = "bounce"

// What bounce is asked for.
const (
	reportFailure = proto.ReportFailure
	reportDelay   = proto.ReportDelay
	reportSuccess = proto.ReportSuccess
	reportVerify  = proto.ReportVerify
	reportRecord  = proto.ReportRecord
)

// beside says whether a report stands in nobody's way: what it is about goes on, or is
// over, whatever becomes of the report.
func beside(report string) bool {
	return report == reportDelay || report == reportSuccess || report == reportRecord
}

// over says whether a report may be about recipients that are finished. One that cannot
// be queued is lost: it is asked for once.
func over(report string) bool { return report == reportSuccess || report == reportRecord }

// conclude ends a pass: the scheduler has nothing of msg any more. What failed for
// good is reported first, in one report; what is left is filed for its next time,
// or, when its time is up, fails too.
func (m *manager) conclude(msg *message) {
	if msg.gone {
		m.spool.Finish(msg.Message)
		m.forget(msg)
		return
	}
	if msg.corrupt != "" {
		m.quarantine(msg)
		return
	}
	if (msg.count(trying) > 0 || m.mayRequeue(msg)) && !m.stopping && !m.spool.IsHeld(msg.Ref) {
		m.schedule(msg) // withdrawn by a reload: routed anew
		return
	}
	if msg.elsewhere() {
		msg.idle = true // resume comes back here
		return
	}
	if m.parkedFor(msg) {
		return
	}
	now := m.spool.Now()
	if msg.State.Since.IsZero() {
		msg.State.Since = now
	}
	if m.book.policy != nil {
		m.reconsider(msg, now)
	}
	if told := msg.traced; len(told) > 0 {
		slices.Sort(told)
		msg.traced = nil
		kind := reportVerify
		if msg.Envelope.Trace == mail.TraceRecord {
			kind = reportRecord
		}
		m.report(msg, kind, slices.Compact(told))
		return
	}
	m.expire(msg)
	if !msg.reported && msg.count(failed) > 0 {
		msg.reported = true
		m.report(msg, reportFailure, msg.numbers(failed))
		return
	}
	if late := m.delayed(msg); len(late) > 0 {
		m.report(msg, reportDelay, late)
		return
	}

	if told := msg.arrived; len(told) > 0 {
		slices.Sort(told) // they came as they were delivered
		msg.arrived = nil
		m.report(msg, reportSuccess, told)
		return
	}

	retry := m.set.sched.Retry
	next := now.Add(retry.Next(stime(msg.State.Since), stime(now), uint64(msg.id)).Sub(stime(now)))
	if end := time.Unix(0, int64(retry.Expiry(stime(msg.State.Since), msg.Envelope.Sender == ""))); next.After(end) && end.Sub(now) >= retry.MinBackoff {
		next = end // one more attempt when its time is up, and not up to MaxBackoff later
	}
	groups := msg.groups(now, next, m.queueNames())
	if len(groups) == 0 {
		m.lines.removed.Queue = msg.Envelope.ID
		m.log.Event(&m.lines.removed)
		m.spool.Finish(msg.Message)
		m.forget(msg)
		return
	}
	s := msg.State
	s.Done, s.Groups, s.Dest = msg.done(), groups, m.dest(msg)
	m.spool.Put(msg.Message, s)
	m.forget(msg)
}

// dest is what a state record says of a message's destination: 0 when there are
// several, or may be.
func (m *manager) dest(msg *message) uint64 {
	if msg.hops != 1 || msg.count(resting)+msg.count(failed) > 0 {
		return 0
	}
	return destHash(m.machine.Key(msg.hop))
}

// expire makes every recipient that is left fail when the message is too old: at
// the end of a pass that tried something, never on hold. When an operator forced it,
// no attempt need have been made.
func (m *manager) expire(msg *message) {
	if msg.State.Expired && !m.spool.IsHeld(msg.Ref) {
		m.forceExpire(msg)
		return
	}
	may := false
	for i := range msg.rcpts {
		may = may || msg.rcpts[i].state == deferred && msg.rcpts[i].mayFail
	}
	if m.book.policy != nil && may && !m.spool.IsHeld(msg.Ref) {
		m.expireSome(msg)
		return
	}
	old := m.set.sched.Retry.Expired(stime(msg.State.Since), m.now(), msg.Envelope.Sender == "")
	if !may || !old || m.spool.IsHeld(msg.Ref) {
		return
	}
	m.log.Event(maillog.Expired{Queue: msg.Envelope.ID, From: msg.Envelope.Sender})
	for i := range msg.rcpts {
		if r := &msg.rcpts[i]; r.state == deferred && r.mayFail || r.state == resting {
			msg.fail(r, waitedTooLong)
		}
	}
}

// forceExpire returns to the sender what is left, with the reason that is recorded
// (postsuper -e, -f).
func (m *manager) forceExpire(msg *message) {
	any := false
	for i := range msg.rcpts {
		r := &msg.rcpts[i]
		if r.state != deferred && r.state != resting {
			continue
		}
		any = true
		msg.fail(r, mail.Status{DSN: "4.4.7", Text: "message is administratively expired"})
	}
	if any {
		m.log.Event(maillog.Expired{Queue: msg.Envelope.ID, From: msg.Envelope.Sender, Forced: true})
	}
}

// delayed returns of whom the sender is to be warned now (delay_warning_time), if anybody,
// and notes that he is.
func (m *manager) delayed(msg *message) []uint32 {
	if msg.warning || msg.Envelope.Sender == "" || m.spool.IsHeld(msg.Ref) || m.book.policy == nil && (m.set.delayWarning <= 0 || msg.State.Notices > 0 || m.spool.Now().Sub(msg.State.Since) < m.set.delayWarning) {
		return nil
	}
	late, upTo := m.noticesDue(msg, msg.numbers(deferred))
	m.noticing(msg, late, upTo)
	return late
}

// noticing notes that a notice of the delay is under way.
func (m *manager) noticing(msg *message, late []uint32, upTo time.Duration) {
	if len(late) > 0 {
		msg.warning, msg.noticed = true, max(uint32(upTo/time.Second), 1)
	}
}

// report gives recipients to bounce, as one delivery, or as several when what is to
// be said of them fills more than a frame.
func (m *manager) report(msg *message, kind string, numbers []uint32) {
	single := m.returnsEach(msg, kind)
	rs := make([]sched.Recipient, 0, len(numbers))
	size := 0
	for _, n := range numbers {
		r, st := &msg.Envelope.Recipients[n], msg.rcpts[n].status
		size += len(r.Address) + len(r.Original) + len(r.ORCPT) + len(st.Text) + len(st.Diag) + len(st.RemoteMTA) + 64
		if size > frameMax && len(rs) > 0 {
			m.machine.Admit(m.now(), sched.Message{ID: msg.id, Beside: true, Recipients: rs, Single: single})
			rs, size = rs[:0], 0
		}
		rs = append(rs, sched.Recipient{Index: n, Transport: bounceService, NextHop: kind})
	}
	m.machine.Admit(m.now(), sched.Message{ID: msg.id, Beside: true, Recipients: rs, Single: single})
}

// returnsEach says whether each failure is reported by itself, to the sender that its
// recipient had (VERP).
func (m *manager) returnsEach(msg *message, kind string) bool {
	return kind == reportFailure && msg.Envelope.VERP != "" && !m.set.noVERPBounces
}

// reported takes bounce's answer to a report for one recipient.
func (m *manager) reported(msg *message, report string, r *proto.RecipientResult) {
	rc := &msg.rcpts[r.Index]
	switch {
	case over(report):
	case report == reportDelay:
		if r.Status.Class == mail.Sent {
			msg.State.Notices = msg.noticed
			if m.book.policy != nil {
				expire, notice := m.timesOf(msg)
				m.machine.Times(m.now(), msg.id, expire, notice)
			}
		}
	case r.Replaced:
		if rc.state == failed || report == reportVerify && rc.state == deferred {
			rc.state = replaced
		}
	case r.Status.Class == mail.Sent: // no report is due: the null sender, or NOTIFY
		rc.state = finished
		m.touch(msg, r.Index)
	default: // could not be queued: reported again in a later pass
	}
}

// resume goes on with a message that waited for recipients outside the scheduler.
func (m *manager) resume(msg *message) {
	if msg.idle && !msg.elsewhere() {
		msg.idle = false
		m.conclude(msg)
	}
}

// quarantine moves a message whose content is damaged to corrupt/ (S5).
func (m *manager) quarantine(msg *message) {
	m.log.Warnf("saving corrupt message %s to queue corrupt: %s", msg.Envelope.ID, msg.corrupt)
	if err := m.spool.Corrupt(msg.Message, msg.corrupt+unfinishedText(msg)); err != nil {
		m.log.Errorf("%s: cannot be moved to corrupt/, left as it is: %v", msg.Envelope.ID, err)
		now := m.spool.Now()
		again := now.Add(m.set.sched.Retry.MaxBackoff)
		for i := range msg.rcpts {
			if r := &msg.rcpts[i]; r.state != finished {
				r.state, r.due, r.tried = resting, stime(again), false
			}
		}
		s := msg.State
		s.Done, s.Groups = msg.done(), msg.groups(now, again, m.queueNames())
		m.spool.Put(msg.Message, s)
	}
	m.forget(msg)
}
