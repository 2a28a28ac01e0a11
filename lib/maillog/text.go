package maillog

import (
	"strings"

	"postrider/lib/mail"
)

// line is a line being made.
type line struct {
	b          []byte
	resolution int // decimals of a delay
}

func (l *line) str(s string) { l.b = append(l.b, s...) }

// peer appends text that may come from outside.
func (l *line) peer(s string) { l.b = appendPrintable(l.b, s) }

func (l *line) id(id mail.QueueID) {
	l.peer(string(id))
	l.str(": ")
}

func (l *line) address(key string, a mail.Address) {
	l.str(key)
	l.str("=<")
	l.peer(a.External())
	l.str(">")
}

// client appends "NAME[ADDR]".
func (l *line) client(c *mail.Client) {
	if c.Name == "" {
		l.str("unknown")
	} else {
		l.peer(c.Name)
	}
	l.str("[")
	if c.Addr == "" {
		l.str("unknown")
	} else {
		l.peer(c.Addr)
	}
	l.str("]")
}

func (l *line) after(what string, e *LostConnection) {
	l.str(what)
	l.str(" after ")
	l.peer(e.After)
	if e.Bytes > 0 {
		l.str(" (")
		l.int(e.Bytes)
		l.str(" bytes)")
	}
	l.str(" from ")
	l.client(&e.Client)
}

func (e Connect) text(l *line) {
	l.str("connect from ")
	l.client(&e.Client)
}

func (e Disconnect) text(l *line) {
	l.str("disconnect from ")
	l.client(&e.Client)
	ok, total := 0, 0
	for _, c := range e.Commands {
		ok, total = ok+c.OK, total+c.Total
		l.count(c)
	}
	l.count(Count{"commands", ok, total})
}

func (l *line) count(c Count) {
	if c.Total == 0 && c.Name != "commands" {
		return
	}
	l.str(" ")
	l.str(c.Name)
	l.str("=")
	l.int(int64(c.OK))
	if c.OK != c.Total {
		l.str("/")
		l.int(int64(c.Total))
	}
}

func (e LostConnection) text(l *line) { l.after("lost connection", &e) }
func (e Timeout) text(l *line)        { l.after("timeout", (*LostConnection)(&e)) }
func (e TooManyErrors) text(l *line)  { l.after("too many errors", (*LostConnection)(&e)) }

func (e Client) text(l *line) {
	l.id(e.Queue)
	l.str("client=")
	l.client(&e.Client)
	if e.Client.SASLMethod != "" {
		l.str(", sasl_method=")
		l.peer(e.Client.SASLMethod)
	}
	if e.Client.SASLUser != "" {
		l.str(", sasl_username=")
		l.peer(e.Client.SASLUser)
	}
}

// hasSender says whether a reject at this stage knows the sender.
func (e *Reject) hasSender() bool {
	switch e.Stage {
	case "CONNECT", "HELO", "EHLO", "STARTTLS", "AUTH":
		return false
	case "VRFY", "ETRN":
		return e.From != ""
	}
	return true
}

func (e *Reject) action() string {
	if e.Action == "" {
		return "reject"
	}
	return e.Action
}

func (e Reject) text(l *line) {
	if e.Queue == "" {
		l.str("NOQUEUE: ")
	} else {
		l.id(e.Queue)
	}
	l.str(e.action())
	l.str(": ")
	l.peer(e.Stage)
	l.str(" from ")
	l.client(&e.Client)
	l.str(": ")
	l.peer(e.Reply)
	sep := ";"
	field := func() { l.str(sep + " "); sep = "" }
	if e.hasSender() {
		field()
		l.address("from", e.From)
	}
	if e.To != "" {
		field()
		l.address("to", e.To)
	}
	if e.Client.Protocol != "" {
		field()
		l.str("proto=")
		l.peer(e.Client.Protocol)
	}
	if e.Client.Helo != "" {
		field()
		l.str("helo=<")
		l.peer(e.Client.Helo)
		l.str(">")
	}
	if e.Client.SASLUser != "" { // as from Postfix 3.10 on
		field()
		l.str("sasl_method=")
		l.peer(e.Client.SASLMethod)
		l.str(" sasl_username=<")
		l.peer(e.Client.SASLUser)
		l.str(">")
	}
}

