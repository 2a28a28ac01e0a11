package sched

// Reroute is the event that the way of an active message may have changed. For each of
// its entries same says whether its recipients still go there, to the transport, next hop,
// source and terms of to. Those that do not and wait
// are taken back and returned, to be admitted Beside at once; those that do not and are in
// hand are not interrupted, and what comes back of them untried (Return) is left to
// MessageDone. The others keep their places. It returns nothing for a message that is not
// active.
func (m *Machine) Reroute(now Time, id MsgID, same func(to Recipient, recipients []uint32) bool) (again []uint32) {
	m.advance(now)
	msg := m.messages[id]
	if msg == nil {
		return nil
	}
	var next *node[entry]
	for x := msg.entries.first; x != nil; x = next {
		next = x.next
		e := x.of
		d := e.dest
		if e.withdrawn || same(Recipient{Transport: d.trans.name, NextHop: d.nextHop, Source: d.source, Terms: e.terms}, e.recipients) {
			continue
		}
		if e.id != 0 {
			e.withdrawn = true
			continue
		}
		again = append(again, e.recipients...)
		m.drop(e)
		m.rest(d)
		m.settle(d.trans)
		m.leave(e)
	}
	return again
}
