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
	for _, id := range slices.Sorted(maps.Keys(m.active)) {
		msg := m.active[id]
		again := m.machine.Reroute(m.now(), id, func(transport, nextHop string, numbers []uint32) bool {
			return m.goesTo(msg, transport, nextHop, numbers)
		})
		if again != nil {
			m.reschedule(msg, again)
		}
	}
}

// goesTo says whether recipients still go the way that was chosen for them.
func (m *manager) goesTo(msg *message, transport, nextHop string, numbers []uint32) bool {
	if transport == bounceService || transport == requeueService { // but one way
		return true
	}
	for _, n := range numbers {
		to, status := m.resolve(msg, n)
		if status != nil || to.Transport != transport || !strings.EqualFold(to.NextHop, nextHop) {
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
		if status == factsMissing {
			msg.rcpts[n].state, msg.rcpts[n].due = deferred, m.now()
			continue
		}
		if status != nil {
			m.settle(msg, n, *status, true)
			continue
		}
		msg.noteHop(to)
		all = append(all, to)
	}
	m.machine.Admit(m.now(), sched.Message{ID: msg.id, Beside: true, Recipients: all})
}