func (e *Content) line() string {
	if e.Line == "" {
		return ""
	}
	return e.Line[:min(len(e.Line), 200)]
}

func (e Content) text(l *line) {
	l.id(e.Queue)
	l.str(e.Action + ": " + e.Where + " ")
	l.peer(e.line())
	l.str(" from ")
	if e.Local {
		l.str("local")
	} else {
		l.client(&e.Client)
	}
	l.str(";")
	l.address(" from", e.From)
	if e.To != "" {
		l.address(" to", e.To)
	}
	if !e.Local && e.Client.Protocol != "" {
		l.str(" proto=")
		l.peer(e.Client.Protocol)
	}
	if !e.Local && e.Client.Helo != "" {
		l.str(" helo=<")
		l.peer(e.Client.Helo)
		l.str(">")
	}
	if e.Text != "" {
		l.str(": ")
		l.peer(e.Text)
	}
}

func (e Pickup) text(l *line) {
	l.id(e.Queue)
	l.str("uid=")
	l.int(int64(e.UID))
	l.address(" from", e.From)
	if e.Orig != "" {
		l.str(" orig_id=")
		l.str(string(e.Orig))
	}
}

func (e MessageID) text(l *line) {
	l.id(e.Queue)
	if e.Resent {
		l.str("resent-")
	}
	l.str("message-id=")
	if e.ID == "" {
		l.str("<>")
	} else {
		l.peer(e.ID)
	}
}

func (e QueueActive) text(l *line) {
	l.id(e.Queue)
	l.address("from", e.From)
	l.str(", size=")
	l.int(e.Size)
	l.str(", nrcpt=")
	l.int(int64(e.Recipients))
	l.str(" (queue active)")
}

func (e Removed) text(l *line) {
	l.id(e.Queue)
	l.str("removed")
}

func (e *Expired) status() string {
	if e.Forced {
		return "force-expired"
	}
	return "expired"
}

func (e Expired) text(l *line) {
	l.id(e.Queue)
	l.address("from", e.From)
	l.str(", status=")
	l.str(e.status())
	l.str(", returned to sender")
}

func (e Held) text(l *line) {
	l.id(e.Queue)
	l.str("placed on hold")
}

func (e Released) text(l *line) {
	l.id(e.Queue)
	l.str("released from hold")
}

func (e *Delivery) relay() string {
	if e.Relay == "" {
		return "none"
	}
	return e.Relay
}

func (e *Delivery) showsOrigTo() bool {
	return e.OrigTo != "" && !strings.EqualFold(string(e.OrigTo), string(e.To))
}

func (e Delivery) text(l *line) {
	d := e.delays()
	l.id(e.Queue)
	l.address("to", e.To)
	if e.showsOrigTo() {
		l.address(", orig_to", e.OrigTo)
	}
	l.str(", relay=")
	l.peer(e.relay())
	if e.ConnUse > 1 {
		l.str(", conn_use=")
		l.int(int64(e.ConnUse))
	}
	l.str(", delay=")
	l.delay(d.total)
	l.str(", delays=")
	for i, p := range d.parts {
		if i > 0 {
			l.str("/")
		}
		l.delay(p)
	}
	l.str(", dsn=")
	l.peer(e.Status.DSN)
	l.str(", status=")
	l.str(e.status())
	l.str(" (")
	l.peer(e.Status.Text)
	l.str(")")
}

func (e BounceNotice) text(l *line) {
	l.id(e.Queue)
	l.str(string(e.Kind))
	l.str(": ")
	l.peer(string(e.New))
}

func (e Info) text(l *line) {
	l.id(e.Queue)
	l.peer(e.Text)
}

func (e Warning) text(l *line) {
	l.str("warning: ")
	Info(e).text(l)
}
