package qmgr

import (
	"errors"
	"io"
	"slices"

	"postrider/lib/proto"
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
			if err := o.send(proto.TypeItem, &it.Item); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return proto.Done{Code: exTempFail, Text: "listing the queue: " + err.Error()}
	}
	return proto.Done{Count: n}
}

// listed is a message as an operator sees it, with what verbs need.
type listed struct {
	proto.Item
	target spool.Target
	found  *spool.Item
}

// each calls f with the messages in the named queues (all when there is none) and
// with the given ids (all when there is none), some at a time.
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
		if err = errors.Join(slow, err); err != nil {
			return err
		}
		if len(queues) > 0 {
			batch = slices.DeleteFunc(batch, func(it *listed) bool { return !slices.Contains(queues, it.Queue) })
		}
		if err := f(batch); err != nil {
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
			return nil, false, err
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
		l.Recipients = append(l.Recipients, proto.ItemRecipient{Address: r.Address, Original: r.Original, Reason: r.Status.Text})
	}
	return l
}

// describe fills in what only the owner knows: of messages in memory, where they
// are and what became of their recipients in this pass.
func (m *manager) describe(batch []*listed) {
	var waiting map[slot.Ref]string // made when a message needs it: most batches have none
	for _, it := range batch {
		if !it.Due.IsZero() {
			it.Due = m.spool.Wall(it.Due)
		}
		msg := m.byRef[it.target.Ref]
		if msg == nil {
			if it.Queue != inActive {
				continue
			}
			if waiting == nil {
				waiting = m.waiting()
			}
			if q := waiting[it.target.Ref]; q != "" {
				it.Queue = q
			}
			continue
		}
		it.Recipients = it.Recipients[:0]
		for i := range msg.rcpts {
			if r := &msg.rcpts[i]; r.state != finished && len(it.Recipients) < 1000 {
				to := &msg.Envelope.Recipients[i]
				it.Recipients = append(it.Recipients, proto.ItemRecipient{Address: to.Address, Original: to.Original, Reason: r.status.Text})
			}
		}
	}
}

// waiting says of the messages that are open and not admitted which queue they are in
// to an operator.
func (m *manager) waiting() map[slot.Ref]string {
	in := make(map[slot.Ref]string, m.parked.len()+len(m.due))
	for _, msg := range m.parked.list[m.parked.head:] {
		in[msg.Ref] = inIncoming
	}
	for _, msg := range m.due {
		in[msg.Ref] = inDeferred
	}
	return in
}
