package qmgr

import (
	"errors"
	"io"
	"time"

	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// recountBatch is how many messages are counted at a time.
const recountBatch = 256

// recount counts all that is in the queue anew, for the quotas of the policy that holds
// now. What is open, comes or ends meanwhile is counted by itself; nothing waits for this
// but what cleanup is told.
func (m *manager) recount() {
	q := &m.quotas
	q.recounts++
	*q = quotas{recounts: q.recounts}
	if m.cleanup != nil {
		m.cleanup.knowsFull = false
	}
	if m.book.policy == nil || len(m.book.policy.Quotas) == 0 {
		return
	}
	q.policy, q.counting = m.book.policy, q.recounts
	q.files, q.keys, q.sets = map[uint64]*quotaFile{}, map[policy.Keyed]*quotaKey{}, map[string]*quotaSet{}
	go m.countAll(m.spool.Snapshot(), q.counting)
}

// countAll reads the queue for a recount. As much time as it takes it leaves to others.
func (m *manager) countAll(snap *spool.Snapshot, number int) {
	defer snap.Close()
	type one struct {
		ref slot.Ref
		env *mail.Envelope
	}
	for more := true; more; {
		began := time.Now()
		var batch []one
		for len(batch) < recountBatch {
			it, err := snap.Next()
			if err != nil { // what is damaged the owner will meet
				if more = false; !errors.Is(err, io.EOF) {
					m.log.Warnf("counting the queue for the quotas of sched.cf: %v", err)
				}
				break
			}
			if env, err := m.spool.Envelope(it); err == nil {
				batch = append(batch, one{it.Ref, env})
			}
		}
		going := ask(m, func() bool {
			if m.quotas.counting != number || m.stopping {
				return false
			}
			for _, x := range batch {
				if !m.spool.Finished(x.ref) {
					m.charge(x.ref, x.env)
				}
			}
			if !more {
				m.quotas.counting = 0
			}
			return true
		})
		if !going {
			return
		}
		time.Sleep(time.Since(began))
	}
}
