package qmgr

import (
	"maps"
	"slices"
	"strings"

	"postrider/lib/sched"
)

// reroute follows a change of what decides where mail goes: every recipient in the active
// queue that is not in hand is resolved anew. Who goes another way than he waits for
// leaves his place; all others keep theirs. What is parked or deferred is resolved when
// its turn comes anyway.
func (m *manager) reroute() {
	if m.stalled != nil { // chosen, and not in hand
		m.machine.Return(m.now(), m.stalled.Entry)
		m.stalled = nil
	}
	clear(m.led)
	for _, id := range slices.Sorted(maps.Keys(m.active)) {
		msg := m.active[id]
		msg.passed = nil // by what held until now
		again := m.machine.Reroute(m.now(), id, func(to sched.Recipient, numbers []uint32) bool {
			return m.goesTo(msg, to, numbers, false)
		})
		if again != nil {
			m.reschedule(msg, again)
		}
	}
}

// goesTo says whether recipients still go the way that was chosen for them, and, unless any
// will do, from the same source and on the same terms.
func (m *manager) goesTo(msg *message, is sched.Recipient, numbers []uint32, anyTerms bool) bool {
	if is.Transport == bounceService || is.Transport == requeueService { // but one way
		return true
	}
	msg.left, msg.from = sched.Recipient{}, sched.Parking{Source: is.Source}
	defer func() { msg.from = sched.Parking{} }()
	for _, n := range numbers {
		to, status := m.resolve(msg, n)
		if status != nil || to.Transport != is.Transport || !strings.EqualFold(to.NextHop, is.NextHop) ||
			!anyTerms && (to.Source != is.Source || !to.Terms.Equal(is.Terms)) {
			return false
		}
	}
	return true
}

// reschedule gives recipients that were taken back to the scheduler again.
func (m *manager) reschedule(msg *message, numbers []uint32) {
	all := make([]sched.Recipient, 0, len(numbers))
	for _, n := range numbers {
		if msg.rcpts[n].state != trying {
			continue
		}
		to, status := m.resolve(msg, n)
		if m.unready(msg, n, status) {
			continue
		}
		if status == nil && m.book.policy != nil && m.notYet(msg, &to) {
			continue
		}
		if status != nil {
			m.settle(msg, n, *status, true)
			continue
		}
		msg.noteHop(to)
		all = append(all, to)
	}
	m.machine.Admit(m.now(), sched.Message{ID: msg.id, Beside: true, Recipients: all, Single: msg.Envelope.VERP != ""})
}
