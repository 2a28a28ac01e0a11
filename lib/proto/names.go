package proto

import (
	"net/netip"

	"postrider/lib/ipc"
)

// The conversation in which smtpd, which can open no socket, asks smtp for the names of
// its clients.
const (
	NamesName    = "names"
	NamesVersion = 1
)

// Frame types of the conversation.
const (
	TypeNameOf = iota + 1 // smtpd: NameOf
	TypeNamed             // smtp: Named
)

// NameOf asks what the name of an address is. Answers may come in another order.
type NameOf struct {
	ID   uint64 // of the question
	Addr netip.Addr
}

// Append implements ipc.Appender.
func (m *NameOf) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.ID)
	return ipc.AppendString(b, m.Addr.AsSlice())
}

// Decode reads the message from a frame's payload.
func (m *NameOf) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID = d.Uint()
	addr, ok := netip.AddrFromSlice(d.Bytes())
	if err := d.End(); err != nil {
		return err
	}
	if m.Addr = addr; !ok {
		return ipc.ErrFrame
	}
	return nil
}

// Named is the answer.
type Named struct {
	ID      uint64
	Name    string // confirmed: it leads to the address; "" when there is none
	Warning string // why a name that the address claims is not taken, or ""
}

// Append implements ipc.Appender.
func (m *Named) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.ID)
	b = ipc.AppendString(b, m.Name)
	return ipc.AppendString(b, m.Warning)
}

// Decode reads the message from a frame's payload.
func (m *Named) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID = d.Uint()
	m.Name = d.String()
	m.Warning = d.String()
	return d.End()
}
