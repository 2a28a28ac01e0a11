package qmgr

import (
	"context"
	"encoding/binary"
	"strings"

	"postrider/lib/mail"
	"postrider/lib/policy"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// Quotas of sched.cf: how many messages of a key are in the queue, whatever became of them
// so far and whoever sent them. A message counts from when the journal gives it until it is
// over, once for each key that its recipients have, by the addresses that its client named.
// Which keys are used up cleanup hears, and from it smtpd (smtpd/quota.go).
//
// A message costs a word of memory, and only while there are quotas: messages with the same
// keys share their list. After a start, and when the policy changes, the queue is read
// beside all other work (recount.go) and nothing is told until that is done.
type quotas struct {
	policy *policy.Policy // nil: there are no quotas
	files  map[uint64]*quotaFile
	keys   map[policy.Keyed]*quotaKey
	sets   map[string]*quotaSet
	last   uint64 // number of the newest key

	counting int // the recount that is under way, 0: none
	recounts int
	changes  proto.FullChanges // what cleanup has not heard
	facts    policy.Facts      // filled anew for each recipient
	found    []policy.Keyed
	set      []*quotaKey // of the message that is being counted
	name     []byte
	pass     uint64 // of counted messages
}

// quotaFile are the messages of one content file.
type quotaFile struct {
	slots []*quotaSet // by slot; nil: it has no keys
	n     int         // that are not nil
}

// quotaKey is one key of a quota.
type quotaKey struct {
	keyed    policy.Keyed
	number   uint64
	messages int64
	pass     uint64 // of the message that it was noted for last
}

// quotaSet is what messages with the same keys share.
type quotaSet struct {
	keys     []*quotaKey
	messages int
	name     string // in quotas.sets
}

// full is a key as cleanup and smtpd know it.
func (q *quotas) full(k *quotaKey) proto.FullKey {
	return proto.FullKey{Quota: q.policy.Quotas[k.keyed.Quota].Name, Key: k.keyed.Key}
}

// charge counts a message, unless that was done.
func (m *manager) charge(ref slot.Ref, env *mail.Envelope) {
	q := &m.quotas
	if q.policy == nil {
		return
	}
	f := q.files[ref.File]
	if f != nil && int(ref.Slot) < len(f.slots) && f.slots[ref.Slot] != nil {
		return
	}
	set := m.keysOf(env)
	if set == nil {
		return
	}
	if f == nil {
		f = &quotaFile{}
		q.files[ref.File] = f
	}
	for len(f.slots) <= int(ref.Slot) {
		f.slots = append(f.slots, nil)
	}
	f.slots[ref.Slot] = set
	f.n++
	set.messages++
	for _, k := range set.keys {
		if k.messages++; k.messages == q.policy.Quotas[k.keyed.Quota].Messages {
			q.changes.Set(q.full(k), true)
		}
	}
}

// over takes a message out of the count (spool.Options.OnOver).
func (q *quotas) over(ref slot.Ref) {
	f := q.files[ref.File]
	if f == nil || int(ref.Slot) >= len(f.slots) || f.slots[ref.Slot] == nil {
		return
	}
	set := f.slots[ref.Slot]
	f.slots[ref.Slot] = nil
	if f.n--; f.n == 0 {
		delete(q.files, ref.File)
	}
	if set.messages--; set.messages == 0 {
		delete(q.sets, set.name)
	}
	for _, k := range set.keys {
		if k.messages == q.policy.Quotas[k.keyed.Quota].Messages {
			q.changes.Set(q.full(k), false)
		}
		if k.messages--; k.messages == 0 {
			delete(q.keys, k.keyed)
		}
	}
}

// keysOf returns the keys of a message; nil when it has none.
func (m *manager) keysOf(env *mail.Envelope) *quotaSet {
	q := &m.quotas
	q.pass++
	q.set, q.name = q.set[:0], q.name[:0]
	about := aboutMessage(env)
	for i := range env.Recipients {
		if !m.quotasOf(&about, env, i) {
			continue
		}
		for _, x := range q.found {
			k := q.keys[x]
			if k == nil {
				q.last++
				k = &quotaKey{keyed: policy.Keyed{Quota: x.Quota, Key: strings.Clone(x.Key)}, number: q.last}
				q.keys[k.keyed] = k
			}
			if k.pass != q.pass {
				k.pass = q.pass
				q.set = append(q.set, k)
				q.name = binary.AppendUvarint(q.name, k.number)
			}
		}
	}
	if len(q.set) == 0 {
		return nil
	}
	set := q.sets[string(q.name)]
	if set == nil {
		set = &quotaSet{keys: append([]*quotaKey(nil), q.set...), name: string(q.name)}
		q.sets[set.name] = set
	}
	return set
}

// quotasOf finds the quotas of a recipient, into quotas.found, by what smtpd knew of it.
// False: it cannot be said now, so that they do not count it.
func (m *manager) quotasOf(about *policy.Facts, env *mail.Envelope, i int) bool {
	q := &m.quotas
	f, answers := &q.facts, q.facts.Answers[:0]
	*f = *about
	f.Answers = answers
	r := &env.Recipients[i]
	rcpt := r.Address
	if r.Original != "" && m.route != nil {
		rcpt = m.route.Rewrite(r.Original)
	}
	f.Rcpt = strings.ToLower(string(rcpt))
	f.RcptDomain = mail.Address(f.Rcpt).Domain()
	if q.policy.QuotasRoute() && m.route != nil {
		rt, err := m.route.Resolve(context.Background(), env.Sender, rcpt)
		if err != nil {
			return false
		}
		f.Transport, f.NextHop, f.Class = rt.Transport, strings.ToLower(rt.NextHop), rt.Class.String()
	}
	for range needsMax {
		var need *policy.Need
		if q.found, need = q.policy.QuotasOf(f, q.found[:0]); need == nil {
			return true
		}
		if m.provide(f, need) != nil {
			return false
		}
	}
	return false
}

// tellFull tells cleanup what keys are used up now and which no longer.
func (m *manager) tellFull() {
	j, q := m.cleanup, &m.quotas
	if j == nil || q.counting != 0 {
		return
	}
	if !j.knowsFull {
		j.knowsFull = true
		q.changes.Forget()
		for _, k := range q.keys {
			if k.messages >= q.policy.Quotas[k.keyed.Quota].Messages {
				q.changes.Set(q.full(k), true)
			}
		}
	}
	if j.tellingFull {
		return
	}
	if f := q.changes.Next(); f != nil {
		j.tellingFull = true
		go func() {
			j.conn.Send(proto.TypeFull, f) // a failure is heard by read
			m.post(func() { j.tellingFull = false })
		}()
	}
}
