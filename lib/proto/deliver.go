package proto

import (
	"slices"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
)

// The deliver conversation, between qmgr and an agent. The agent's hello carries an
// AgentHello; then it sends again every result that no qmgr has acknowledged.
const (
	DeliverName    = "deliver"
	DeliverVersion = 6
	// InlineMax bounds the content that travels inside Deliver, in bytes; a larger
	// one comes as a descriptor.
	InlineMax = 128 << 10
)

// MaildirHop begins the next hop of mail that sched.cf leads into a maildir; the path
// follows, with names that local expands (policy.MaildirNames).
const MaildirHop = "maildir:"

// Frame types of the deliver conversation.
const (
	TypeDeliver  = iota + 1 // qmgr: Deliver, with a descriptor when Inline is false
	TypeAck                 // qmgr: Ack
	TypeResult              // agent: Result
	TypeResolve             // qmgr: Resolve
	TypeResolved            // agent: Resolved
)

// DeliveryID names a delivery among all that were ever asked for: Epoch is drawn at
// random by each qmgr, Seq counts in it.
type DeliveryID struct{ Epoch, Seq uint64 }

func (id DeliveryID) append(b []byte) []byte {
	return ipc.AppendUint(ipc.AppendUint(b, id.Epoch), id.Seq)
}

func (id *DeliveryID) decode(d *ipc.Decoder) { id.Epoch, id.Seq = d.Uint(), d.Uint() }

// Deliver is one delivery request: a message, a destination, and the recipients to
// try there.
type Deliver struct {
	ID       DeliveryID
	Service  string // master.cf's name: "smtp", "relay", "local", "bounce"
	NextHop  string // bounce: what to report, one of Report...
	Queue    mail.QueueID
	File     uint64 // the content's place in the spool, for Result and Replaces
	Slot     uint32
	Sender   mail.Address
	EnvID    string
	Ret      string
	Body     mail.Body
	UTF8     bool
	Origin   mail.Origin // FromLocal: aliases have been expanded
	Client   mail.Client
	Arrival  time.Time // reception began: delay= counts from here
	Active   time.Time // entered the active queue
	Handed   time.Time // given to the agent
	Size     int64     // bytes of content
	CRC      uint32    // CRC-32C of the content, to be checked before the final dot
	Inline   bool
	Content  []byte // when Inline; refers to the frame after Decode
	Verify   bool   // find out what would become of it, and deliver nothing
	Keep     bool   // the destination is in demand: a session with it is worth keeping
	Source   Source // where it leaves from
	FDOffset int64  // else: where the content begins in the descriptor

	Recipients []DeliverRecipient
}

// Source is an egress source of sched.cf. The zero value is main.cf's.
type Source struct {
	Name         string
	EHLO         string // "": smtp_helo_name
	Addr4, Addr6 string // "": none; both: the kernel chooses
}

// DeliverRecipient is one recipient of a delivery. Status is set for bounce only:
// what is to be reported.
type DeliverRecipient struct {
	Index uint32 // number in the envelope
	mail.Recipient
	Status   mail.Status
	Expanded bool // with Status: a message of its own goes to those it stands for
}

// What bounce is asked for, as the next hop of a delivery to it.
const (
	ReportFailure = "failure"
	ReportDelay   = "delay"
	ReportSuccess = "success"
	ReportVerify  = "verify" // what would become of mail (mail.TraceVerify)
	ReportRecord  = "record" // what became of it at the first attempt (mail.TraceRecord)
)

// hasMember is set in the byte of Notify when a Member follows.
const hasMember = 0x80

// Append implements ipc.Appender.
func (m *Deliver) Append(b []byte) []byte {
	content := m.Content
	if !m.Inline {
		content = nil
	}
	b = ipc.AppendBool(b, m.Inline)
	b = ipc.AppendUint(b, uint64(len(content)))
	b = m.ID.append(b)
	b = ipc.AppendString(b, m.Service)
	b = ipc.AppendString(b, m.NextHop)
	b = ipc.AppendString(b, m.Queue)
	b = ipc.AppendUint(b, m.File)
	b = ipc.AppendUint(b, uint64(m.Slot))
	b = ipc.AppendString(b, m.Sender)
	b = ipc.AppendString(b, m.EnvID)
	b = ipc.AppendString(b, m.Ret)
	b = append(b, byte(m.Body))
	b = ipc.AppendBool(b, m.UTF8)
	b = append(b, byte(m.Origin))
	b = ipc.AppendString(b, m.Client.Name)
	b = ipc.AppendString(b, m.Client.Addr)
	b = ipc.AppendString(b, m.Client.Helo)
	b = ipc.AppendString(b, m.Client.Protocol)
	b = ipc.AppendUint(b, uint64(m.Client.UID))
	b = ipc.AppendTime(b, m.Arrival)
	b = ipc.AppendTime(b, m.Active)
	b = ipc.AppendTime(b, m.Handed)
	b = ipc.AppendInt(b, m.Size)
	b = ipc.AppendUint(b, uint64(m.CRC))
	b = ipc.AppendInt(b, m.FDOffset)
	b = ipc.AppendBool(b, m.Verify)
	b = ipc.AppendBool(b, m.Keep)
	b = ipc.AppendString(b, m.Source.Name)
	if s := &m.Source; s.Name != "" {
		b = ipc.AppendString(ipc.AppendString(ipc.AppendString(b, s.EHLO), s.Addr4), s.Addr6)
	}
	b = ipc.AppendUint(b, uint64(len(m.Recipients)))
	report := m.Service == "bounce"
	for i := range m.Recipients {
		r := &m.Recipients[i]
		b = ipc.AppendUint(b, uint64(r.Index))
		b = ipc.AppendString(b, r.Address)
		b = ipc.AppendString(b, r.Original)
		b = ipc.AppendString(b, r.ORCPT)
		if r.Member == 0 {
			b = append(b, byte(r.Notify))
		} else {
			b = ipc.AppendUint(append(b, byte(r.Notify)|hasMember), r.Member)
		}
		if report {
			b = ipc.AppendBool(appendStatus(b, &r.Status), r.Expanded)
		}
	}
	return append(b, content...)
}

