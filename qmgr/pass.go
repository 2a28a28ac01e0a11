package qmgr

import (
	"strings"
	"time"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/sched"
)

// local may find that a recipient is another transport's (mailbox_transport,
// fallback_transport). Nobody but local knows: aliases and .forward come before. So he goes
// on to that transport in the same pass, beside what is under way, as if he had been led
// there at first; that is no attempt. Only memory knows of it: the next pass, and one after a
// crash or a reload, asks local again. It cannot go in circles, since what local
// leads to is never local.

// passed is where local led a recipient.
type passed struct {
	transport, nextHop string
	address            mail.Address
}

// pass leads recipients to where local said, those of a result before it ends its entry.
func (m *manager) pass(msg *message, d *delivery, r *proto.Result) {
	var all []sched.Recipient
	for i := range r.Recipients {
		rr := &r.Recipients[i]
		if rr.Pass.Transport == "" || int(rr.Index) >= len(msg.rcpts) || msg.gone || m.stopping || m.spool.IsHeld(msg.Ref) {
			continue
		}
		rc := &msg.rcpts[rr.Index]
		if rc.state != deferred || rc.tried { // untried is what became of it until now
			continue
		}
		to, status := m.passTo(msg, rr.Index, &rr.Pass, d.nextHop)
		switch {
		case m.unready(msg, rr.Index, status):
		case status != nil:
			m.settle(msg, rr.Index, *status, true)
		case m.machine.Full(to):
			m.awaitRoom(msg, rr.Index, to)
		default:
			rc.state, rc.due = trying, 0
			msg.noteHop(to)
			all = append(all, to)
		}
	}
	if len(all) > 0 {
		m.machine.Admit(m.now(), sched.Message{ID: msg.id, Beside: true, Recipients: all, Single: msg.Envelope.VERP != ""})
	}
}

// passTo notes where a recipient is led, and resolves him there.
func (m *manager) passTo(msg *message, n uint32, to *proto.Pass, nextHop string) (sched.Recipient, *mail.Status) {
	if to.NextHop != "" {
		nextHop = to.NextHop
	}
	switch m.set.program(to.Transport) {
	case "local", bounceService, requeueProgram:
		m.log.Warnf("%s: mailbox_transport or fallback_transport names %s, which cannot take mail from local", msg.Envelope.ID, to.Transport)
		return sched.Recipient{}, &mail.Status{Class: mail.Deferred, DSN: "4.3.5", Text: "mail system configuration error"}
	}
	if msg.passed == nil {
		msg.passed = map[uint32]passed{}
	}
	msg.passed[n] = passed{to.Transport, nextHop, to.Address}
	return m.resolve(msg, n)
}

// onward is where a recipient goes whom local has led on; the policy's terms stay those of
// the way to local.
func (m *manager) onward(p passed, r sched.Recipient) (sched.Recipient, *mail.Status) {
	r.Transport, r.NextHop, r.User, r.Source = p.transport, p.nextHop, m.set.user(p.address), ""
	return m.atOnce(r)
}

// awaitRoom has a recipient wait whose transport is full. One alone is parked there, and
// goes there without local when there is room; what comes beyond ledMax waits as if it had
// been tried, and one of several for a while.
func (m *manager) awaitRoom(msg *message, n uint32, to sched.Recipient) {
	rc := &msg.rcpts[n]
	if len(msg.rcpts) > 1 {
		rc.due = m.now().Add(fullPause)
		return
	}
	if m.sweepLed(); len(m.led) < ledMax {
		msg.parkFor = &to
		return
	}
	rc.due = 0
}

const (
	// fullPause is how long a recipient of several waits when there is no room.
	fullPause = time.Minute
	// ledMax is of how many parked messages it is remembered where local led them: about
	// 4 MB.
	ledMax = 20_000
)

// parkedFor parks a message of which nothing was tried for want of room.
func (m *manager) parkedFor(msg *message) bool {
	if msg.parkFor == nil || msg.State.Expired || msg.rcpts[0].state != deferred || msg.rcpts[0].tried {
		return false
	}
	to := *msg.parkFor
	m.led[msg.Ref] = msg.passed[0]
	m.forget(msg)
	m.park(msg.Message, to, destHash(m.machine.Key(to)), msg.expireAt)
	return true
}

// ledBefore gives a message that was parked the way that local led it.
func (m *manager) ledBefore(msg *message) {
	if p, ok := m.led[msg.Ref]; ok {
		msg.passed = map[uint32]passed{0: p}
	}
}

// sweepLed forgets messages that ended while they were parked, when there is no room for
// more, at most once a minute.
func (m *manager) sweepLed() {
	if now := time.Now(); len(m.led) >= ledMax && now.Sub(m.sweptLed) > time.Minute {
		m.sweptLed = now
		for ref := range m.led {
			if m.spool.Finished(ref) {
				delete(m.led, ref)
			}
		}
	}
}

// readdressed gives a recipient of a request the address that local found for him.
func (msg *message) readdressed(r *proto.DeliverRecipient) {
	p, ok := msg.passed[r.Index]
	if !ok || strings.EqualFold(string(p.address), string(r.Address)) {
		return
	}
	if r.Original == "" {
		r.Original = r.Address
	}
	r.Address = p.address
}
