package proto

import "postrider/lib/ipc"

// The conversation in which qmgr asks proxymap for what databases have.
const (
	TablesName    = "tables"
	TablesVersion = 1
)

// Frame types of the conversation.
const (
	TypeLookup = iota + 1 // qmgr: Lookup
	TypeFound             // proxymap: Found
)

// Lookup asks a table for a key. Answers may come in another order.
type Lookup struct {
	ID    uint64
	Table string // the path of its definition
	Key   string
}

// Append implements ipc.Appender.
func (m *Lookup) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendString(ipc.AppendUint(b, m.ID), m.Table), m.Key)
}

// Decode reads the message from a frame's payload.
func (m *Lookup) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID, m.Table, m.Key = d.Uint(), d.String(), d.String()
	return d.End()
}

// Found is the answer.
type Found struct {
	ID     uint64
	Value  string
	Found  bool
	Failed string // why there is no answer now, or ""
}

// Append implements ipc.Appender.
func (m *Found) Append(b []byte) []byte {
	b = ipc.AppendString(ipc.AppendUint(b, m.ID), m.Value)
	return ipc.AppendString(ipc.AppendBool(b, m.Found), m.Failed)
}

// Decode reads the message from a frame's payload.
func (m *Found) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID, m.Value = d.Uint(), d.String()
	m.Found, m.Failed = d.Bool(), d.String()
	return d.End()
}
