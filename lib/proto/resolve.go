package proto

import (
	"time"

	"postrider/lib/ipc"
)

// Resolve asks an agent to look up the addresses of a next hop, and to keep the answer for
// the deliveries that follow.
type Resolve struct {
	Seq     uint64
	Service string // as in Deliver
	NextHop string
}

// Append implements ipc.Appender.
func (m *Resolve) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendString(ipc.AppendUint(b, m.Seq), m.Service), m.NextHop)
}

// Decode reads the message from a frame's payload.
func (m *Resolve) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Seq, m.Service, m.NextHop = d.Uint(), d.String(), d.String()
	return d.End()
}

// Resolved says that the agent has an answer to a Resolve. What it is shows in the
// deliveries.
type Resolved struct {
	Seq    uint64
	Holds  time.Duration // how long the agent keeps the answer
	Failed bool          // none could be had now
	// Group is the registered domain of the best mail host ("" when there is none), Hosts
	// are the best ones by name, in lower case: for the fact mx_group of a policy.
	Group string
	Hosts []string
}

// resolvedHosts is how many Hosts there are at most.
const resolvedHosts = 8

// Append implements ipc.Appender.
func (m *Resolved) Append(b []byte) []byte {
	b = ipc.AppendBool(ipc.AppendUint(ipc.AppendUint(b, m.Seq), uint64(max(m.Holds, 0))), m.Failed)
	b = ipc.AppendUint(ipc.AppendString(b, m.Group), uint64(min(len(m.Hosts), resolvedHosts)))
	for _, h := range m.Hosts[:min(len(m.Hosts), resolvedHosts)] {
		b = ipc.AppendString(b, h)
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Resolved) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Seq = d.Uint()
	m.Holds = time.Duration(min(d.Uint(), uint64(24*time.Hour)))
	m.Failed = d.Bool()
	m.Group, m.Hosts = d.String(), nil
	n := d.Uint()
	if n > resolvedHosts {
		return ipc.ErrFrame
	}
	for range n {
		m.Hosts = append(m.Hosts, d.String())
	}
	return d.End()
}
