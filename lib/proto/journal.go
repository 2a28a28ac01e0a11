package proto

import "postrider/lib/ipc"

// The journal conversation, between cleanup and qmgr. cleanup's hello carries a
// JournalHello. cleanup sends Durable after each sync, before it answers anyone.
const (
	JournalName    = "journal"
	JournalVersion = 1
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

// Drain asks cleanup whether all that a dead partner ("bounce", "local") had sent is
// in the journal. It is answered by Drained once it is.
type Drain struct{ Partner string }

// Append implements ipc.Appender.
func (m *Drain) Append(b []byte) []byte { return ipc.AppendString(b, m.Partner) }

// Decode reads the message from a frame's payload.
func (m *Drain) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Partner = d.String()
	return d.End()
}

// Drained answers Drain: whatever the dead partner submitted is durable before At,
// or never will be.
type Drained struct {
	Partner string
	At      Durable
}

// Append implements ipc.Appender.
func (m *Drained) Append(b []byte) []byte { return m.At.Append(ipc.AppendString(b, m.Partner)) }

// Decode reads the message from a frame's payload.
func (m *Drained) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Partner = d.String()
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

// Pressure tells cleanup how full the queue is: 0 is no reason to worry; above that,
// every submission is delayed by so many milliseconds.
type Pressure struct{ Delay uint32 }

// Append implements ipc.Appender.
func (m *Pressure) Append(b []byte) []byte { return ipc.AppendUint(b, uint64(m.Delay)) }

// Decode reads the message from a frame's payload.
func (m *Pressure) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Delay = d.Uint32()
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
