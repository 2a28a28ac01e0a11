package qmgr

import (
	"slices"
	"time"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/policy"
	"postrider/lib/sched"
)

// With a policy each recipient has a schedule: when it is tried again, when its sender
// hears of the delay, when it is given up. It is chosen anew after each failure, so that
// rules may go by attempts, age and the kind of the failure.

// scheduleOf is s in the form of lib/sched.
func (m *manager) scheduleOf(s *policy.Schedule) *sched.Schedule {
	out := &sched.Schedule{Ladder: s.Retry, Interval: s.Interval, MaxInterval: s.MaxInterval, Jitter: s.Jitter,
		Notices: s.Notify, Expire: s.Expire, MaxAttempts: s.MaxAttempts}
	for _, t := range s.Tiers {
		out.Tiers = append(out.Tiers, sched.Pace{After: t.After, Every: t.Every})
	}
	if w := m.set.delayWarning; len(s.Notify) == 0 && !s.NoNotify && w > 0 {
		out.Notices = []time.Duration{w}
	}
	return out
}

// schedule returns that of a recipient, nil for Postfix's.
func (m *manager) paces(r *recipient) *sched.Schedule {
	if int(r.course.schedule) < len(m.plans) {
		return m.plans[r.course.schedule]
	}
	return nil
}

// failures is how often an attempt for a recipient has failed, with this pass's.
func (r *recipient) failures() int {
	if r.tried {
		return int(r.attempts) + 1
	}
	return int(r.attempts)
}

// reconsider has the policy look again at every recipient that was deferred in this pass,
// and sets when each is due by its schedule.
func (m *manager) reconsider(msg *message, now time.Time) {
	retry := m.set.sched.Retry
	for i := range msg.rcpts {
		r := &msg.rcpts[i]
		if r.state != deferred || r.planned {
			continue
		}
		to, status := m.resolve(msg, uint32(i))
		if status == nil && msg.hops == 1 {
			msg.hop = to
		}
		if r.due != 0 {
			continue
		}
		s := m.paces(r)
		since, at := stime(msg.State.Since), stime(now)
		r.due = s.Next(retry, r.failures(), since, at, uint64(msg.id)^uint64(i)<<32)
		end := s.Expiry(retry, since, msg.Envelope.Sender == "")
		if !msg.expireAt.IsZero() {
			if e := stime(msg.expireAt); end == 0 || e < end {
				end = e
			}
		}
		if end != 0 && r.due > end && end.Sub(at) >= retry.MinBackoff {
			r.due = end // one more attempt when its time is up
		}
	}
}

// overAge says whether a recipient that was deferred is to be returned.
func (m *manager) overAge(msg *message, r *recipient) bool {
	if !msg.expireAt.IsZero() && !m.spool.Now().Before(msg.expireAt) {
		return true
	}
	return m.paces(r).Over(m.set.sched.Retry, r.failures(), stime(msg.State.Since), m.now(), msg.Envelope.Sender == "")
}

// told is the age up to which all notices of the delay of a message were sent.
func told(msg *message) time.Duration { return time.Duration(msg.State.Notices) * time.Second }

// noticesDue returns who of numbers the sender is to hear of now, and up to which age all
// notices are sent then.
func (m *manager) noticesDue(msg *message, numbers []uint32) (due []uint32, upTo time.Duration) {
	age := m.spool.Now().Sub(msg.State.Since)
	for _, n := range numbers {
		r := &msg.rcpts[n]
		s := m.paces(r)
		if s == nil {
			s = m.warning()
		}
		if up, yes := s.Noticed(told(msg), age); yes && !r.planned {
			due, upTo = append(due, n), max(upTo, up)
		}
	}
	return due, upTo
}

// warning is delay_warning_time as a schedule.
func (m *manager) warning() *sched.Schedule {
	if m.set.delayWarning <= 0 {
		return nil
	}
	return &sched.Schedule{Notices: []time.Duration{m.set.delayWarning}}
}

// thresholds are the next time, of any schedule, at which a message of that age may be
// given up, and at which its sender may have to hear of it; 0 is never. What does not
// apply to it costs a look.
func (m *manager) thresholds(since time.Time, nullSender bool) (expire, notice sched.Time) {
	now, at := m.now(), stime(since)
	sooner := func(t *sched.Time, at sched.Time) {
		if at > now && (*t == 0 || at < *t) {
			*t = at
		}
	}
	late := false
	for _, s := range m.plans {
		end := s.Expiry(m.set.sched.Retry, at, nullSender)
		late = late || end != 0 && end <= now
		sooner(&expire, end)
		if next, ok := s.Notice(now.Sub(at)); ok && !nullSender {
			sooner(&notice, at.Add(next))
		}
	}
	if late { // it may wait for a destination that was not tried
		sooner(&expire, now.Add(time.Hour))
	}
	return expire, notice
}

