package proto

import "postrider/lib/ipc"

// The journal conversation, between cleanup and qmgr. cleanup's hello carries a
// JournalHello. cleanup sends Durable after each sync, before it answers anyone.
const (
	JournalName    = "journal"
	JournalVersion = 3
)

// Frame types of the journal conversation.
const (
	TypeDurable  = iota + 1 // cleanup: Durable
	TypeDrained             // cleanup: Drained
	TypeFreed               // qmgr: Freed
	TypeDrain               // qmgr: Drain
	TypePressure            // qmgr: Pressure
)

// JournalHello says which files are this cleanup's: those numbered First and above.
// What is below belongs to writers that are gone.
type JournalHello struct {
	First   uint64
	Durable Durable
}

// Append implements ipc.Appender.
func (m *JournalHello) Append(b []byte) []byte {
	return m.Durable.Append(ipc.AppendUint(b, m.First))
}

// Decode reads the message.
func (m *JournalHello) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.First = d.Uint()
	m.Durable = Durable{File: d.Uint(), Offset: d.Int()}
	return d.End()
}

// Durable says that everything before Offset in the journal file numbered File, and
// all files before it, is on the disk.
type Durable struct {
	File   uint64
	Offset int64
}

// Append implements ipc.Appender.
func (m *Durable) Append(b []byte) []byte {
	return ipc.AppendInt(ipc.AppendUint(b, m.File), m.Offset)
}

// Decode reads the message from a frame's payload.
func (m *Durable) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.File = d.Uint()
	m.Offset = d.Int()
	return d.End()
}

// Drain asks cleanup whether all that dead processes of a program ("bounce", "local")
// had sent is in the journal: of the process PID, or, when that is 0, of all but those
// that Living names. It is answered by Drained once it is.
type Drain struct {
	Program string
	PID     uint64
	Living  []uint64
}

// Append implements ipc.Appender.
func (m *Drain) Append(b []byte) []byte {
	b = ipc.AppendUint(ipc.AppendString(b, m.Program), m.PID)
	b = ipc.AppendUint(b, uint64(len(m.Living)))
	for _, pid := range m.Living {
		b = ipc.AppendUint(b, pid)
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Drain) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Program = d.String()
	m.PID = d.Uint()
	m.Living = nil
	for range d.Count() {
		m.Living = append(m.Living, d.Uint())
	}
	return d.End()
}

// Drained answers Drain: whatever the dead submitted is durable before At, or never
// will be.
type Drained struct {
	Program string
	PID     uint64
	At      Durable
}

// Append implements ipc.Appender.
func (m *Drained) Append(b []byte) []byte {
	return m.At.Append(ipc.AppendUint(ipc.AppendString(b, m.Program), m.PID))
}

// Decode reads the message from a frame's payload.
func (m *Drained) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Program = d.String()
	m.PID = d.Uint()
	m.At = Durable{File: d.Uint(), Offset: d.Int()}
	return d.End()
}

// Freed names files in incoming/ whose header says free, so that cleanup may use
// them again.
type Freed struct{ Names []string }

// Append implements ipc.Appender.
func (m *Freed) Append(b []byte) []byte { return appendStrings(b, m.Names) }

// Decode reads the message from a frame's payload.
func (m *Freed) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Names = decodeStrings(&d)
	return d.End()
}

// Pressure tells cleanup how many bytes qmgr keeps elsewhere that journal_size_limit is to
// count.
type Pressure struct{ Stored int64 }

// Append implements ipc.Appender.
func (m *Pressure) Append(b []byte) []byte { return ipc.AppendInt(b, m.Stored) }

// Decode reads the message from a frame's payload.
func (m *Pressure) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Stored = d.Int()
	return d.End()
}

func appendStrings(b []byte, list []string) []byte {
	b = ipc.AppendUint(b, uint64(len(list)))
	for _, s := range list {
		b = ipc.AppendString(b, s)
	}
	return b
}

func decodeStrings(d *ipc.Decoder) []string {
	var list []string
	for range d.Count() {
		list = append(list, d.String())
	}
	return list
}
