package proto

import "postrider/lib/ipc"

// Frame types of the journal conversation by which qmgr has a message queued again
// (postsuper -r). They are far from the others', so that those may grow.
const (
	TypeRequeue  = 32 + iota // qmgr: Requeue, with one or two descriptors
	TypeRequeued             // cleanup: Requeued
)

// Requeue asks cleanup to take a message as if it came anew: addresses are rewritten,
// it gets a new id, and it replaces those recipients of the old one that its envelope
// names. The first descriptor is a sealed memory file: the envelope, and behind it the
// content; when there is a second one, that is the file of the content instead.
type Requeue struct {
	Seq      uint64 // names the request in its answer
	Envelope int64  // bytes of the envelope, as mail.AppendEnvelope writes it
	Size     int64  // bytes of the content
	CRC      uint32 // of the content, CRC-32C
}

// Append implements ipc.Appender.
func (m *Requeue) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.Seq)
	b = ipc.AppendInt(b, m.Envelope)
	b = ipc.AppendInt(b, m.Size)
	return ipc.AppendUint(b, uint64(m.CRC))
}

// Decode reads the message from a frame's payload.
func (m *Requeue) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Seq = d.Uint()
	m.Envelope = d.Int()
	m.Size = d.Int()
	m.CRC = d.Uint32()
	return d.End()
}

// Requeued answers Requeue when the outcome is certain. Code 0 means that the new
// message is durable; SubmitUnknown, that nobody knows; RequeueDamaged, that the
// content is not what it was; else Code, DSN and Text say why not.
type Requeued struct {
	Seq  uint64
	Code int
	DSN  string
	Text string
}

// RequeueDamaged is the Code for content that does not match its checksum.
const RequeueDamaged = 2

// Append implements ipc.Appender.
func (m *Requeued) Append(b []byte) []byte {
	b = ipc.AppendUint(b, m.Seq)
	b = ipc.AppendUint(b, uint64(m.Code))
	b = ipc.AppendString(b, m.DSN)
	return ipc.AppendString(b, m.Text)
}

// Decode reads the message from a frame's payload.
func (m *Requeued) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Seq = d.Uint()
	m.Code = int(d.Uint32())
	m.DSN = d.String()
	m.Text = d.String()
	return d.End()
}

// Frame types by which cleanup hands over what it will not read any more: it has no
// right to write into corrupt/.
const (
	TypeCondemn   = 40 + iota // cleanup: Condemn, with a descriptor of the file
	TypeCondemned             // qmgr: Condemned
)

// Condemn asks qmgr to save a file of maildrop/ to corrupt/.
type Condemn struct {
	Name   string // in maildrop/
	Reason string
}

// Append implements ipc.Appender.
func (m *Condemn) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendString(b, m.Name), m.Reason)
}

// Decode reads the message from a frame's payload.
func (m *Condemn) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Name = d.String()
	m.Reason = d.String()
	return d.End()
}

// Condemned answers Condemn: with an empty Text the file is durable in corrupt/ and is
// to be removed.
type Condemned struct {
	Name string
	Text string // why not
}

// Append implements ipc.Appender.
func (m *Condemned) Append(b []byte) []byte {
	return ipc.AppendString(ipc.AppendString(b, m.Name), m.Text)
}

// Decode reads the message from a frame's payload.
func (m *Condemned) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Name = d.String()
	m.Text = d.String()
	return d.End()
}
