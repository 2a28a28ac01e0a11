package mail

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// Notify is the set of events a sender wants to hear of (RFC 3461, 4.1).
type Notify uint8

// Notify bits; no bit at all means the default, failure and delay.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Recipient is one addressee of a message. Its place in Envelope.Recipients is
// its number for as long as the message lives: marks name recipients by it.
type Recipient struct {
	Address  Address // where the mail goes
	Original Address // as the sender gave it, when different; else ""
	ORCPT    string  // ORCPT parameter as received (RFC 3461), or ""
	Notify   Notify
	// Member is set by local alone, when it sends a message on: MemberMailbox, or which
	// |command or /file of the alias or .forward of Address the mail is for. It names one
	// and is none: local looks the alias up again.
	Member uint64
}

// MemberMailbox is the Member that stands for the mailbox itself, past aliases and
// .forward.
const MemberMailbox = 1

// Origin says which door a message came in by.
type Origin uint8

// Origins of a message.
const (
	FromSMTP     Origin = iota // a network client
	FromMaildrop               // sendmail and postdrop
	FromBounce                 // a report of ours
	FromLocal                  // forwarded by local
)

// Client is what the log says of the client a message came from.
type Client struct {
	Name     string // verified host name, or "unknown"
	Addr     string // IP address, without brackets
	Helo     string // argument of HELO or EHLO
	Protocol string // SMTP or ESMTP
	UID      uint32 // FromMaildrop: who submitted it

	SASLMethod string // the mechanism by which it has logged in, or ""
	SASLUser   string // as whom
}

// Replaces names what a message takes the place of, so that the spool can cross
// that off in the same breath in which it takes the message over: recipients of
// a message in the queue (a bounce, a forward), or a file in maildrop.
type Replaces struct {
	ID         QueueID // the older message, or ""
	File       uint64  // its content's file and slot in the spool
	Slot       uint32
	Recipients []uint32 // the recipients taken over, by number
	Maildrop   string   // name of a file in maildrop/, or ""
}

// Zero says whether r replaces nothing.
func (r *Replaces) Zero() bool { return r.ID == "" && r.Maildrop == "" }

// Body is the BODY parameter of MAIL (RFC 6152).
type Body uint8

// Body values.
const (
	BodyUnknown Body = iota
	Body7Bit
	Body8Bit
)

// Envelope is everything known of a message but its content.
type Envelope struct {
	ID         QueueID
	Sender     Address
	Recipients []Recipient
	Arrival    time.Time // when reception began, for delay= in the log
	Size       int64     // bytes of content, headers included, lines ended by CRLF
	Origin     Origin
	Client     Client
	Body       Body
	UTF8       bool   // SMTPUTF8 was asked for
	EnvID      string // ENVID parameter as received (RFC 3461), or ""
	Ret        string // "FULL", "HDRS" or ""
	Trace      Trace  // the sender asks what becomes of each recipient
	MessageID  string // of the content, with its angle brackets, or ""
	Replaces   Replaces

	// What a policy may decide by (package policy).
	Listener    string   // the line of master.cf that took the message: "smtp"; "" for local mail
	Kind        Kind     // noted by cleanup where there is a policy
	Priority    int8     // MT-PRIORITY (RFC 6710), -9 to 9
	HasPriority bool     // the client gave one
	Headers     []Header // fields that the policy of that time names
}

// Trace is a report on every recipient that a user of the machine asked for.
type Trace uint8

// Traces.
const (
	TraceVerify Trace = iota + 1 // sendmail -bv: what would become of mail; nothing is delivered
	TraceRecord                  // sendmail -v: what became of it at the first attempt
)

// Kind says what wrote a message, as its header and its way have it.
type Kind uint8

// The kinds of messages.
const (
	User   Kind = iota // a person, or nothing else was seen
	DSN                // a bounce or notice of ours, or a delivery status notification
	Report             // another multipart/report: feedback, disposition, DMARC
	Auto               // a program: Auto-Submitted (RFC 3834), Precedence bulk, list or junk
)

func (k Kind) String() string {
	return [...]string{"user", "dsn", "report", "auto"}[k&3]
}

// Header is a header field that was captured.
type Header struct {
	Name  string // in lower case
	Value string // unfolded, without white space at its ends and without control characters
}

// The envelope on disk and between programs is a run of fields: tag, length,
// bytes (both numbers as uvarints). A reader passes over tags that it does not
// know; tags are never given a new meaning.
const (
	tagID = iota + 1
	tagSender
	tagRecipient
	tagArrival // microseconds since the epoch
	tagSize
	tagOrigin
	tagClientName
	tagClientAddr
	tagHelo
	tagProtocol
	tagUID
	tagBody
	tagUTF8
	tagEnvID
	tagRet
	tagMessageID
	tagReplaces
	tagReplacesMaildrop
	tagSASLMethod
	tagSASLUser
	tagListener
	tagKind
	tagPriority // 10 more than it is
	tagHeader   // name, NUL, value
	tagTrace
)