// Decode reads the message from a frame's payload. It fills Recipients anew in the
// memory they have.
func (m *Deliver) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Inline = d.Bool()
	size := d.Uint()
	b = d.Rest()
	if size > uint64(len(b)) || !m.Inline && size > 0 {
		return ipc.ErrFrame
	}
	head := len(b) - int(size)
	m.Content = b[head:]
	d = ipc.NewTextDecoder(b[:head])
	m.ID.decode(&d)
	m.Service = d.String()
	m.NextHop = d.String()
	m.Queue = mail.QueueID(d.String())
	m.File = d.Uint()
	m.Slot = d.Uint32()
	m.Sender = mail.Address(d.String())
	m.EnvID = d.String()
	m.Ret = d.String()
	m.Body = mail.Body(d.Byte())
	m.UTF8 = d.Bool()
	m.Origin = mail.Origin(d.Byte())
	m.Client = mail.Client{Name: d.String(), Addr: d.String(), Helo: d.String(), Protocol: d.String(), UID: d.Uint32()}
	m.Arrival = d.Time()
	m.Active = d.Time()
	m.Handed = d.Time()
	m.Size = d.Int()
	m.CRC = d.Uint32()
	m.FDOffset = d.Int()
	m.Verify = d.Bool()
	m.Keep = d.Bool()
	if m.Source = (Source{Name: d.String()}); m.Source.Name != "" {
		m.Source.EHLO, m.Source.Addr4, m.Source.Addr6 = d.String(), d.String(), d.String()
	}
	n := d.Count()
	m.Recipients = slices.Grow(m.Recipients[:0], n)
	report := m.Service == "bounce"
	for range n {
		r := DeliverRecipient{Index: d.Uint32()}
		r.Address = mail.Address(d.String())
		r.Original = mail.Address(d.String())
		r.ORCPT = d.String()
		if n := d.Byte(); n&hasMember == 0 {
			r.Notify = mail.Notify(n)
		} else {
			r.Notify, r.Member = mail.Notify(n&^hasMember), d.Uint()
		}
		if report {
			decodeStatus(&d, &r.Status)
			r.Expanded = d.Bool()
		}
		m.Recipients = append(m.Recipients, r)
	}
	return d.End()
}

// Ack tells an agent which results are written down, so that it may forget them.
type Ack struct{ IDs []DeliveryID }

// Append implements ipc.Appender.
func (m *Ack) Append(b []byte) []byte {
	b = ipc.AppendUint(b, uint64(len(m.IDs)))
	for _, id := range m.IDs {
		b = id.append(b)
	}
	return b
}

// Decode reads the message from a frame's payload.
func (m *Ack) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.IDs = m.IDs[:0]
	for range d.Count() {
		var id DeliveryID
		id.decode(&d)
		m.IDs = append(m.IDs, id)
	}
	return d.End()
}

// Result is what became of one delivery. Hop is about the destination as a whole:
// its Class is Sent when the destination is fine (whatever it said to one recipient)
// and Deferred when it is to blame, with the reason. A recipient that is not listed
// was not tried.
type Result struct {
	ID         DeliveryID
	Queue      mail.QueueID
	File       uint64
	Slot       uint32
	Hop        mail.Status
	Recipients []RecipientResult
	// Fault says, in one line, how the message ended its reader's work, when that was
	// caught (a panic): the recipients count as not tried, and the message is suspect.
	Fault string
	// Absent: the address of the Source is not configured on this machine, so that who is
	// not listed was not tried.
	Absent bool
}

// RecipientResult is the outcome for one recipient. With Replaced a message in the
// journal takes the recipient over: it is crossed off when that message is tailed. With
// Pass nothing was done, and there is no Status: another transport is to try.
type RecipientResult struct {
	Index    uint32
	Replaced bool
	Pass     Pass
	// Reports says that the next server takes the wish for a report of success over:
	// it offers DSN (RFC 3461, 5.2.2).
	Reports bool
	Status  mail.Status
}

