package mail

// Class is what became of a delivery to one recipient.
type Class uint8

// The classes, in Postfix's words (status= in the log).
const (
	Deferred Class = iota // not now; try again later
	Sent                  // done
	Bounced               // failed for good
)

func (c Class) String() string {
	switch c {
	case Sent:
		return "sent"
	case Bounced:
		return "bounced"
	}
	return "deferred"
}

// Status is the outcome of one delivery attempt for one recipient, or for the
// whole hop. Text comes from peers: whoever writes it to a log or a report
// escapes it.
type Status struct {
	Class     Class
	DSN       string // enhanced status code, RFC 3463: "4.4.1"
	Text      string // the reason or the last reply, one line
	RemoteMTA string // host that gave the reply, "" when none did (RFC 3464, 2.3.5)
	Diag      string // the remote's reply alone: "550 5.1.1 no such user", or ""
}
