package proto

import (
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
)

// The operator conversation, over the socket public/qmgr. A client sends one
// request and reads what comes: for a listing Item frames and a Done, for a verb a
// Done. The kernel says who the client is (ipc.PeerOf).
const (
	OperatorName    = "operator"
	OperatorVersion = 4
	OperatorSocket  = "public/qmgr"
)

// Frame types of the operator conversation.
const (
	TypeList    = iota + 1 // client: List
	TypeVerb               // client: Verb
	TypeItem               // qmgr: Item
	TypeDone               // qmgr: Done
	TypeContent            // qmgr: raw bytes of a message (verb Cat)
	TypeBusy               // qmgr: nothing; it lives, and the answer takes its time
	TypeWhy                // client: Why
	TypeReason             // qmgr: Reason
	TypeShape              // client: Shape
	TypeRows               // qmgr: ShapeRows
)

// List asks for the messages of the named queues, all of them when none is named:
// "maildrop", "incoming", "active", "deferred", "hold".
type List struct {
	Queues []string
	IDs    []string // only these, when given
}

// Append implements ipc.Appender.
func (m *List) Append(b []byte) []byte { return appendStrings(appendStrings(b, m.Queues), m.IDs) }

// Decode reads the message from a frame's payload.
func (m *List) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Queues = decodeStrings(&d)
	m.IDs = decodeStrings(&d)
	return d.End()
}

// Item is one message in a listing. A message with many recipients comes in several
// items with the same id, one behind the other.
type Item struct {
	Queue      string // "active", "deferred", ...
	ID         mail.QueueID
	Arrival    time.Time
	Size       int64
	Expired    bool // force-expired
	Sender     mail.Address
	Due        time.Time // next attempt, zero when none is planned
	Recipients []ItemRecipient
}

// ItemRecipient is an unfinished recipient.
type ItemRecipient struct {
	Address  mail.Address
	Original mail.Address
	Reason   string // why it was deferred, or ""
	Attempts uint64
	Next     time.Time // next attempt, zero when none is planned or it waits for something else
	Waits    WaitKind  // for what, or ""
}

// Append implements ipc.Appender.
func (m *Item) Append(b []byte) []byte {
	b = ipc.AppendString(b, m.Queue)
	b = ipc.AppendString(b, m.ID)
	b = ipc.AppendTime(b, m.Arrival)
	b = ipc.AppendInt(b, m.Size)
	b = ipc.AppendBool(b, m.Expired)
	b = ipc.AppendString(b, m.Sender)
	b = ipc.AppendTime(b, m.Due)
	b = ipc.AppendUint(b, uint64(len(m.Recipients)))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		b = ipc.AppendString(b, r.Address)
		b = ipc.AppendString(b, r.Original)
		b = ipc.AppendString(b, r.Reason)
		b = ipc.AppendUint(b, r.Attempts)
		b = ipc.AppendTime(b, r.Next)
		b = ipc.AppendString(b, r.Waits)
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Item) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Queue = d.String()
	m.ID = mail.QueueID(d.String())
	m.Arrival = d.Time()
	m.Size = d.Int()
	m.Expired = d.Bool()
	m.Sender = mail.Address(d.String())
	m.Due = d.Time()
	n := d.Count()
	m.Recipients = make([]ItemRecipient, 0, n)
	for range n {
		m.Recipients = append(m.Recipients, ItemRecipient{
			Address: mail.Address(d.String()), Original: mail.Address(d.String()), Reason: d.String(),
			Attempts: d.Uint(), Next: d.Time(), Waits: WaitKind(d.String())})
	}
	return d.End()
}

// VerbKind is what an operator wants done.
type VerbKind uint8

// The verbs.
const (
	VerbHold      VerbKind = iota + 1 // postsuper -h
	VerbRelease                       // postsuper -H
	VerbDelete                        // postsuper -d
	VerbFlush                         // postqueue -f, or -i with ids
	VerbCat                           // postcat -q: envelope as Item, content as Content frames
	VerbExpire                        // postsuper -e
	VerbExpireAll                     // postsuper -f
	VerbRequeue                       // postsuper -r
	VerbSite                          // postqueue -s: the one in IDs
)

// Queues returns where a verb looks when the operator names no queue (postsuper).
func (k VerbKind) Queues() []string {
	switch k {
	case VerbHold:
		return []string{"incoming", "active", "deferred"}
	case VerbRelease:
		return []string{"hold"}
	case VerbDelete, VerbExpire, VerbExpireAll, VerbRequeue:
		return []string{"hold", "incoming", "active", "deferred"}
	case VerbFlush, VerbSite:
		return []string{"deferred"}
	}
	return nil
}

// DoneIDs is how many messages a Done names at most.
const DoneIDs = 1000

// Verb asks for a change. All means every message in the named queues; else IDs.
type Verb struct {
	Kind   VerbKind
	All    bool
	Queues []string // restrict to these; none means the verb's own default
	IDs    []string
}

// Append implements ipc.Appender.
func (m *Verb) Append(b []byte) []byte {
	b = append(b, byte(m.Kind))
	b = ipc.AppendBool(b, m.All)
	return appendStrings(appendStrings(b, m.Queues), m.IDs)
}

// Decode reads the message from a frame's payload.
func (m *Verb) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Kind = VerbKind(d.Byte())
	m.All = d.Bool()
	m.Queues = decodeStrings(&d)
	m.IDs = decodeStrings(&d)
	return d.End()
}

// Done ends every answer. What it reports is durable (S8).
type Done struct {
	Code    int      // 0, or the sysexits code to end with
	Text    string   // what went wrong, for people
	IDs     []string // the messages the verb was applied to; at most DoneIDs are named
	Count   uint64   // how many messages in all
	Skipped []string // "queue ID: reason" of messages that were found and left alone
	InHand  uint64   // recipients whose delivery is under way and goes on
}

// Append implements ipc.Appender.
func (m *Done) Append(b []byte) []byte {
	b = ipc.AppendUint(b, uint64(m.Code))
	b = ipc.AppendString(b, m.Text)
	b = appendStrings(b, m.IDs)
	b = ipc.AppendUint(b, m.Count)
	b = appendStrings(b, m.Skipped)
	return ipc.AppendUint(b, m.InHand)
}

// Decode reads the message from a frame's payload.
func (m *Done) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Code = int(d.Uint32())
	m.Text = d.String()
	m.IDs = decodeStrings(&d)
	m.Count = d.Uint()
	m.Skipped = decodeStrings(&d)
	m.InHand = d.Uint()
	return d.End()
}
