package powercut

import (
	"io"

	"postrider/lib/mail"
	"postrider/lib/spool"
)

// items lists the queue as an operator sees it.
func (w *world) items() map[mail.QueueID]*spool.Item {
	s := w.q.Snapshot()
	defer s.Close()
	all := map[mail.QueueID]*spool.Item{}
	for {
		it, err := s.Next()
		if err == io.EOF || err != nil && (w.stopped() || w.faults) {
			return all
		}
		if err != nil {
			w.fail("listing: %v", err)
		}
		if all[it.ID] != nil {
			w.fail("%s is listed twice", it.ID)
		}
		all[it.ID] = it
	}
}

// verb is one of an operator's commands for some of what is in the queue. What
// it says is final when the command ends.
func (w *world) verb() {
	items := w.items()
	kind := w.rnd.IntN(4)
	var ts []spool.Target
	var ls []*letter
	for _, l := range w.order { // in an order that the seed decides
		if it := items[l.id]; it != nil && !l.deleted.is && w.rnd.IntN(6) == 0 {
			ts, ls = append(ts, it.Target), append(ls, l)
		}
	}
	if len(ts) == 0 {
		return
	}
	switch kind {
	case 0:
		w.q.Delete(ts)
	case 1:
		w.q.Hold(ts)
	case 2:
		w.q.Release(ts)
	case 3:
		w.q.Expedite(ts)
		return
	}
	act := w.act()
	for _, l := range ls {
		w.note("%s %s", []string{"delete", "hold", "release"}[kind], l.id)
		switch {
		case kind == 0:
			l.deleted = fact{true, act}
		case l.held.is != (kind == 1):
			l.held = fact{kind == 1, act}
		}
	}
	for _, x := range append([]*work(nil), w.open...) {
		if x.l.deleted.is || x.l.held.is {
			w.conclude(x)
		}
	}
	if !w.stopped() && w.rnd.IntN(3) > 0 { // else it dies before the command ends
		w.sync()
		w.note("and said so")
	}
}

func targets(its ...*spool.Item) []spool.Target {
	var ts []spool.Target
	for _, it := range its {
		ts = append(ts, it.Target)
	}
	return ts
}
