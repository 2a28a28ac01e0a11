package qmgr

import (
	"time"

	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/sched"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

const (
	tailBatch = 64
	// freshMax is how many tailed messages wait in memory before the first attempt may
	// start. What comes beyond is parked, so that the journal's cursor never stops.
	freshMax        = 4096
	freshRecipients = 100_000 // of them all
	// fillMax and fillTime bound how many messages are looked at in one turn, so that
	// results and operators are heard in between. One look may park a thousand.
	fillMax  = 512
	fillTime = 10 * time.Millisecond
)

// fill looks at mail while there is some: what is parked and may be admitted now, what
// is new, and what is due, in turn while there is some of each. What the active queue
// has no room for is parked, so nobody waits behind it. It reports whether it stopped
// for the others' sake.
func (m *manager) fill() (more bool) {
	start := time.Now()
	for range fillMax {
		if !m.next() {
			return false
		}
		if time.Since(start) > fillTime {
			break
		}
	}
	return true
}

// next looks at one message, of one of the sources in turn. False: there is none.
func (m *manager) next() bool {
	if m.spool.Now().Before(m.ailing) {
		return m.nextFresh()
	}
	if m.nextRung() {
		return true
	}
	return m.intake.Look(m)
}

// Parked looks at the parked message whose turn it is (sched.Queues).
func (m *manager) Parked() bool {
	in, from, more := m.unpark()
	if in != nil {
		m.consider(in, from)
	}
	return more
}

// Next looks at the next message of a queue (sched.Queues).
func (m *manager) Next(from sched.Source) bool {
	if from == sched.Incoming {
		return m.nextFresh()
	}
	return m.nextDeferred()
}

// nextFresh looks at the next new message.
func (m *manager) nextFresh() bool {
	if m.fresh.len() == 0 {
		m.tail()
	}
	in := m.fresh.pop()
	if in != nil {
		m.consider(in, sched.Parking{})
	}
	return in != nil
}

// nextDeferred looks at the next message that is due.
func (m *manager) nextDeferred() bool {
	if len(m.due) == 0 {
		if at, ok := m.nextDue(); !ok || at.After(m.spool.Now()) {
			return false
		}
		parked := false
		var err error
		m.due, err = m.spool.DueOr(tailBatch, func(h spool.Hint, at spool.Parked) bool {
			is := m.parkDue(h, at)
			parked = parked || is
			return is
		})
		if err != nil {
			m.log.Warnf("reading the deferred queue: %v", err)
			m.ailing = m.spool.Now().Add(afterError)
		}
		if len(m.due) == 0 {
			return parked
		}
	}
	in := m.due[0]
	m.due[0] = nil
	m.due = m.due[1:]
	m.consider(in, sched.Parking{})
	return true
}

// afterError is how long the spool is left alone after it could not be read.
const afterError = 5 * time.Second

// nextDue is when the deferred queue is to be read next, if it has anything.
func (m *manager) nextDue() (time.Time, bool) {
	at, ok := m.spool.NextDue()
	if at.Before(m.ailing) {
		at = m.ailing
	}
	return at, ok
}

// tail reads the next new messages from the journal and crosses off what they
// replace. It returns how many there were.
func (m *manager) tail() (int, error) {
	batch, err := m.spool.Tail(tailBatch)
	if err != nil {
		m.log.Warnf("reading the journal: %v", err)
	}
	for _, msg := range batch {
		m.charge(msg.Ref, msg.Envelope)
		if msg.Replaced && msg.Envelope.Replaces.ID != "" {
			r := &msg.Envelope.Replaces
			m.replacedBy(place(r.File, r.Slot), r.Recipients)
		}
		m.fresh.push(msg)
	}
	return len(batch), err
}

// spill parks what is too much for memory of what was tailed and cannot be looked at
// yet.
func (m *manager) spill() {
	for m.fresh.len() > freshMax || m.fresh.recipients > freshRecipients {
		m.parkIn(&m.parking.again, m.fresh.pop())
	}
}

// consider admits a message, or parks it when its destinations are full. It was the
// first of the list from, if that is one.
func (m *manager) consider(in *spool.Message, from sched.Parking) {
	m.records.reading(ofMessage, in.Ref)
	m.weigh(in, from)
	m.records.reading("", slot.Ref{})
}

func (m *manager) weigh(in *spool.Message, from sched.Parking) {
	if m.deleted[in.Ref] {
		delete(m.deleted, in.Ref)
		m.spool.Finish(in)
		return
	}
	if m.spool.IsHeld(in.Ref) {
		delete(m.bumped, in.Ref)
		m.spool.Put(in, m.spool.Fresh(in))
		return
	}
	msg := &message{Message: in, active: time.Now(), from: from}
	msg.pass(m.spool.Now())
	m.queuesNoted(msg)
	m.ledBefore(msg)
	msg.known = msg.one.known[:0]
	if q := m.unanswered(msg); q != nil {
		flush := m.bumped[in.Ref]
		if m.parkIn(&q.list, in); flush {
			m.bumped[in.Ref] = true
		}
		return
	}
	if (!m.bumped[in.Ref] || m.machine.Room() == 0) && m.records.condemned(ofMessage, in.Ref) == "" {
		if m.tooLarge(msg) {
			m.parkIn(&m.parking.large, in)
			return
		}
		if to, dest, yes := m.mustWait(msg); yes {
			m.park(in, to, dest, msg.expireAt)
			return
		}
	}
	m.admit(msg)
}

// mustWait says whether nothing of a message may be admitted now, since all its
// destinations are full, and for which it waits first. dest is the hash of that when
// it is the only one.
func (m *manager) mustWait(msg *message) (to sched.Recipient, dest uint64, yes bool) {
	if m.mayRequeue(msg) {
		to = sched.Recipient{Transport: requeueService}
		return to, 0, m.machine.FullFor(to, msg.from)
	}
	if msg.State.Expired {
		return to, 0, false
	}
	single, n := true, 0
	for i := range msg.rcpts {
		var r sched.Recipient
		var status *mail.Status
		switch msg.rcpts[i].state {
		case trying:
			if r, status = m.resolve(msg, uint32(i)); status == nil {
				msg.known = append(msg.known, r)
				if m.book.policy != nil && m.mayWait(msg, &r) {
					return to, 0, false
				}
			}
		case failed:
			status = msg.rcpts[i].status
		case finished:
			continue
		default:
			single = false
			continue
		}
		if status != nil && status.Class != mail.Bounced {
			return to, 0, false // over at once
		}
		if status != nil {
			r = sched.Recipient{Transport: bounceService, NextHop: reportFailure}
		}
		if !m.machine.FullFor(r, msg.from) {
			return to, 0, false
		}
		if n++; n == 1 {
			to = r
		}
		single = single && sameHop(r, to)
		if n == m.machine.Slice() {
			single = false
			break
		}
	}
	if n > 0 && single {
		dest = destHash(m.machine.Key(to))
	}
	return to, dest, n > 0
}

// largeMax is how many recipients messages in memory have that come in slices, but for
// one that has more by itself: each takes about 130 bytes.
const largeMax = 250_000

// tooLarge says whether a message with very many recipients has to wait until others
// like it are over. Small ones pass it by.
func (m *manager) tooLarge(msg *message) bool {
	n := len(msg.rcpts)
	return n > m.machine.Slice() && m.large > 0 && m.large+n > largeMax
}

// sameHop says whether two recipients have the same destination, whatever the
// transport's limit.
func sameHop(a, b sched.Recipient) bool {
	return a.Transport == b.Transport && a.NextHop == b.NextHop && a.User == b.User
}

// aliases counts the recipients that stand for a report only.
func (msg *message) aliases() (n int) {
	for i := range msg.Envelope.Recipients {
		if msg.Envelope.Recipients[i].Member == mail.MemberExpanded && msg.rcpts[i].state == trying {
			n++
		}
	}
	return n
}

// admit takes a message into the active queue.
func (m *manager) admit(msg *message) {
	m.enter(msg)
	delete(m.led, msg.Ref)
	env := msg.Envelope
	m.lines.active = maillog.QueueActive{Queue: env.ID, From: env.Sender, Size: env.Size, Recipients: len(env.Recipients) - msg.State.Done.Len() - msg.aliases()}
	m.log.Event(&m.lines.active)

	if m.onRecord(msg) {
		return
	}
	m.applyEarly(msg)
	m.applyForeign(msg)
	m.schedule(msg)
	if err := m.records.fine(msg.Ref); err != nil {
		m.log.Warnf("%v", err)
	}
}

// enter makes a message active.
func (m *manager) enter(msg *message) {
	m.lastID++
	msg.id = m.lastID
	m.active[msg.id] = msg
	m.byRef[msg.Ref] = msg
	if n := len(msg.rcpts); n > m.machine.Slice() {
		m.large += n
		msg.large = true
	}
}

// schedule resolves the recipients that are to be tried and gives them to the
// scheduler. Those whose fate is known without an agent have it at once.
func (m *manager) schedule(msg *message) {
	if m.wished(msg) {
		return
	}
	msg.next = 0
	flush := m.bumped[msg.Ref]
	delete(m.bumped, msg.Ref)
	m.slice(msg, flush)
}

// slice gives the scheduler the next recipients that are to be tried, of a large message
// some at a time. Those whose fate is known without an agent have it at once.
func (m *manager) slice(msg *message, flush bool) {
	all := m.given[:0]
	known, from := msg.known, msg.from
	msg.known, msg.from = nil, sched.Parking{}
	now, most := m.now(), m.machine.Slice()
	for ; msg.next < len(msg.rcpts) && len(all) < most; msg.next++ {
		i := msg.next
		if msg.rcpts[i].state != trying {
			continue
		}
		var to sched.Recipient
		var status *mail.Status
		if len(known) > 0 && known[0].Index == uint32(i) {
			to, known = known[0], known[1:]
		} else {
			to, status = m.resolve(msg, uint32(i))
		}
		if status == nil {
			msg.noteHop(to)
		}
		switch {
		case m.unready(msg, uint32(i), status):
		case status != nil:
			m.settle(msg, uint32(i), *status, true)
		case m.book.policy != nil && !flush && m.notYet(msg, &to):
		case len(msg.rcpts) > 1 && !flush && m.machine.FullFor(to, from):
			// Others of the message may go; this one is parked in its next pass.
			msg.rcpts[i].state, msg.rcpts[i].due = deferred, now
		default:
			all = append(all, to)
		}
	}
	expire, notice := m.timesOf(msg)
	m.machine.Admit(m.now(), sched.Message{ID: msg.id, Flush: flush, Recipients: all, Expire: expire, Notice: notice,
		More: msg.next < len(msg.rcpts), Single: msg.Envelope.VERP != ""})
	if m.given = all; cap(all) > givenMax {
		m.given = nil
	}
}

// givenMax is how many recipients manager.given keeps memory for.
const givenMax = 1024

// settle records the outcome for one recipient that no agent was needed for, and
// logs it in the name of the daemon that Postfix has for it.
func (m *manager) settle(msg *message, n uint32, st mail.Status, tried bool) {
	r := &msg.rcpts[n]
	r.status, r.tried, r.mayFail = msg.share(st), r.tried || tried, true
	m.trace(msg, n)
	verify := msg.Envelope.Trace == mail.TraceVerify
	switch {
	case verify: // until it is reported
		r.state = deferred
	case st.Class == mail.Sent:
		r.state = finished
		m.touch(msg, n)
		if msg.Envelope.Recipients[n].Notify&mail.NotifySuccess != 0 && msg.Envelope.Sender != "" {
			msg.arrived = append(msg.arrived, n)
		}
	case st.Class == mail.Bounced:
		r.state = failed
	default:
		r.state = deferred
	}
	log := m.errlog
	if st.Class == mail.Sent {
		log = m.dislog
	}
	to := &msg.Envelope.Recipients[n]
	if to.Member == mail.MemberExpanded {
		r.expanded = true
		return // as in Postfix: the report alone tells of it
	}
	log.Event(maillog.Delivery{Queue: msg.Envelope.ID, To: to.Address, OrigTo: to.Original,
		Arrival: msg.Envelope.Arrival, Active: msg.active, Done: time.Now(), Status: st, Verify: verify})
}

// replacedBy crosses off recipients of an active message that one in the journal
// has taken over. The spool knows already.
func (m *manager) replacedBy(ref slot.Ref, numbers []uint32) {
	msg := m.byRef[ref]
	if msg == nil {
		return
	}
	for _, n := range numbers {
		if int(n) < len(msg.rcpts) {
			msg.rcpts[n].state, msg.rcpts[n].logged = finished, true
		}
	}
	m.resume(msg)
}
