package qmgr

import (
	"time"

	"postrider/lib/sched"
)

// noteEvery is how often at most the scheduler's state is written. Nothing is written
// while nothing changes, and a kill loses no more than this.
const noteEvery = time.Minute

// noted is how far the scheduler's state is on disk.
type noted struct {
	changes uint64    // of the state that was written, or is being
	next    time.Time // when it is written next; zero while nothing has changed
	writing bool      // by a goroutine, which has the files meanwhile
	done    chan struct{}
	failed  bool // the last one, of which the log has heard
}

// recall gives the scheduler what an earlier qmgr had learned: windows, dead
// destinations, rates. What cannot be read is done without.
func (m *manager) recall() {
	if m.state == nil {
		return
	}
	if data := m.state.read(m.log.Warnf); data != nil {
		s, err := sched.DecodeSnapshot(data)
		if err != nil {
			m.log.Warnf("%v: starting with what the configuration says", err)
		} else {
			m.machine.Restore(m.now(), s)
		}
	}
	m.noted.changes = m.machine.Changes()
}

// note has the state written when it has changed, not before noteEvery has passed.
// The timer for that is set by the change: an idle qmgr has none.
func (m *manager) note() {
	n := &m.noted
	switch changes := m.machine.Changes(); {
	case m.state == nil || n.writing:
	case n.next.IsZero():
		if changes != n.changes {
			n.next = time.Now().Add(m.state.every)
		}
	case !time.Now().Before(n.next):
		n.next, n.changes, n.writing, n.done = time.Time{}, changes, true, make(chan struct{})
		s, done := m.machine.Snapshot(m.now()), n.done
		go func() { // the owner never waits for a disk
			err := m.state.write(s.Encode())
			close(done)
			m.post(func() { m.written(err) })
		}()
	}
}

// written takes the end of a writing. One that failed is tried again.
func (m *manager) written(err error) {
	n := &m.noted
	n.writing = false
	if err == nil {
		n.failed = false
		return
	}
	n.next = time.Now().Add(m.state.every)
	if !n.failed {
		n.failed = true
		m.log.Warnf("what was learned of the destinations could not be written down: %v", err)
	}
}

// remember writes the state at the end, when the owner's loop is over.
func (m *manager) remember() {
	if m.state == nil {
		return
	}
	if m.noted.writing {
		<-m.noted.done
	}
	if m.noted.failed || m.noted.writing || !m.noted.next.IsZero() || m.noted.changes != m.machine.Changes() {
		if err := m.state.write(m.machine.Snapshot(m.now()).Encode()); err != nil {
			m.log.Warnf("what was learned of the destinations could not be written down: %v", err)
		}
	}
	m.state.close()
}
