package operator

import (
	"errors"
	"slices"
	"time"

	"postrider/lib/mailq"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// Why tells what the spool knows. What the queue manager has learned of destinations is
// not there.
func (d *direct) Why(ids []string, f func(*proto.Reason) error) error {
	down := []proto.Wait{{For: proto.WaitDown}}
	for i := range d.drops {
		it := &d.drops[i]
		if !slices.Contains(ids, string(it.ID)) {
			continue
		}
		var fates mailq.Fates
		for k := range it.Recipients {
			fates.Add(it.Recipients[k].Address, &proto.Fate{State: "submitted"})
		}
		r := &proto.Reason{Item: *it, Waits: down, Fates: fates.List, More: fates.More}
		r.Recipients = nil
		if err := f(r); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return d.each(nil, ids, func(found *spool.Item, it *proto.Item) error {
		if found.Over() {
			return nil
		}
		r := &proto.Reason{Item: *it, Waits: down}
		r.Recipients = nil
		if it.Queue == spool.InHold {
			r.Waits = append([]proto.Wait{{For: proto.WaitHold}}, down...)
		}
		var fates mailq.Fates
		if d.q.Whole(found) != nil {
			fates.More = uint64(found.More)
		}
		for i := range found.Recipients {
			rc := &found.Recipients[i]
			due := rc.Due
			if !due.IsZero() {
				due = d.q.Wall(due)
			}
			fate := mailq.NewFate(rc.Attempts, time.Time{}, &rc.Status)
			if due.After(time.Now()) {
				fate.Next = due
			}
			fates.Add(rc.Address, &fate)
		}
		fates.Sort()
		r.Fates, r.More = fates.List, fates.More
		return f(r)
	})
}

// Shape counts what is in the spool.
func (d *direct) Shape(s *proto.Shape) (proto.ShapeRows, error) {
	if s.Quotas {
		return nil, errors.New("the mail system is down, and quotas are counted while it runs")
	}
	c := mailq.NewCensus(*s, time.Now())
	for i := range d.drops {
		it := &d.drops[i]
		if len(s.Queues) > 0 && !slices.Contains(s.Queues, it.Queue) {
			continue
		}
		if c.Sender() {
			c.Add(it.Sender, it.Arrival, 1)
			continue
		}
		for k := range it.Recipients {
			c.Add(it.Recipients[k].Address, it.Arrival, 1)
		}
	}
	err := d.each(s.Queues, nil, func(found *spool.Item, it *proto.Item) error {
		if c.Sender() {
			if !found.Over() {
				c.Add(it.Sender, it.Arrival, 1)
			}
			return nil
		}
		d.q.Whole(found) // of a damaged one only what its state record tells is counted
		for i := range found.Recipients {
			c.Add(found.Recipients[i].Address, it.Arrival, 1)
		}
		return nil
	})
	return c.Rows(), err
}