// Fields inside a recipient field.
const (
	tagAddress = iota + 1
	tagOriginal
	tagORCPT
	tagNotify
	tagMember
)

// ErrEnvelope is the kind of error for bytes that are no envelope.
var ErrEnvelope = errors.New("mail: malformed envelope")

// AppendEnvelope appends the stored form of e to b.
func AppendEnvelope(b []byte, e *Envelope) []byte {
	b = appendString(b, tagID, string(e.ID))
	b = appendString(b, tagSender, string(e.Sender))
	if !e.Arrival.IsZero() {
		b = appendUint(b, tagArrival, uint64(e.Arrival.UnixMicro()))
	}
	b = appendUint(b, tagSize, uint64(e.Size))
	b = appendUint(b, tagOrigin, uint64(e.Origin))
	b = appendString(b, tagClientName, e.Client.Name)
	b = appendString(b, tagClientAddr, e.Client.Addr)
	b = appendString(b, tagHelo, e.Client.Helo)
	b = appendString(b, tagProtocol, e.Client.Protocol)
	b = appendUint(b, tagUID, uint64(e.Client.UID))
	b = appendUint(b, tagBody, uint64(e.Body))
	if e.UTF8 {
		b = appendUint(b, tagUTF8, 1)
	}
	b = appendString(b, tagEnvID, e.EnvID)
	b = appendString(b, tagRet, e.Ret)
	if e.Trace != 0 {
		b = appendUint(b, tagTrace, uint64(e.Trace))
	}
	b = appendString(b, tagMessageID, e.MessageID)
	if r := &e.Replaces; r.ID != "" {
		n := uvarintLen(uint64(len(r.ID))) + len(r.ID) + uvarintLen(r.File) + uvarintLen(uint64(r.Slot))
		for _, i := range r.Recipients {
			n += uvarintLen(uint64(i))
		}
		b = binary.AppendUvarint(b, tagReplaces)
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendUvarint(b, uint64(len(r.ID)))
		b = append(b, r.ID...)
		b = binary.AppendUvarint(b, r.File)
		b = binary.AppendUvarint(b, uint64(r.Slot))
		for _, i := range r.Recipients {
			b = binary.AppendUvarint(b, uint64(i))
		}
	}
	b = appendString(b, tagReplacesMaildrop, e.Replaces.Maildrop)
	b = appendString(b, tagSASLMethod, e.Client.SASLMethod)
	b = appendString(b, tagSASLUser, e.Client.SASLUser)
	b = appendString(b, tagListener, e.Listener)
	b = appendUint(b, tagKind, uint64(e.Kind))
	if e.HasPriority {
		b = appendUint(b, tagPriority, uint64(e.Priority+10))
	}
	for i := range e.Headers {
		h := &e.Headers[i]
		b = binary.AppendUvarint(b, tagHeader)
		b = binary.AppendUvarint(b, uint64(len(h.Name)+1+len(h.Value)))
		b = append(append(append(b, h.Name...), 0), h.Value...)
	}
	for i := range e.Recipients {
		b = appendRecipient(b, &e.Recipients[i])
	}
	return b
}

func appendRecipient(b []byte, r *Recipient) []byte {
	n := stringLen(string(r.Address)) + stringLen(string(r.Original)) + stringLen(r.ORCPT)
	if r.Notify != 0 {
		n += 3
	}
	if r.Member != 0 {
		n += 2 + uvarintLen(r.Member)
	}
	b = binary.AppendUvarint(b, tagRecipient)
	b = binary.AppendUvarint(b, uint64(n))
	b = appendString(b, tagAddress, string(r.Address))
	b = appendString(b, tagOriginal, string(r.Original))
	b = appendString(b, tagORCPT, r.ORCPT)
	if r.Notify != 0 {
		b = append(b, tagNotify, 1, byte(r.Notify))
	}
	if r.Member != 0 {
		b = appendUint(b, tagMember, r.Member)
	}
	return b
}

