package qmgr

import (
	"math"
	"time"

	"postrider/lib/mail"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// Expiry and the notice of a delay find a message wherever it sits: deferred, in its
// pass (conclude); in the active queue, by a timer of the scheduler; parked, by the
// alarms here. Nothing is returned on hold, nor before an attempt to its destination was
// made since the start.

const (
	// rungMax is how many parked messages are taken out of their lists at once because
	// their time is up.
	rungMax = 4096
	// alarmPause is how long a list whose destination was not tried is left alone, at most.
	alarmPause = time.Minute
)

// waitedTooLong is what is said of a recipient that waited behind others all its time.
var waitedTooLong = mail.Status{DSN: "4.4.7", Text: "waited too long for its destination to take more mail"}

// alarmPause is shorter where mail does not live long.
func (m *manager) alarmPause() time.Duration {
	return max(min(alarmPause, m.set.sched.Retry.Lifetime/100), time.Second)
}

// listen looks for parked messages whose time is up. Those whose destination was not
// tried stay.
func (m *manager) listen() {
	p := &m.parking
	now := m.spool.Now()
	if now.UnixMilli() < p.soonest || len(p.rung) > 0 {
		return
	}
	p.soonest = math.MaxInt64
	for key, l := range p.lists {
		first, pause := l.alarm(), time.Second
		if first <= now.UnixMilli() && !m.machine.MayExpire(key) {
			pause = m.alarmPause()
		} else if first <= now.UnixMilli() {
			before := l.n
			if err := p.ring(l, now.UnixMilli()); err != nil {
				m.log.Warnf("reading what waits: %v", err)
			}
			m.machine.Unparked(key, before-l.n)
			first = l.alarm()
			p.drop(l)
		}
		p.soonest = min(p.soonest, max(first, now.Add(pause).UnixMilli()))
	}
}

// alarm is the earliest of a list.
func (l *parkedList) alarm() int64 {
	at := int64(math.MaxInt64)
	for _, part := range [][]parked{l.head, l.tail} {
		for i := range part {
			at = min(at, part[i].alarm)
		}
	}
	for _, b := range l.middle {
		at = min(at, b.alarm)
	}
	return at
}

// ring takes what is due by now out of a list, as much as may be at once.
func (p *parking) ring(l *parkedList, now int64) error {
	due := func(list []parked) []parked {
		kept := list[:0]
		for _, x := range list {
			if x.alarm <= now && len(p.rung) < rungMax {
				p.rung = append(p.rung, x)
				l.n--
				p.memory--
			} else {
				kept = append(kept, x)
			}
		}
		clear(list[len(kept):])
		return kept
	}
	l.head = due(l.head)
	for i := 0; i < len(l.middle) && len(p.rung) < rungMax; i++ {
		if l.middle[i].alarm > now {
			continue
		}
		list, err := p.load(l.middle[i])
		if err != nil {
			return err
		}
		if list = due(list); len(list) == 0 {
			l.middle = append(l.middle[:i], l.middle[i+1:]...)
			i--
			continue
		}
		b, err := p.store(list)
		if err != nil { // it stays in memory, out of its turn
			l.head = append(l.head, list...)
			l.middle = append(l.middle[:i], l.middle[i+1:]...)
			return err
		}
		l.middle[i] = b
	}
	l.tail = due(l.tail)
	return nil
}

// nextRung looks at a parked message whose time is up.
func (m *manager) nextRung() bool {
	p := &m.parking
	if len(p.rung) == 0 || m.machine.Full(sched.Recipient{Transport: bounceService, NextHop: reportFailure}) {
		return false
	}
	x := p.rung[0]
	if p.rung = p.rung[1:]; len(p.rung) == 0 {
		p.rung = nil
	}
	in, err := m.spool.Open(x.at)
	switch {
	case err != nil:
		m.log.Warnf("reading a message that waits: %v", err)
		m.ailing = m.spool.Now().Add(afterError)
		p.push(&p.again, x)
		return false
	case in == nil:
	case m.deleted[in.Ref] || m.spool.IsHeld(in.Ref):
		m.consider(in, sched.Parking{})
	default:
		m.overdue(in)
	}
	return true
}

// overdue ends the wait of a parked message: with what is too old it comes back to
// conclude as after an attempt, the rest is due at once.
func (m *manager) overdue(in *spool.Message) {
	msg := &message{Message: in, active: time.Now()}
	now := m.spool.Now()
	msg.pass(now)
	m.queuesNoted(msg)
	for i := range msg.rcpts {
		if msg.rcpts[i].state != trying {
			continue
		}
		to, status := m.resolve(msg, uint32(i))
		r := &msg.rcpts[i]
		r.state, r.due = deferred, stime(now)
		r.mayFail = status == nil && m.machine.MayExpire(m.machine.Key(to))
	}
	m.enter(msg)
	m.machine.Admit(m.now(), sched.Message{ID: msg.id})
}

// expired takes recipients back whose time is up and that waited in the scheduler.
func (m *manager) expired(msg *message, numbers []uint32) {
	for _, n := range numbers {
		if r := &msg.rcpts[n]; r.state == trying {
			r.state, r.mayFail = deferred, true
			if m.book.policy != nil { // it may be another recipient's time
				r.due = m.now()
			}
		}
	}
}

// notice tells the sender of the delay of recipients that wait in the scheduler.
func (m *manager) notice(msg *message, numbers []uint32) {
	if msg.warning || m.book.policy == nil && msg.State.Notices > 0 || msg.Envelope.Sender == "" || m.spool.IsHeld(msg.Ref) || msg.gone {
		return
	}
	late, upTo := m.noticesDue(msg, numbers)
	if m.noticing(msg, late, upTo); len(late) > 0 {
		m.report(msg, reportDelay, late)
	}
}
