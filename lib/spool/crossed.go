package spool

import (
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// crossed looks for a message that is not open and of which another has taken over
// recipients. When nobody is left of it, it is finished: nobody else would see that
// before it is due, or released.
func (q *Queue) crossed(ref slot.Ref, id mail.QueueID) {
	if q.IsHeld(ref) {
		q.hold.again = true // the sweep finishes it
		return
	}
	s := q.Find([]string{string(id)})
	q.bg.do(func() {
		defer s.Close()
		for {
			it, err := s.Next()
			if err != nil { // met when it is due
				return
			}
			if it.Ref == ref {
				q.post(func() {
					if it.Over() && !q.dead {
						q.finishOver(it.Target)
					}
				})
				return
			}
		}
	})
}

// finishOver finishes a message that has no recipients left, wherever it waits.
func (q *Queue) finishOver(t Target) {
	m, err := q.Reach(t) // which finishes one with a state record
	if err != nil || m == nil {
		return
	}
	if s := q.Fresh(m); len(s.Groups) > 0 {
		q.Put(m, s)
		return
	}
	q.Finish(m)
}