// DecodeEnvelope reads the stored form. Any error is ErrEnvelope. The envelope
// does not refer to b: its strings are parts of one copy.
func DecodeEnvelope(b []byte) (*Envelope, error) {
	x := &struct {
		Envelope
		first [1]Recipient // room for what most have
	}{}
	e := &x.Envelope
	err := eachField(string(b), func(tag uint64, v string) error {
		switch tag {
		case tagID:
			e.ID = QueueID(v)
		case tagSender:
			e.Sender = Address(v)
		case tagRecipient:
			r, err := decodeRecipient(v)
			if err != nil {
				return err
			}
			if e.Recipients == nil {
				e.Recipients = x.first[:0]
			}
			e.Recipients = append(e.Recipients, r)
		case tagClientName:
			e.Client.Name = v
		case tagClientAddr:
			e.Client.Addr = v
		case tagHelo:
			e.Client.Helo = v
		case tagProtocol:
			e.Client.Protocol = v
		case tagEnvID:
			e.EnvID = v
		case tagRet:
			e.Ret = v
		case tagMessageID:
			e.MessageID = v
		case tagReplaces:
			e.Replaces.Recipients = nil
			return decodeReplaces(v, &e.Replaces)
		case tagSASLMethod:
			e.Client.SASLMethod = string(v)
		case tagSASLUser:
			e.Client.SASLUser = string(v)
		case tagReplacesMaildrop:
			e.Replaces.Maildrop = v
		case tagListener:
			e.Listener = v
		case tagHeader:
			name, value, ok := strings.Cut(v, "\x00")
			if !ok {
				return ErrEnvelope
			}
			e.Headers = append(e.Headers, Header{name, value})
		case tagArrival, tagSize, tagOrigin, tagUID, tagBody, tagUTF8, tagKind, tagPriority, tagTrace:
			n, k := uvarint(v)
			if k != len(v) || k <= 0 {
				return ErrEnvelope
			}
			switch tag {
			case tagArrival:
				e.Arrival = time.UnixMicro(int64(n))
			case tagSize:
				e.Size = int64(n)
			case tagOrigin:
				e.Origin = Origin(n)
			case tagUID:
				e.Client.UID = uint32(n)
			case tagBody:
				e.Body = Body(n)
			case tagUTF8:
				e.UTF8 = n != 0
			case tagTrace:
				if n > uint64(TraceRecord) {
					return ErrEnvelope
				}
				e.Trace = Trace(n)
			case tagKind:
				e.Kind = Kind(n & 3)
			case tagPriority:
				if n < 1 || n > 19 {
					return ErrEnvelope
				}
				e.Priority, e.HasPriority = int8(n)-10, true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func decodeRecipient(b string) (Recipient, error) {
	var r Recipient
	err := eachField(b, func(tag uint64, v string) error {
		switch tag {
		case tagAddress:
			r.Address = Address(v)
		case tagOriginal:
			r.Original = Address(v)
		case tagORCPT:
			r.ORCPT = v
		case tagNotify:
			if len(v) != 1 {
				return ErrEnvelope
			}
			r.Notify = Notify(v[0])
		case tagMember:
			n, k := uvarint(v)
			if k != len(v) || k <= 0 {
				return ErrEnvelope
			}
			r.Member = n
		}
		return nil
	})
	return r, err
}

func decodeReplaces(b string, r *Replaces) error {
	n, k := uvarint(b)
	if k <= 0 || n == 0 || n > uint64(len(b)-k) {
		return ErrEnvelope
	}
	r.ID = QueueID(b[k : k+int(n)])
	b = b[k+int(n):]
	if r.File, k = uvarint(b); k <= 0 {
		return ErrEnvelope
	}
	b = b[k:]
	slot, k := uvarint(b)
	if k <= 0 || slot > 1<<32-1 {
		return ErrEnvelope
	}
	r.Slot = uint32(slot)
	for b = b[k:]; len(b) > 0; b = b[k:] {
		var i uint64
		if i, k = uvarint(b); k <= 0 || i > 1<<32-1 {
			return ErrEnvelope
		}
		r.Recipients = append(r.Recipients, uint32(i))
	}
	return nil
}

func eachField(b string, f func(tag uint64, v string) error) error {
	for len(b) > 0 {
		tag, k := uvarint(b)
		if k <= 0 {
			return ErrEnvelope
		}
		b = b[k:]
		n, k := uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return ErrEnvelope
		}
		if err := f(tag, b[k:k+int(n)]); err != nil {
			return err
		}
		b = b[k+int(n):]
	}
	return nil
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	var n uint64
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		c := s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, -i - 1 // overflow
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}

func appendString(b []byte, tag uint64, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendUint(b []byte, tag, n uint64) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(uvarintLen(n)))
	return binary.AppendUvarint(b, n)
}

func stringLen(s string) int {
	if s == "" {
		return 0
	}
	return 1 + uvarintLen(uint64(len(s))) + len(s)
}

func uvarintLen(n uint64) int {
	k := 1
	for ; n >= 0x80; n >>= 7 {
		k++
	}
	return k
}