// Pass is where local leads a recipient whom it does not deliver to itself
// (mailbox_transport, fallback_transport). The zero value is nowhere.
type Pass struct {
	Transport string       // a line of master.cf
	NextHop   string       // "": that of the request
	Address   mail.Address // who the recipient is now that aliases are expanded
}

// Append implements ipc.Appender.
func (m *Result) Append(b []byte) []byte {
	b = m.ID.append(b)
	b = ipc.AppendString(b, m.Queue)
	b = ipc.AppendUint(b, m.File)
	b = ipc.AppendUint(b, uint64(m.Slot))
	b = appendStatus(b, &m.Hop)
	b = ipc.AppendUint(b, uint64(len(m.Recipients)))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		b = ipc.AppendUint(b, uint64(r.Index))
		b = ipc.AppendBool(b, r.Replaced)
		b = ipc.AppendBool(b, r.Reports)
		b = appendStatus(b, &r.Status)
		b = ipc.AppendString(b, r.Pass.Transport)
		if p := &r.Pass; p.Transport != "" {
			b = ipc.AppendString(ipc.AppendString(b, p.NextHop), p.Address)
		}
	}
	return ipc.AppendBool(ipc.AppendString(b, m.Fault), m.Absent)
}

// Decode reads the message from a frame's payload. It fills Recipients anew in the
// memory they have.
func (m *Result) Decode(b []byte) error {
	d := ipc.NewTextDecoder(b)
	m.ID.decode(&d)
	m.Queue = mail.QueueID(d.String())
	m.File = d.Uint()
	m.Slot = d.Uint32()
	decodeStatus(&d, &m.Hop)
	n := d.Count()
	m.Recipients = slices.Grow(m.Recipients[:0], n)
	for range n {
		r := RecipientResult{Index: d.Uint32(), Replaced: d.Bool(), Reports: d.Bool()}
		decodeStatus(&d, &r.Status)
		if r.Pass.Transport = d.String(); r.Pass.Transport != "" {
			r.Pass.NextHop, r.Pass.Address = d.String(), mail.Address(d.String())
		}
		m.Recipients = append(m.Recipients, r)
	}
	m.Fault = d.String()
	m.Absent = d.Bool()
	return d.End()
}

// AgentHello says what an agent can do and what it has in hand from an earlier qmgr.
type AgentHello struct {
	Program string // "smtp"
	Number  uint32 // which process of the program
	PID     uint64 // process id, by which master speaks of its death; 0: unknown
	InHand  []InHand
}

// InHand is a delivery that was asked for and not yet reported.
type InHand struct {
	ID         DeliveryID
	Queue      mail.QueueID
	File       uint64
	Slot       uint32
	Report     string // of bounce: what it is to report (Deliver.NextHop)
	Recipients []uint32
}

// Append implements ipc.Appender.
func (m *AgentHello) Append(b []byte) []byte {
	b = ipc.AppendString(b, m.Program)
	b = ipc.AppendUint(b, uint64(m.Number))
	b = ipc.AppendUint(b, m.PID)
	b = ipc.AppendUint(b, uint64(len(m.InHand)))
	for i := range m.InHand {
		h := &m.InHand[i]
		b = h.ID.append(b)
		b = ipc.AppendString(b, h.Queue)
		b = ipc.AppendUint(b, h.File)
		b = ipc.AppendUint(b, uint64(h.Slot))
		b = ipc.AppendString(b, h.Report)
		b = ipc.AppendUint(b, uint64(len(h.Recipients)))
		for _, r := range h.Recipients {
			b = ipc.AppendUint(b, uint64(r))
		}
	}
	return b
}

// Decode reads the message.
func (m *AgentHello) Decode(b []byte) error {
	d := ipc.NewDecoder(b)
	m.Program = d.String()
	m.Number = d.Uint32()
	m.PID = d.Uint()
	m.InHand = nil
	for range d.Count() {
		var h InHand
		h.ID.decode(&d)
		h.Queue = mail.QueueID(d.String())
		h.File = d.Uint()
		h.Slot = d.Uint32()
		h.Report = d.String()
		for range d.Count() {
			h.Recipients = append(h.Recipients, d.Uint32())
		}
		m.InHand = append(m.InHand, h)
	}
	return d.End()
}

func appendStatus(b []byte, s *mail.Status) []byte {
	b = append(b, byte(s.Class))
	b = ipc.AppendString(b, s.DSN)
	b = ipc.AppendString(b, s.Text)
	b = ipc.AppendString(b, s.RemoteMTA)
	return ipc.AppendString(b, s.Diag)
}

func decodeStatus(d *ipc.Decoder, s *mail.Status) {
	s.Class = mail.Class(d.Byte())
	s.DSN = d.String()
	s.Text = d.String()
	s.RemoteMTA = d.String()
	s.Diag = d.String()
}
