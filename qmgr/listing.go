package qmgr

import (
	"errors"
	"io"
	"slices"
	"time"

	"postrider/lib/proto"
	"postrider/lib/sched"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// The names of the queues, as operators know them.
const (
	inIncoming = "incoming"
	inActive   = spool.InActive
	inDeferred = spool.InDeferred
	inHold     = spool.InHold
)

// listBatch is how many messages the owner is asked about at a time.
const listBatch = 64

// itemRecipients is how many recipients go in one frame of a listing.
const itemRecipients = 500

// list answers a listing from a snapshot. Only about messages in memory is the owner
// asked, a few at a time.
func (o *operator) list(l *proto.List) proto.Done {
	if !o.m.mayList(o.peer) {
		return proto.Done{Code: exNoPerm, Text: "you are not allowed to view the mail queue"}
	}
	var n uint64
	err := o.each(l.Queues, l.IDs, func(items []*listed) error {
		for _, it := range items {
			if it.found.Over() {
				continue
			}
			n++
			if err := o.whole(it); err != nil {
				return err
			}
			out := it.Item
			for first := true; first || len(it.Recipients) > 0; first = false {
				out.Recipients = it.Recipients[:min(len(it.Recipients), itemRecipients)]
				it.Recipients = it.Recipients[len(out.Recipients):]
				if err := o.send(proto.TypeItem, &out); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return proto.Done{Code: exTempFail, Text: "listing the queue: " + err.Error()}
	}
	return proto.Done{Count: n}
}

// whole adds the recipients that a state record does not tell of.
func (o *operator) whole(it *listed) error {
	if it.found.More <= 0 {
		return nil
	}
	return o.user.work(o.began, func() {
		if o.m.spool.Whole(it.found) == nil {
			*it = *item(it.found)
			ask(o.m, func() bool { o.m.describe([]*listed{it}); return true })
		}
	})
}

// listed is a message as an operator sees it, with what verbs need.
type listed struct {
	proto.Item
	target spool.Target
	found  *spool.Item
}

// each calls f with the messages in the named queues (all when there is none) and
// with the given ids (all when there is none), some at a time. After all that could be
// read it returns *spool.Unreadable when that was not all.
func (o *operator) each(queues, ids []string, f func([]*listed) error) error {
	var snap *spool.Snapshot
	if err := o.user.work(o.began, func() { snap = ask(o.m, func() *spool.Snapshot { return o.m.snapshot(ids) }) }); err != nil {
		return err
	}
	defer snap.Close()
	for more := true; more; {
		var batch []*listed
		var err error
		slow := o.user.work(o.began, func() {
			batch, more, err = batchOf(snap)
			ask(o.m, func() bool { o.m.describe(batch); return true })
		})
		if slow != nil {
			return slow
		}
		if len(queues) > 0 {
			batch = slices.DeleteFunc(batch, func(it *listed) bool { return !slices.Contains(queues, it.Queue) })
		}
		if err := errors.Join(f(batch), err); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is of the messages with the ids, or of all when there is none.
func (m *manager) snapshot(ids []string) *spool.Snapshot {
	if len(ids) > 0 {
		return m.spool.Find(ids)
	}
	return m.spool.Snapshot()
}

// batchOf reads up to listBatch messages; more is false at the end.
func batchOf(snap *spool.Snapshot) (batch []*listed, more bool, err error) {
	for range listBatch {
		it, err := snap.Next()
		if errors.Is(err, io.EOF) {
			return batch, false, nil
		}
		if err != nil {
			return batch, false, err
		}
		batch = append(batch, item(it))
	}
	return batch, true, nil
}

func item(it *spool.Item) *listed {
	l := &listed{target: it.Target, found: it, Item: proto.Item{Queue: it.Queue, ID: it.ID, Arrival: it.Arrival,
		Size: it.Size, Expired: it.Expired, Sender: it.Sender, Due: it.Due}}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		l.Recipients = append(l.Recipients, proto.ItemRecipient{Address: r.Address, Original: r.Original, Reason: r.Status.Text,
			Attempts: uint64(r.Attempts), Next: r.Due})
	}
	return l
}

// describe fills in what only the owner knows: of messages in memory, where they
// are and what became of their recipients in this pass.
func (m *manager) describe(batch []*listed) {
	m.place(batch)
	for _, it := range batch {
		if !it.Due.IsZero() {
			it.Due = m.spool.Wall(it.Due)
		}
		msg := m.byRef[it.target.Ref]
		if msg == nil {
			m.schedules(it)
			continue
		}
		it.Recipients = it.Recipients[:0]
		waits, alone := m.waits(msg), m.aloneWaits(msg)
		for i := range msg.rcpts {
			if r := &msg.rcpts[i]; r.state != finished {
				to := &msg.Envelope.Recipients[i]
				out := proto.ItemRecipient{Address: to.Address, Original: to.Original, Reason: r.status.Text, Attempts: uint64(r.attempts)}
				if r.tried {
					out.Attempts++
				}
				switch w, ok := waits[uint32(i)]; {
				case ok:
					out.Waits = w
				case r.state == resting:
					out.Waits, out.Next = proto.WaitTime, m.spool.Wall(time.Unix(0, int64(r.due)))
				case r.state == replaced:
					out.Waits = proto.WaitJournal
				case r.state == failed:
					out.Waits = proto.WaitReport
				case r.state == foreign && alone[uint32(i)].For != "":
					out.Waits = alone[uint32(i)].For
				case r.state == foreign:
					out.Waits = proto.WaitResult
				}
				it.Recipients = append(it.Recipients, out)
			}
		}
	}
}

// place says in which queue messages in memory are to an operator.
func (m *manager) place(batch []*listed) {
	var waiting map[slot.Ref]string // made when a message needs it: most batches have none
	for _, it := range batch {
		if it.Queue != inActive || m.byRef[it.target.Ref] != nil {
			continue
		}
		if waiting == nil {
			waiting = m.waiting()
		}
		if q := waiting[it.target.Ref]; q != "" {
			it.Queue = q
		}
	}
}

// schedules tells when the recipients of a message that is not active are tried next.
func (m *manager) schedules(it *listed) {
	for i := range it.Recipients {
		r := &it.Recipients[i]
		switch {
		case it.Queue == inHold:
			r.Next, r.Waits = time.Time{}, proto.WaitHold
		case r.Next.IsZero(), !r.Next.After(m.spool.Now()):
			r.Next, r.Waits = time.Time{}, proto.WaitActive
		default:
			r.Next, r.Waits = m.spool.Wall(r.Next), proto.WaitTime
		}
	}
}

// waits says for what the recipients of an active message wait that the scheduler has.
func (m *manager) waits(msg *message) map[uint32]proto.WaitKind {
	kinds := make(map[uint32]proto.WaitKind)
	m.machine.Causes(msg.id, func(recipients []uint32, c sched.Cause) {
		for _, n := range recipients {
			kinds[n] = waitKinds[c]
		}
	})
	return kinds
}

// waitKinds are the names of the scheduler's causes.
var waitKinds = map[sched.Cause]proto.WaitKind{
	sched.InHand: proto.WaitResult, sched.ForTurn: proto.WaitTurn, sched.ForShare: proto.WaitShare, sched.ForSlots: proto.WaitSlots,
	sched.ForPace: proto.WaitPace, sched.ForWindow: proto.WaitWindow, sched.ForRate: proto.WaitRate, sched.ForAgent: proto.WaitAgent, sched.ForName: proto.WaitResolve,
	sched.ForLimit: proto.WaitLimit, sched.ForQueue: proto.WaitQueue, sched.ForOthers: proto.WaitKept,
}

// waiting says of the messages that are open and not admitted which queue they are in
// to an operator.
func (m *manager) waiting() map[slot.Ref]string {
	in := make(map[slot.Ref]string, m.fresh.len()+len(m.due))
	for _, msg := range m.fresh.list[m.fresh.head:] {
		in[msg.Ref] = inIncoming
	}
	for _, msg := range m.due {
		in[msg.Ref] = inDeferred
	}
	return in
}
