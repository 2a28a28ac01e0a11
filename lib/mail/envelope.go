package mail

import (
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

// MemberExpanded is the Member of a virtual alias that stands for several recipients, which
// are beside it: it is delivered to nobody, but the sender, who asked for it, hears that it
// was expanded (RFC 3461, 5.2.7.3). cleanup sets it.
const MemberExpanded = 1 << 63

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
	VERP       string // two delimiters: each recipient has a sender of his own; or ""
	Ret        string // "FULL", "HDRS" or ""
	Trace      Trace  // the sender asks what becomes of each recipient
	MessageID  string // of the content, with its angle brackets, or ""
	Replaces   Replaces

	// What a restriction of smtpd or a check of the content decided (access(5), header_checks(5)).
	Hold     bool    // it begins its life on hold
	Discard  bool    // it is taken and forgotten: it never reaches the disk
	Redirect Address // who gets it in the place of all its recipients, or ""; for cleanup alone
	Filter   string  // transport:nexthop by which all of it goes (content_filter), or ""

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
