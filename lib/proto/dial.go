package proto

import "postrider/lib/ipc"

// Frame types of the control conversation about connections that a daemon cannot make
// itself: it has no right to make a socket.
const (
	TypeDial   = 32 // daemon: Dial
	TypeDialed = 33 // master: Dialed and, without an error, one connected descriptor
)

// Dial asks master for a connection. Name is one that the configuration has, as it is
// written there; master makes no other.
type Dial struct{ Name string }

// Append implements ipc.Appender.
func (m *Dial) Append(b []byte) []byte { return ipc.AppendString(b, m.Name) }

// Decode reads the message from a frame's payload.
func (m *Dial) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Name = d.String()
	return d.End()
}

// Dialed answers Dial, once for each.
type Dialed struct {
	Name  string
	Error string // why there is no connection, or ""
}

// Append implements ipc.Appender.
func (m *Dialed) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendString(b, m.Name), m.Error)
}

// Decode reads the message from a frame's payload.
func (m *Dialed) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Name = d.String()
	m.Error = d.String()
	return d.End()
}
