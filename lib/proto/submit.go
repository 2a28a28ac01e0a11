package proto

import "postrider/lib/ipc"

// The submit conversation. A client numbers its transactions; many may be open at
// once. A message that fits goes in one frame, Submit. A larger one is opened with
// SubmitOpen, its content follows in SubmitData frames, and SubmitEnd ends it. The
// envelope's encoding is a run of fields, so a long one may be continued by
// SubmitEnvelope frames before the end.
const (
	SubmitName    = "submit"
	SubmitVersion = 3
	// SubmitMax bounds the content of one Submit or SubmitData frame, in bytes.
	SubmitMax = 128 << 10
)

// Frame types of the submit conversation.
const (
	TypeSubmit         = iota + 1 // client: Submit, the whole message
	TypeSubmitOpen                // client: Submit, with the first part of the content or none
	TypeSubmitEnvelope            // client: SubmitPart, more of the envelope
	TypeSubmitData                // client: SubmitPart, more of the content
	TypeSubmitEnd                 // client: SubmitPart, empty: complete
	TypeSubmitAbort               // client: SubmitPart, empty: forget it; no reply
	TypeSubmitReplies             // cleanup: SubmitReplies
)

// SubmitHello is in a client's hello: its process id, by which qmgr asks for what a
// dead one has sent (Drain).
type SubmitHello struct{ PID uint64 }

// Append implements ipc.Appender.
func (m *SubmitHello) Append(b []byte) []byte { return ipc.AppendUint(b, m.PID) }

// Decode reads the message; without one the process is unknown.
func (m *SubmitHello) Decode(b []byte) error {
	if m.PID = 0; len(b) == 0 {
		return nil
	}
	d := ipc.NewDecoder(b)
	m.PID = d.Uint()
	return d.End()
}

// Submit is a message on its way to the journal. Envelope and Content refer to the
// frame after Decode.
type Submit struct {
	Tx       uint32
	Local    bool   // complete missing headers (Date, Message-Id, From) and addresses in the header
	Envelope []byte // as mail.AppendEnvelope writes it
	Content  []byte // headers and body, lines ended by CRLF, no dot-stuffing
}

// Append implements ipc.Appender.
func (m *Submit) Append(b []byte) []byte {
	b = ipc.AppendUint(b, uint64(m.Tx))
	b = ipc.AppendBool(b, m.Local)
	b = ipc.AppendString(b, m.Envelope)
	return append(b, m.Content...)
}

// Decode reads the message from a frame's payload.
func (m *Submit) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Tx = d.Uint32()
	m.Local = d.Bool()
	m.Envelope = d.Bytes()
	m.Content = d.Rest()
	return d.Err()
}

// SubmitPart continues, ends or aborts a transaction. Data refers to the frame
// after Decode.
type SubmitPart struct {
	Tx   uint32
	Data []byte
}

// Append implements ipc.Appender.
func (m *SubmitPart) Append(b []byte) []byte {
	return append(ipc.AppendUint(b, uint64(m.Tx)), m.Data...)
}

// Decode reads the message from a frame's payload.
func (m *SubmitPart) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Tx = d.Uint32()
	m.Data = d.Rest()
	return d.Err()
}

// SubmitReply is what became of one transaction. Code 0 means that the message is
// durable; otherwise Code, DSN and Text are the SMTP reply that says why not. Code 1
// means that nobody knows: smtpd closes without a reply.
type SubmitReply struct {
	Tx   uint32
	Code uint16
	DSN  string // "4.3.1"
	Text string
	Said bool // the log has it already
}

// SubmitUnknown is the Code of a transaction whose outcome nobody knows.
const SubmitUnknown = 1

// SubmitSuspect is the Code of a message that has crashed cleanup and is not read any
// more; bounce and local hear it of what they submit. Text says how it was.
const SubmitSuspect = 2

// SubmitReplies answers transactions, many in one frame.
type SubmitReplies struct{ Replies []SubmitReply }

// Append implements ipc.Appender.
func (m *SubmitReplies) Append(b []byte) []byte {
	b = ipc.AppendUint(b, uint64(len(m.Replies)))
	for i := range m.Replies {
		r := &m.Replies[i]
		b = ipc.AppendUint(b, uint64(r.Tx))
		b = ipc.AppendUint(b, uint64(r.Code))
		if r.Code != 0 {
			b = ipc.AppendString(b, r.DSN)
			b = ipc.AppendString(b, r.Text)
			b = ipc.AppendBool(b, r.Said)
		}
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *SubmitReplies) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	n := d.Count()
	m.Replies = m.Replies[:0]
	for range n {
		r := SubmitReply{Tx: d.Uint32(), Code: uint16(d.Uint())}
		if r.Code != 0 {
			r.DSN = d.String()
			r.Text = d.String()
			r.Said = d.Bool()
		}
		m.Replies = append(m.Replies, r)
	}
	return d.End()
}
