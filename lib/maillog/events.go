package maillog

import (
	"time"

	"postrider/lib/mail"
)

// Event is something worth a line. The types of this package alone implement
// it.
type Event interface {
	// text appends Postfix's line, without date and tag.
	text(l *line)
	// json appends members of the line's JSON object.
	json(o *object)
}

// Connect: "connect from NAME[ADDR]".
type Connect struct{ Client mail.Client }

// Disconnect: "disconnect from NAME[ADDR] ehlo=1 mail=1 rcpt=0/1 commands=2/3".
// Commands are in the order of smtpd's command table; those never given are
// left out.
type Disconnect struct {
	Client   mail.Client
	Commands []Count
}

// Count is how often a command was given, and how often it succeeded.
type Count struct {
	Name  string // lower case
	OK    int
	Total int
}

// LostConnection: "lost connection after CMD (N bytes) from NAME[ADDR]".
type LostConnection struct {
	Client mail.Client
	After  string // "CONNECT", "DATA"
	Bytes  int64  // of content received, only after DATA; else 0
}

// Timeout: "timeout after CMD (N bytes) from NAME[ADDR]".
type Timeout LostConnection

// TooManyErrors: "too many errors after CMD from NAME[ADDR]".
type TooManyErrors LostConnection

// Client: "ID: client=NAME[ADDR]".
type Client struct {
	Queue  mail.QueueID
	Client mail.Client
}

// Reject: "NOQUEUE: reject: RCPT from NAME[ADDR]: 554 5.7.1 ...; from=<s> to=<r>
// proto=ESMTP helo=<h>". The sender is named from the stage MAIL on.
type Reject struct {
	Queue  mail.QueueID // "" before the message has one
	Action string       // "" means "reject"; else "reject_warning", "hold", ...
	Stage  string       // CONNECT, EHLO, MAIL, RCPT, DATA, END-OF-MESSAGE, VRFY, ETRN
	Client mail.Client
	Reply  string // code, enhanced code and text, as the client got it
	From   mail.Address
	To     mail.Address // "" when it is about no single recipient
}

// Content: "ID: reject: header Subject: x from NAME[ADDR]; from=<s> to=<r> proto=ESMTP
// helo=<h>: text", for what a check of the content does to a message (header_checks(5)).
type Content struct {
	Queue  mail.QueueID
	Action string // "reject", "warning", "hold", ...
	Where  string // "header", "body"
	Line   string // that matched; the first 200 bytes are shown
	Client mail.Client
	Local  bool // it came from this machine
	From   mail.Address
	To     mail.Address // the last recipient
	Text   string       // what the table says behind the action, or ""
}

// Pickup: "ID: uid=1000 from=<alice>", for a message out of maildrop; with
// " orig_id=OLD" for one that was queued again.
type Pickup struct {
	Queue mail.QueueID
	UID   uint32
	From  mail.Address
	Orig  mail.QueueID // of the message that it takes the place of, or ""
}

// MessageID: "ID: message-id=<...>".
type MessageID struct {
	Queue  mail.QueueID
	ID     string // with its angle brackets; "" when the message has none
	Resent bool   // the header is Resent-Message-Id
}

// QueueActive: "ID: from=<s>, size=N, nrcpt=N (queue active)".
type QueueActive struct {
	Queue      mail.QueueID
	From       mail.Address
	Size       int64
	Recipients int
}

// Removed: "ID: removed".
type Removed struct{ Queue mail.QueueID }

// Expired: "ID: from=<s>, status=expired, returned to sender".
type Expired struct {
	Queue  mail.QueueID
	From   mail.Address
	Forced bool // "force-expired": by postsuper
}

// Held: "ID: placed on hold".
type Held struct{ Queue mail.QueueID }

// Released: "ID: released from hold".
type Released struct{ Queue mail.QueueID }

// Delivery: "ID: to=<r>, orig_to=<o>, relay=R, conn_use=N, delay=D,
// delays=a/b/c/d, dsn=X.Y.Z, status=S (TEXT)".
//
// The times are those of proto.Deliver, and of the agent. delays= are the
// seconds before the active queue, in it, for setting up the connection, and
// for the transmission. A time that is zero was never reached: without
// Connected, c is 0 and d counts from Handed; without Handed, b goes to Done;
// without Active, a does.
type Delivery struct {
	Queue     mail.QueueID
	To        mail.Address
	OrigTo    mail.Address // shown when different, but for case
	Relay     string       // "host[addr]:port", "local"; "" means "none"
	ConnUse   int          // shown from the second use on
	Arrival   time.Time
	Active    time.Time
	Handed    time.Time
	Connected time.Time
	Done      time.Time // zero means now
	Status    mail.Status
	Verify    bool // nothing was to be delivered
}

// status is the outcome in Postfix's words.
func (e Delivery) status() string {
	switch {
	case !e.Verify:
		return e.Status.Class.String()
	case e.Status.Class == mail.Sent:
		return "deliverable"
	}
	return "undeliverable"
}

// BounceNotice: "ID: sender non-delivery notification: NEW".
type BounceNotice struct {
	Queue mail.QueueID
	Kind  NoticeKind
	New   mail.QueueID
}

// NoticeKind says which notice was sent, in Postfix's words.
type NoticeKind string

// The notices.
const (
	SenderBounce     NoticeKind = "sender non-delivery notification"
	SenderDelay      NoticeKind = "sender delay notification"
	SenderSuccess    NoticeKind = "sender delivery status notification"
	PostmasterBounce NoticeKind = "postmaster non-delivery notification"
	PostmasterDelay  NoticeKind = "postmaster delay notification"
)

// Info: "ID: text", for what has no event of its own.
type Info struct {
	Queue mail.QueueID
	Text  string
}

// Warning: "warning: ID: text", as Postfix warns about a message.
type Warning Info
