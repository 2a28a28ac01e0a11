package ipc

import "sync"

// KeepMin is from which size on, in bytes, it is cheaper to keep the memory in which
// something came than to copy it.
const KeepMin = 16 << 10

// Memory is that in which frames came.
type Memory struct{ b []byte }

var memories = sync.Pool{New: func() any { return new(Memory) }}

// Keep hands over the memory in which the last frame of Next is, whose Payload then stays
// valid until Release. It is nil when that is out of proportion: then the frame has to be
// copied.
func (c *Conn) Keep() *Memory {
	if len(c.in) > keepSize {
		return nil
	}
	m := memories.Get().(*Memory)
	in := m.b
	if len(in) < len(c.in) {
		in = make([]byte, len(c.in))
	}
	c.w = copy(in, c.in[c.r:c.w])
	m.b, c.in, c.r = c.in, in, 0
	return m
}

// Release ends the use of what came in the memory. That of nil does nothing.
func (m *Memory) Release() {
	if m != nil {
		memories.Put(m)
	}
}
