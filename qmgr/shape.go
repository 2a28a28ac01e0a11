package qmgr

import (
	"errors"
	"io"
	"slices"
	"time"

	"postrider/lib/mailq"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

const (
	shapeRows  = 1000 // in one frame
	shapeReads = 1024 // messages that are counted at a time
)

// shape counts the queue by domain and age (postqueue -q). It reads a snapshot from one
// end to the other and keeps nothing but the counts; only of messages in memory is the
// owner asked in which queue they are.
func (o *operator) shape(s *proto.Shape) proto.Done {
	if !o.m.mayList(o.peer) {
		return proto.Done{Code: exNoPerm, Text: "you are not allowed to view the mail queue"}
	}
	if s.Quotas {
		return o.rows(ask(o.m, func() proto.ShapeRows { return o.m.quotaRows(int(s.Top)) }))
	}
	var snap *spool.Snapshot
	if err := o.user.work(o.began, func() { snap = ask(o.m, o.m.spool.Snapshot) }); err != nil {
		return proto.Done{Code: exTempFail, Text: "reading the queue: " + err.Error()}
	}
	defer snap.Close()
	c := mailq.NewCensus(*s, time.Now())
	var failed error
	for more := true; more && failed == nil; {
		slow := o.user.work(o.began, func() { more, failed = o.census(snap, s, c) })
		failed = errors.Join(slow, failed)
	}
	if failed != nil {
		return proto.Done{Code: exTempFail, Text: "reading the queue: " + failed.Error()}
	}
	return o.rows(c.Rows())
}

// rows sends the answer.
func (o *operator) rows(all proto.ShapeRows) proto.Done {
	var done proto.Done
	for rows := range slices.Chunk(all, shapeRows) {
		if err := o.send(proto.TypeRows, rows); err != nil {
			return proto.Done{Code: exTempFail}
		}
		done.Count += uint64(len(rows))
	}
	return done
}

// census counts the next messages of a snapshot; more is false at the end.
func (o *operator) census(snap *spool.Snapshot, s *proto.Shape, c *mailq.Census) (more bool, err error) {
	var open []*listed
	more = true
	wanted := func(queue string) bool { return len(s.Queues) == 0 || slices.Contains(s.Queues, queue) }
	for range shapeReads {
		it, err := snap.Next()
		if errors.Is(err, io.EOF) {
			more = false
			break
		}
		switch {
		case err != nil:
			return false, err
		case it.Open:
			open = append(open, &listed{target: it.Target, found: it, Item: proto.Item{Queue: it.Queue}})
		case wanted(it.Queue):
			if err := o.m.count(it, c); err != nil {
				return false, err
			}
		}
	}
	if len(open) == 0 {
		return more, nil
	}
	ask(o.m, func() bool { o.m.place(open); o.m.classes(open); return true })
	for _, it := range open {
		if wanted(it.Queue) {
			if err := o.m.count(it.found, c); err != nil {
				return false, err
			}
		}
	}
	return more, nil
}

// count counts one message.
func (m *manager) count(it *spool.Item, c *mailq.Census) error {
	if it.Over() {
		return nil
	}
	if c.Sender() {
		c.Add(it.Sender, it.Arrival, 1)
		return nil
	}
	if err := m.spool.Whole(it); err != nil && !damaged(err) {
		return err
	}
	for i := range it.Recipients {
		if c.Class() {
			c.AddTo(m.className(it, i), it.Arrival, 1)
			continue
		}
		c.Add(it.Recipients[i].Address, it.Arrival, 1)
	}
	return nil
}
