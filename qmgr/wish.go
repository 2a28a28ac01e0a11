package qmgr

import (
	"errors"

	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// wishTries is how often a message is looked for again that moves while it is
// searched.
const wishTries = 5

// asks are the verbs that change what becomes of a message at its next turn.
var asks = map[proto.VerbKind]spool.Ask{
	proto.VerbExpire: spool.Expire, proto.VerbExpireAll: spool.Expire, proto.VerbRequeue: spool.Requeue,
}

// wish writes down what an operator wants of messages. Found some at a time, they are
// changed at once; what moved in between is looked for again.
func (o *operator) wish(kind proto.VerbKind, queues, ids []string) proto.Done {
	var done proto.Done
	for try := 1; ; try++ {
		var moved []string
		err := o.each(queues, ids, func(items []*listed) error {
			return ask(o.m, func() error {
				for _, it := range items {
					switch err := o.m.wish(kind, it.target, &done); {
					case errors.Is(err, spool.ErrMoved) && try < wishTries:
						moved = append(moved, string(it.ID))
					case err != nil:
						done.Skipped = append(done.Skipped, string(it.ID)+": "+err.Error())
					}
				}
				return nil
			})
		})
		if err != nil {
			if late := o.durable(func(*proto.Done) {}); late.Code != 0 {
				return late
			}
			return searching(err, done.Count)
		}
		if len(moved) == 0 {
			break
		}
		queues, ids = nil, moved
	}
	return o.durable(func(d *proto.Done) { *d = done })
}

// wish changes one message: where it waits, or, when it is active, before its next
// attempt. Transfers under way go on, and their results count.
func (m *manager) wish(kind proto.VerbKind, t spool.Target, done *proto.Done) error {
	if m.requeuing(t.Ref) {
		return errRequeuing
	}
	want := asks[kind]
	if kind != proto.VerbExpire {
		m.spool.Release([]spool.Target{t})
	}
	switch msg, in := m.byRef[t.Ref], m.spool.IsOpen(t.Ref); {
	case msg != nil && msg.gone, m.deleted[t.Ref]:
		return nil
	case msg != nil:
		s := m.standingOf(msg)
		if len(s.Groups) == 0 {
			return nil
		}
		m.spool.Save(msg.Message, s.Wish(want, m.spool))
		msg.requeued = false
		done.InHand += uint64(m.withdraw(t, false))
	case in != nil:
		m.spool.Save(in, m.spool.Fresh(in).Wish(want, m.spool))
	default:
		in, err := m.spool.Reach(t)
		if err != nil {
			return err
		}
		if in == nil {
			return nil // finished meanwhile
		}
		m.spool.Put(in, in.State.Wish(want, m.spool))
	}
	done.Count++
	if len(done.IDs) < proto.DoneIDs {
		done.IDs = append(done.IDs, string(t.ID))
	}
	text := "expired"
	if want == spool.Requeue {
		text = "requeued"
	}
	m.operatorLog().Event(maillog.Info{Queue: t.ID, Text: text})
	return nil
}

// errRequeuing: a new message is about to take the place of this one.
var errRequeuing = errors.New("is being requeued: look for its new id")

// operatorLog is the log under the name of the operators' command.
func (m *manager) operatorLog() *maillog.Logger {
	return m.log.Named(m.d.Config().String("syslog_name") + "/postsuper")
}
