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
	// parkedMax is how many tailed messages wait in memory for room in the active
	// queue. What comes beyond goes to the wheel, due at once, so that the journal's
	// cursor never stops.
	parkedMax = 4096
	// fillMax bounds how many messages are admitted in one turn, so that results
	// and operators are heard in between.
	fillMax = 512
)

// fill admits mail while there is room: one from incoming and one from deferred in
// turn while both have some. It also keeps the cursor of the journal moving. It
// reports whether it stopped for the others' sake.
func (m *manager) fill() (more bool) {
	for n := 0; m.machine.Room() > 0; n++ {
		if n == fillMax {
			return true
		}
		src := m.machine.Prefer()
		msg := m.next(src)
		if msg == nil {
			src = sched.Incoming + sched.Deferred - src
			if msg = m.next(src); msg == nil {
				break
			}
		}
		m.admit(src, msg)
	}
	return m.park()
}

// next takes a message from one of the two sources, or nil.
func (m *manager) next(src sched.Source) *spool.Message {
	if src == sched.Incoming {
		if m.parked.len() == 0 {
			m.tail()
		}
		return m.parked.pop()
	}
	if len(m.due) == 0 {
		if at, ok := m.nextDue(); !ok || at.After(m.spool.Now()) {
			return nil
		}
		var err error
		if m.due, err = m.spool.Due(tailBatch); err != nil {
			m.log.Warnf("reading the deferred queue: %v", err)
			m.ailing = m.spool.Now().Add(afterError)
		}
		if len(m.due) == 0 {
			return nil
		}
	}
	msg := m.due[0]
	m.due[0] = nil
	m.due = m.due[1:]
	return msg
}

// afterError is how long the deferred queue is left alone after it could not be read.
const afterError = 5 * time.Second

// nextDue is when the deferred queue is to be read next, if it has anything.
func (m *manager) nextDue() (time.Time, bool) {
	at, ok := m.spool.NextDue()
	if at.Before(m.ailing) {
		at = m.ailing
	}
	return at, ok
}

// tail reads the next new messages from the journal into the parked list and
// crosses off what they replace. It returns how many there were.
func (m *manager) tail() (int, error) {
	batch, err := m.spool.Tail(tailBatch)
	if err != nil {
		m.log.Warnf("reading the journal: %v", err)
	}
	for _, msg := range batch {
		if msg.Replaced && msg.Envelope.Replaces.ID != "" {
			r := &msg.Envelope.Replaces
			m.replacedBy(place(r.File, r.Slot), r.Recipients)
		}
		m.parked.push(msg)
	}
	return len(batch), err
}

// park reads what is durable in the journal while the active queue is full, and
// files what is too much for memory on the wheel.
func (m *manager) park() (more bool) {
	for range fillMax / tailBatch {
		m.spill()
		if n, _ := m.tail(); n == 0 {
			return false
		}
	}
	return true
}

// spill files what is too much for memory on the wheel.
func (m *manager) spill() {
	if m.parked.len() >= parkedMax {
		now := m.spool.Now()
		for m.parked.len() > parkedMax-2*tailBatch {
			m.later(m.parked.pop(), now)
		}
	}
}

// later files a message that is not admitted: when it was never tried, due at now.
func (m *manager) later(msg *spool.Message, now time.Time) {
	delete(m.deleted, msg.Ref) // Put sees it
	delete(m.bumped, msg.Ref)
	s := msg.State
	if len(s.Groups) > 0 { // on hold since it was read: as it was
		m.spool.Put(msg, s)
		return
	}
	s.Groups = []spool.Group{{Due: now}}
	for i := range msg.Envelope.Recipients {
		if !s.Done.Has(uint32(i)) {
			s.Groups[0].Recipients = append(s.Groups[0].Recipients, uint32(i))
		}
	}
	if len(s.Groups[0].Recipients) == 0 {
		m.spool.Finish(msg)
		return
	}
	m.spool.Put(msg, s)
}

// admit takes a message into the active queue.
func (m *manager) admit(src sched.Source, in *spool.Message) {
	if m.deleted[in.Ref] {
		delete(m.deleted, in.Ref)
		m.spool.Finish(in)
		return
	}
	if m.spool.IsHeld(in.Ref) {
		m.later(in, m.spool.Now())
		return
	}
	m.lastID++
	msg := &message{Message: in, id: m.lastID, active: time.Now()}
	msg.pass(m.spool.Now())
	m.active[msg.id] = msg
	m.byRef[in.Ref] = msg
	env := in.Envelope
	m.log.Event(maillog.QueueActive{Queue: env.ID, From: env.Sender, Size: env.Size, Recipients: len(env.Recipients) - in.State.Done.Len()})

	m.applyEarly(msg)
	m.applyForeign(msg)
	m.schedule(src, msg)
}

// schedule resolves the recipients that are to be tried and gives them to the
// scheduler. Those whose fate is known without an agent have it at once.
func (m *manager) schedule(src sched.Source, msg *message) {
	if m.wished(src, msg) {
		return
	}
	all := make([]sched.Recipient, 0, 4)
	for i := range msg.rcpts {
		if msg.rcpts[i].state != trying {
			continue
		}
		to, status := m.resolve(msg, uint32(i))
		if status != nil {
			m.settle(msg, uint32(i), *status, true)
			continue
		}
		all = append(all, to)
	}
	flush := m.bumped[msg.Ref]
	if flush {
		delete(m.bumped, msg.Ref)
	}
	m.machine.Admit(m.now(), sched.Message{ID: msg.id, Source: src, Flush: flush, Recipients: all})
}

// settle records the outcome for one recipient that no agent was needed for, and
// logs it in the name of the daemon that Postfix has for it.
func (m *manager) settle(msg *message, n uint32, st mail.Status, tried bool) {
	r := &msg.rcpts[n]
	r.status, r.tried, r.mayFail = st, r.tried || tried, true
	switch st.Class {
	case mail.Sent:
		r.state = finished
		m.touch(msg)
	case mail.Bounced:
		r.state = failed
	default:
		r.state = deferred
	}
	log := m.errlog
	if st.Class == mail.Sent {
		log = m.dislog
	}
	to := &msg.Envelope.Recipients[n]
	log.Event(maillog.Delivery{Queue: msg.Envelope.ID, To: to.Address, OrigTo: to.Original,
		Arrival: msg.Envelope.Arrival, Active: msg.active, Done: time.Now(), Status: st})
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
