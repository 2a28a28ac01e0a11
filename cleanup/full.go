package cleanup

import (
	"sync"

	"postrider/lib/proto"
)

// fullKeys are the keys of quotas (sched.cf) that are used up, as qmgr said last: cleanup
// passes it on to smtpd, which it alone speaks with. They outlive a connection with qmgr:
// the next one counts first, and then says all.
type fullKeys struct {
	mu    sync.Mutex
	known bool // qmgr has said anything yet
	keys  map[proto.FullKey]struct{}
	to    map[*client]*fullTeller
}

// fullTeller is what one smtpd has not heard yet.
type fullTeller struct {
	changes proto.FullChanges // under fullKeys.mu
	wake    chan struct{}
}

func (t *fullTeller) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take notes what qmgr says, and has it passed on. It never waits for an smtpd.
func (k *fullKeys) take(m *proto.Full) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || m.All {
		k.keys = map[proto.FullKey]struct{}{}
	}
	k.known = true
	for _, x := range m.Keys {
		k.keys[x] = struct{}{}
	}
	for _, x := range m.Free {
		delete(k.keys, x)
	}
	for _, t := range k.to {
		if m.All {
			t.changes.Forget()
		}
		for _, x := range m.Keys {
			t.changes.Set(x, true)
		}
		for _, x := range m.Free {
			t.changes.Set(x, false)
		}
		t.poke()
	}
}

// tell keeps a client informed until end is closed.
func (k *fullKeys) tell(c *client, end <-chan struct{}) {
	t := &fullTeller{wake: make(chan struct{}, 1)}
	k.mu.Lock()
	if k.to == nil {
		k.to = map[*client]*fullTeller{}
	}
	k.to[c] = t
	if k.known {
		t.changes.Forget()
		for x := range k.keys {
			t.changes.Set(x, true)
		}
		t.poke()
	}
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.to, c)
	}()
	for {
		select {
		case <-end:
			return
		case <-t.wake:
		}
		for {
			k.mu.Lock()
			m := t.changes.Next()
			k.mu.Unlock()
			if m == nil {
				break
			}
			if c.conn.Send(proto.TypeFull, m) != nil { // its reader hears why
				return
			}
		}
	}
}
