package proto

import (
	"net/netip"

	"postrider/lib/ipc"
)

// The conversation in which smtpd, which can open no socket, asks smtp for the names of
// its clients, and for what its restrictions want to know of names (SMTPD_ACCESS_README).
const (
	NamesName    = "names"
	NamesVersion = 2
)

// Frame types of the conversation.
const (
	TypeNameOf = iota + 1 // smtpd: NameOf
	TypeNamed             // smtp: Named
	TypeAsk               // smtpd: Ask
	TypeTold              // smtp: Told
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
	ID        uint64
	Name      string // confirmed: it leads to the address; "" when there is none
	Warning   string // why a name that the address claims is not taken, or ""
	Claimed   string // the name that the address claims; "" when there is none
	Temporary bool   // another time there may be a Name
}

// Append implements ipc.Appender.
func (m *Named) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.ID)
	b = ipc.AppendString(b, m.Name)
	b = ipc.AppendString(b, m.Warning)
	b = ipc.AppendString(b, m.Claimed)
	return ipc.AppendBool(b, m.Temporary)
}

// Decode reads the message from a frame's payload.
func (m *Named) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID = d.Uint()
	m.Name = d.String()
	m.Warning = d.String()
	m.Claimed = d.String()
	m.Temporary = d.Bool()
	return d.End()
}

// AskKind says which records are asked for.
type AskKind uint8

// The kinds of questions.
const (
	AskAddr4 AskKind = iota + 1 // A
	AskAddr                     // A and AAAA
	AskMX                       // MX: the hosts, the most preferred first
	AskText                     // TXT
)

// Ask asks what a name has in the DNS.
type Ask struct {
	ID   uint64 // of the question, in one row with those of NameOf
	Kind AskKind
	Name string
}

// Append implements ipc.Appender.
func (m *Ask) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.ID)
	b = ipc.AppendUint(b, uint64(m.Kind))
	return ipc.AppendString(b, m.Name)
}

// Decode reads the message from a frame's payload.
func (m *Ask) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID = d.Uint()
	m.Kind = AskKind(d.Uint())
	m.Name = d.String()
	return d.End()
}

// Outcome is what came of a question. The zero Outcome is that nobody knows.
type Outcome uint8

// The outcomes.
const (
	NameUnknown Outcome = iota // for now
	NameFound
	NameNotFound
	NameNoMail // the domain takes no mail (RFC 7505)
)

// ToldMax is how many records an answer has at most, and ToldText how long each may be.
const (
	ToldMax  = 16
	ToldText = 255
)

// Told is the answer to an Ask.
type Told struct {
	ID      uint64
	Outcome Outcome
	Values  []string
}

// Append implements ipc.Appender.
func (m *Told) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.ID)
	b = ipc.AppendUint(b, uint64(m.Outcome))
	return appendStrings(b, m.Values)
}

// Decode reads the message from a frame's payload.
func (m *Told) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.ID = d.Uint()
	m.Outcome = Outcome(d.Uint())
	m.Values = decodeStrings(&d)
	return d.End()
}
