package sched

import "time"

// Expiry finds a message in the active queue that waits behind others: its time is a
// timer. What waits then is given back by Expire, if an attempt to its destination was
// made since the start, or since the clock was stepped, with this message or another,
// and if its transport does not stand still: nobody's mail is returned for a time in
// which we did not try. What is in hand is left to its result.

// alarmed does what the alarm of msg is for, and sets it for what comes next.
func (m *Machine) alarmed(msg *message) {
	if msg.notice != 0 && msg.notice <= m.now {
		msg.notice = 0
		m.give(msg, Notice, false)
	}
	if msg.expire != 0 && msg.expire <= m.now {
		m.give(msg, Expire, true)
		msg.expire = m.now.Add(max(m.cfg.Retry.MinBackoff, time.Second)) // what is left is looked at again
	}
	m.watchMessage(msg)
}

// give names the recipients of msg that wait, those of one destination in one action.
// If they end, only those that may expire are named.
func (m *Machine) give(msg *message, kind Kind, end bool) {
	var next *node[entry]
	for x := msg.entries.first; x != nil; x = next {
		next = x.next
		e := x.of
		d, t := e.dest, e.dest.trans
		if e.id != 0 || end && !d.mayExpire() {
			continue
		}
		m.out.put(Action{Kind: kind, Msg: msg.id, Transport: t.name, NextHop: d.nextHop, Recipients: e.recipients})
		if end {
			m.drop(e)
			m.rest(d)
			m.settle(t)
			m.end(e)
		}
	}
}

// mayExpire says whether the mail of d may be returned for its age.
func (d *dest) mayExpire() bool { return d.tried && d.trans.state == up }

// MayExpire says whether the mail in a list of parked mail may be returned for its age.
func (m *Machine) MayExpire(p Parking) bool {
	t := m.transports[p.Transport]
	return t != nil && t.dests[p.Name] != nil && t.dests[p.Name].mayExpire()
}

// watchMessage sets the alarm of msg.
func (m *Machine) watchMessage(msg *message) {
	at := msg.expire
	if msg.notice != 0 && (at == 0 || msg.notice < at) {
		at = msg.notice
	}
	if at == 0 || m.messages[msg.id] != msg {
		m.timers.clear(&msg.alarm)
		return
	}
	m.timers.set(&msg.alarm, at)
}

// Stepped is the event that the clock was stepped: attempts made before do not count
// for expiry any more.
func (m *Machine) Stepped(now Time) {
	m.advance(now)
	m.forgetWindows()
	for _, t := range m.transports {
		for _, d := range t.dests {
			d.tried = false
		}
	}
}

// Times is the event that an active message has other times for Expire and Notice.
func (m *Machine) Times(now Time, id MsgID, expire, notice Time) {
	m.advance(now)
	if msg := m.messages[id]; msg != nil {
		msg.expire, msg.notice = expire, notice
		m.watchMessage(msg)
	}
}
