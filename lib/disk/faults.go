package disk

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Op is a kind of call, for faults and for counting.
type Op string

// The calls.
const (
	OpOpen     Op = "open"
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpReadDir  Op = "readdir"
	OpSyncDir  Op = "syncdir"
	OpStat     Op = "stat"
	OpFree     Op = "free"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync"
	OpClose    Op = "close"
)

// Fault makes calls fail.
type Fault struct {
	Op      Op     // of this kind
	Prefix  string // and only on names that begin so
	After   int    // that many calls still succeed
	Forever bool   // all calls after those fail, not only the next one
	Err     error  // with this
}

type fault struct{ Fault }

// Fail adds a fault.
func (m *Model) Fail(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &fault{f})
}

// SetCapacity sets Capacity.
func (m *Model) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Capacity = bytes
}

// Heal takes all faults away.
func (m *Model) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// Calls returns how many calls of a kind there were.
func (m *Model) Calls(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// StopAfter lets the power fail after n more calls that change something: from
// then on each call gives ErrOff, until PowerCut. So a test can cut at each
// call in turn. It is off again with n < 0.
func (m *Model) StopAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopIn, m.off = n+1, false
}

// Stopped says whether the power has failed.
func (m *Model) Stopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.off
}

func (m *Model) call(op Op, name string, changes bool) error {
	if m.off {
		return ErrOff
	}
	if m.stopIn > 0 && changes {
		if m.stopIn--; m.stopIn == 0 {
			m.off = true
			return ErrOff
		}
	}
	m.calls[op]++
	for _, f := range m.faults {
		if f.Op != op || !strings.HasPrefix(name, f.Prefix) {
			continue
		}
		if f.After--; f.After < 0 && (f.Forever || f.After == -1) {
			return f.Err
		}
	}
	return nil
}

// PowerCut ends all programs and the machine: handles are dead, and the disk
// holds what was synced and, of the rest, some names and some sectors. Then the
// machine is up again, with the faults gone.
func (m *Model) PowerCut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root.cut(m)
	m.life++
	m.faults, m.off, m.stopIn = nil, false, 0
}

// Kill ends all programs but not the machine: handles are dead, what was
// written can be seen, what was not synced still is not.
func (m *Model) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.off, m.stopIn = false, 0
}

func (n *node) cut(m *Model) {
	if n.names == nil {
		m.settle(n)
		n.data = append([]byte(nil), n.disk...)
		return
	}
	all := copyMap(n.synced)
	maps.Copy(all, n.names)
	// In order, since that decides what the random numbers are spent on.
	for _, name := range slices.Sorted(maps.Keys(all)) {
		now, before := n.names[name], n.synced[name]
		if now != before && m.rnd.IntN(2) == 0 {
			now = before
		}
		delete(n.names, name)
		if now != nil {
			n.names[name] = now
			now.cut(m)
		}
	}
	n.synced = copyMap(n.names)
}

// settle makes a random part of what is not synced durable and forgets the
// rest: none, all, or each sector by chance, of 512 or 4,096 bytes.
func (m *Model) settle(n *node) {
	sector := int64(512)
	if m.rnd.IntN(2) == 0 {
		sector = 4096
	}
	chance := [...]float64{0, 0.1, 0.5, 0.9, 1}[m.rnd.IntN(5)]
	for _, w := range n.writes {
		if len(w.data) == 0 {
			if m.rnd.Float64() < chance {
				n.disk = w.apply(n.disk)
			}
			continue
		}
		for i := int64(0); i < int64(len(w.data)); {
			end := min(int64(len(w.data)), i+sector-(w.off+i)%sector)
			if m.rnd.Float64() < chance {
				n.disk = write{off: w.off + i, data: w.data[i:end]}.apply(n.disk)
			}
			i = end
		}
	}
	n.writes = nil
	if len(n.data) > len(n.disk) && m.rnd.IntN(2) == 0 { // the size alone got there
		n.disk = write{off: int64(len(n.data))}.apply(n.disk)
	}
}

// Evict makes programs see what is on the disk where nothing waits to be
// written: what a failed Sync dropped shows its old bytes.
func (m *Model) Evict() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root.evict()
}

func (n *node) evict() {
	for _, c := range n.names {
		c.evict()
	}
	if n.names == nil {
		n.data = append([]byte(nil), n.disk...)
		for _, w := range n.writes {
			n.data = w.apply(n.data)
		}
	}
}

// Flip inverts bytes of a file, as a bad disk would.
func (m *Model) Flip(name string, off, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, f, err := m.find("flip", path.Clean(name))
	if err != nil || f == nil {
		panic("disk: no file " + name)
	}
	for _, b := range [][]byte{f.data, f.disk} {
		for i := off; i < min(off+n, int64(len(b))); i++ {
			b[i] ^= 0xff
		}
	}
}

func copyMap(in map[string]*node) map[string]*node {
	out := make(map[string]*node, len(in))
	maps.Copy(out, in)
	return out
}
