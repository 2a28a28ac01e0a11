package qmgr

import (
	"fmt"
	"slices"
	"time"

	"postrider/lib/maillog"
	"postrider/lib/mutant"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// verb does what an operator wants and answers when it is durable (S8).
func (o *operator) verb(v *proto.Verb) proto.Done {
	switch v.Kind {
	case proto.VerbSite:
		if len(v.IDs) != 1 {
			return proto.Done{Code: exUsage, Text: "a flush of one site names one"}
		}
		return o.site(v.IDs[0])
	case proto.VerbFlush:
		if !o.m.mayFlush(o.peer) {
			return proto.Done{Code: exNoPerm, Text: "you are not allowed to flush the mail queue"}
		}
	case proto.VerbHold, proto.VerbRelease, proto.VerbDelete, proto.VerbCat, proto.VerbExpire, proto.VerbExpireAll, proto.VerbRequeue:
		if !mayChange(o.peer) {
			return proto.Done{Code: exNoPerm, Text: "this is reserved for the superuser and the owner of the mail system"}
		}
	default:
		return proto.Done{Code: exUsage, Text: fmt.Sprintf("qmgr knows no verb %d", v.Kind)}
	}
	if v.Kind == proto.VerbCat {
		return o.cat(v.IDs)
	}
	if v.Kind == proto.VerbFlush && len(v.IDs) == 0 {
		return o.durable(func(*proto.Done) { o.m.flush() })
	}
	if !v.All && len(v.IDs) == 0 {
		return proto.Done{}
	}

	queues := v.Queues
	if len(queues) == 0 {
		queues = v.Kind.Queues()
	}
	ids := v.IDs
	if v.All {
		ids = nil
	}
	if asks[v.Kind] != 0 {
		return o.wish(v.Kind, queues, ids)
	}
	done, err := o.apply(v.Kind, queues, ids)
	if err == nil {
		return o.durable(func(d *proto.Done) { *d = done })
	}
	if late := o.durable(func(*proto.Done) {}); late.Code != 0 {
		return late
	}
	return searching(err, done.Count)
}

// searching is the answer when not all of the queue could be searched.
func searching(err error, changed uint64) proto.Done {
	return proto.Done{Code: exTempFail, Text: fmt.Sprintf("searching the queue: %v (%d messages were found and changed)", err, changed)}
}

// verbBatch is how many messages a verb changes at once. In between the owner does
// other things, and no more targets than these are in memory, of however many messages
// (S7).
const verbBatch = 4096

// apply carries a verb out for all that it names, found and changed some at a time.
func (o *operator) apply(kind proto.VerbKind, queues, ids []string) (done proto.Done, err error) {
	ts := make([]spool.Target, 0, verbBatch)
	act := func() {
		ask(o.m, func() bool { o.m.apply(kind, ts, &done); return true })
		clear(ts)
		ts = ts[:0]
	}
	err = o.each(queues, ids, func(items []*listed) error {
		for _, it := range items {
			ts = append(ts, it.target)
		}
		if len(ts) > verbBatch-listBatch {
			act()
		}
		return nil
	})
	if len(ts) > 0 {
		act()
	}
	return done, err
}

// durableTime is how long an operator waits for the disk.
var durableTime = 30 * time.Second

// durable runs f in the owner's goroutine and waits until its effect is on the disk.
// When that takes too long it says what is known: the decision is taken and holds while
// qmgr runs, and nothing says yet that it outlives it.
func (o *operator) durable(f func(*proto.Done)) proto.Done {
	c := make(chan proto.Done, 1)
	late := time.NewTimer(durableTime)
	defer late.Stop()
	o.m.post(func() {
		var done proto.Done
		f(&done)
		o.m.spool.Sync(func(err error) {
			if err != nil {
				done = proto.Done{Code: exTempFail, Text: "the decision could not be written down: " + err.Error()}
			}
			c <- done
		})
	})
	select {
	case done := <-c:
		return done
	case <-late.C:
		return proto.Done{Code: exTempFail, Text: "the disk has not taken the decision yet (see the log): it holds when it can be written, and is not known to hold before; look at the queue again"}
	}
}

// flush makes everything that is deferred due now and forgets which destinations
// are dead (postqueue -f).
func (m *manager) flush() {
	m.spool.Flush()
	m.machine.Flush(m.now())
}

// apply carries out a verb. Transfers under way go on: their results count for
// their recipients, the verb for all others.
func (m *manager) apply(kind proto.VerbKind, ts []spool.Target, done *proto.Done) {
	log := m.operatorLog()
	ts = slices.DeleteFunc(ts, func(t spool.Target) bool {
		busy := kind != proto.VerbRelease && kind != proto.VerbFlush && m.requeuing(t.Ref)
		if busy {
			done.Skipped = append(done.Skipped, string(t.ID)+": "+errRequeuing.Error())
		}
		return busy
	})
	switch kind {
	case proto.VerbHold:
		done.Count += uint64(m.spool.Hold(ts))
	case proto.VerbRelease:
		done.Count += uint64(m.spool.Release(ts))
	case proto.VerbDelete:
		done.Count += uint64(m.spool.Delete(ts))
	case proto.VerbFlush:
		done.Count += uint64(m.spool.Expedite(ts))
	}
	for _, t := range ts {
		if len(done.IDs) < proto.DoneIDs {
			done.IDs = append(done.IDs, string(t.ID))
		}
		switch kind {
		case proto.VerbHold:
			log.Event(maillog.Held{Queue: t.ID})
		case proto.VerbRelease:
			log.Event(maillog.Released{Queue: t.ID})
		case proto.VerbDelete:
			log.Event(maillog.Removed{Queue: t.ID})
		case proto.VerbFlush:
			m.bumped[t.Ref] = true
			if m.spool.IsParked(t.Ref) && !m.spool.IsHeld(t.Ref) {
				if in, err := m.spool.Recall(t.Ref); err != nil {
					m.log.Warnf("%s: %v", t.ID, err)
				} else if in != nil {
					m.fresh.push(in)
					done.Count++
				}
			}
		}
		if kind == proto.VerbHold || kind == proto.VerbDelete {
			done.InHand += uint64(m.withdraw(t, kind == proto.VerbDelete))
		}
	}
}

// withdraw stops what has not started of a message in memory. It returns for how
// many recipients a transfer is under way.
func (m *manager) withdraw(t spool.Target, gone bool) int {
	if mutant.On(mutant.NoWithdraw) {
		return 0
	}
	msg := m.byRef[t.Ref]
	if msg == nil {
		if gone && m.spool.IsOpen(t.Ref) != nil {
			m.deleted[t.Ref] = true // it waits for its turn; next drops it
		}
		return 0
	}
	msg.gone = msg.gone || gone
	n := m.machine.Withdraw(m.now(), msg.id) + msg.count(foreign)
	if msg.idle && gone {
		m.conclude(msg)
	}
	return n
}
