package qmgr

import (
	"fmt"
	"strings"
	"time"

	"postrider/lib/policy"
	"postrider/lib/sched"
	"postrider/lib/spool"
)

// What postqueue -w says of a policy.

// boundName names a limit and its key as sched.cf does: limit "tenant" of tenant=acme.
func (m *manager) boundName(k sched.LimitKey) string {
	name := k.Limit
	if k.Key == "" {
		return name
	}
	key := strings.ReplaceAll(strings.TrimSuffix(k.Key, "\x00"), "\x00", ", ")
	if p := m.book.policy; p != nil {
		for i := range p.Limits {
			if limitName(&p.Limits[i]) == k.Limit && !p.Limits[i].PerSource {
				key = p.KeyText(policy.LimitKey{Limit: i, Key: k.Key})
			}
		}
	}
	return name + " of " + key
}

// ratesText writes rates: "10/1h0m0s, at most 2 at once".
func ratesText(rates []sched.Rate) string {
	var all []string
	for _, r := range rates {
		s := fmt.Sprintf("%d/%s", r.Count, per(r.Per))
		if r.Burst > 1 {
			s += fmt.Sprintf(", %d at once", r.Burst)
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

// per writes the time of a rate as sched.cf does.
func per(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d == unit.of {
			return unit.name
		}
	}
	return d.String()
}

// queueText names a virtual queue and a level that is not normal; "" without a policy.
func (s *standing) queueText(queue string, level sched.Level) string {
	if !s.governed {
		return ""
	}
	if queue == "" {
		queue = sched.DefaultQueue
	}
	if level != sched.Normal {
		queue += ", " + level.String()
	}
	return queue
}

// className is the virtual queue of a recipient in a listing, as it is noted. Mail that
// was never deferred, and is parked, has none yet.
func (m *manager) className(it *spool.Item, i int) string {
	r := &it.Recipients[i]
	switch {
	case r.Queue != "":
		return r.Queue
	case !it.Open && r.Due.IsZero():
		return "(not decided yet)"
	}
	return sched.DefaultQueue
}

// classes notes the virtual queues of messages in memory.
func (m *manager) classes(open []*listed) {
	names := m.queueNames()
	for _, it := range open {
		msg := m.byRef[it.target.Ref]
		if msg == nil || names == nil {
			continue
		}
		for i := range it.found.Recipients {
			r := &it.found.Recipients[i]
			if n := int(r.Number); n < len(msg.rcpts) && int(msg.rcpts[n].course.queue) < len(names) {
				r.Queue = names[msg.rcpts[n].course.queue]
			}
		}
	}
}
