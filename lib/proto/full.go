package proto

import "postrider/lib/ipc"

// TypeFull tells which keys of the quotas of sched.cf are used up: qmgr cleanup in the
// journal conversation, and cleanup smtpd in the submit conversation.
const TypeFull = 48 // Full

// FullKey is one key of a quota (policy.Keyed), by the quota's name, since the two sides
// may have policies of different age for a moment.
type FullKey struct{ Quota, Key string }

// Full says of keys that they are used up now, or no longer.
type Full struct {
	All  bool // all others have room
	Keys []FullKey
	Free []FullKey // have room again
}

// Append implements ipc.Appender.
func (m *Full) Append(b []byte) []byte {
	b = ipc.AppendBool(b, m.All)
	for _, list := range [][]FullKey{m.Keys, m.Free} {
		b = ipc.AppendUint(b, uint64(len(list)))
		for _, k := range list {
			b = ipc.AppendString(ipc.AppendString(b, k.Quota), k.Key)
		}
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Full) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	*m = Full{All: d.Bool()}
	for _, list := range []*[]FullKey{&m.Keys, &m.Free} {
		for range d.Count() {
			*list = append(*list, FullKey{d.String(), d.String()})
		}
	}
	return d.End()
}

// FullChanges are what the other side has not heard yet. The zero value is nothing.
type FullChanges struct {
	all  bool
	keys map[FullKey]bool // whether it is used up
}

// Forget begins anew: all that is not Set from now on has room.
func (c *FullChanges) Forget() { *c = FullChanges{all: true} }

// Set notes whether a key is used up.
func (c *FullChanges) Set(k FullKey, full bool) {
	if c.keys == nil {
		c.keys = map[FullKey]bool{}
	}
	c.keys[k] = full
}

// fullBytes is how much of keys goes in one frame.
const fullBytes = 32 << 10

// Next takes a frame's worth of changes; nil when there are none.
func (c *FullChanges) Next() *Full {
	if !c.all && len(c.keys) == 0 {
		return nil
	}
	m := &Full{All: c.all}
	c.all = false
	size := 0
	for k, full := range c.keys {
		if size > fullBytes {
			return m
		}
		size += len(k.Quota) + len(k.Key) + 8
		if full {
			m.Keys = append(m.Keys, k)
		} else {
			m.Free = append(m.Free, k)
		}
		delete(c.keys, k)
	}
	c.keys = nil
	return m
}