// postpone has a recipient wait without an attempt, as planned, until a time; 0 is as
// long as the longest pause.
func (m *manager) postpone(msg *message, n uint32, until sched.Time, st mail.Status) {
	r := &msg.rcpts[n]
	if until == 0 {
		until = m.now().Add(m.set.sched.Retry.MaxBackoff)
	}
	r.state, r.due, r.planned, r.status = deferred, until, true, msg.share(st)
	r.mayFail = !msg.expireAt.IsZero()
}

// notYet says whether a recipient is to wait for the time its message asks for, or for its
// window, and has it do so.
func (m *manager) notYet(msg *message, to *sched.Recipient) bool {
	if at := msg.sendAt; at.After(m.spool.Now()) {
		until := at
		if end := msg.expireAt; !end.IsZero() && end.Before(until) {
			until = end // it is returned then, and not kept until it may go
		}
		m.postpone(msg, to.Index, stime(until), mail.Status{Class: mail.Deferred, DSN: "4.0.0", Text: "delivery not scheduled before " + m.spool.Wall(at).UTC().Format(time.RFC3339)})
		return true
	}
	if until, shut := m.machine.Shut(m.now(), to.Terms); shut {
		m.postpone(msg, to.Index, until, sched.NotOpen(to.Terms.Window))
		return true
	}
	return false
}

// mayWait says whether notYet would have a recipient wait.
func (m *manager) mayWait(msg *message, to *sched.Recipient) bool {
	_, shut := m.machine.Shut(m.now(), to.Terms)
	return shut || msg.sendAt.After(m.spool.Now())
}

// timesOf are when what waits of a message is to be looked at because it may be too old,
// and because its sender may have to hear of the delay; 0 is never.
func (m *manager) timesOf(msg *message) (expire, notice sched.Time) {
	expire, notice = m.times(msg.State.Since, msg.Envelope.Sender == "", msg.warning || msg.State.Notices > 0)
	if at := stime(msg.expireAt); !msg.expireAt.IsZero() && (expire == 0 || at < expire) {
		expire = at
	}
	return expire, notice
}

// expireSome returns to the sender those recipients whose schedules give them up.
func (m *manager) expireSome(msg *message) {
	any := false
	for i := range msg.rcpts {
		if r := &msg.rcpts[i]; r.state == deferred && r.mayFail && m.overAge(msg, r) {
			if !any {
				m.log.Event(maillog.Expired{Queue: msg.Envelope.ID, From: msg.Envelope.Sender})
			}
			any = true
			msg.fail(r, waitedTooLong)
		}
	}
}

// queueNames are the policy's, for the state records; nil without one.
func (m *manager) queueNames() []string {
	if m.book.policy == nil {
		return nil
	}
	if m.terms.queues == nil {
		for i := range m.book.policy.Queues {
			m.terms.queues = append(m.terms.queues, m.book.policy.Queues[i].Name)
		}
	}
	return m.terms.queues
}

// queuesNoted takes from the state of a message which queues its recipients were in.
func (m *manager) queuesNoted(msg *message) {
	if m.book.policy == nil {
		return
	}
	names := m.queueNames()
	for gi := range msg.State.Groups {
		g := &msg.State.Groups[gi]
		if i := slices.Index(names, g.Queue); i > 0 {
			for _, n := range g.Recipients {
				if int(n) < len(msg.rcpts) {
					msg.rcpts[n].course.queue = uint16(i)
				}
			}
		}
	}
}

// readTimes takes the times that a message asks for itself, from the facts of the decision
// before. One that cannot be read is left out.
func (m *manager) readTimes(msg *message) {
	if msg.timed {
		return
	}
	msg.timed = true
	send, expire := m.book.policy.Times(&m.book.facts)
	read := func(text, what string) time.Time {
		if text == "" {
			return time.Time{}
		}
		at, err := policy.ParseTime(text, msg.Envelope.Arrival)
		if err != nil {
			m.log.Warnf("%s: the time %s: %v; it is left out", msg.Envelope.ID, what, err)
			return time.Time{}
		}
		now := m.spool.Now()
		return at.Add(now.Sub(m.spool.Wall(now)))
	}
	msg.sendAt, msg.expireAt = read(send, "to send it at"), read(expire, "it expires at")
}
