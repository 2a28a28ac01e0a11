// Package transcript keeps what two sides of an SMTP session said, for the postmaster who
// wants to hear of its errors (notify_classes, as Postfix's smtpd_chat.c and smtp_chat.c), and
// makes the message to him.
//
// It imports mail, config and submit, and touches no file or socket.
package transcript

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/submit"
)

// Class is a set of kinds of errors.
type Class uint8

// The classes of notify_classes that are about sessions.
const (
	Policy   Class = 1 << iota // what restrictions and checks of the content refuse
	Protocol                   // errors of the client, or of the server that we speak to
	Resource                   // no room
	Software                   // what does not work here
	Data                       // what tables have is wrong, or cannot be had
)

// most is how many bytes of a session are kept; what is said in the middle of a longer one
// is lost.
const (
	most = 8 << 10
	tail = 2 << 10
)

// Chat is a session as it was said. The nil Chat keeps nothing.
type Chat struct {
	b   []byte
	gap int // where something is missing; 0: nothing is
}

var chats = sync.Pool{New: func() any { return &Chat{b: make([]byte, 0, 1<<10)} }}

// Begin returns an empty Chat; End gives it back.
func Begin() *Chat { return chats.Get().(*Chat) }

// End forgets what was said.
func (c *Chat) End() {
	if c == nil || cap(c.b) > most {
		return
	}
	c.b, c.gap = c.b[:0], 0
	chats.Put(c)
}

// In notes what the other side said, Out what we did. Line ends are left out.
func (c *Chat) In(line []byte) { c.note("In:  ", line) }

// Out notes a reply or command of ours.
func (c *Chat) Out(line []byte) { c.note("Out: ", line) }

// Reply notes a reply of ours as it goes over the wire: LF is between the lines of text.
func (c *Chat) Reply(code int, dsn, text string) {
	if c == nil {
		return
	}
	for more := true; more; {
		var line string
		line, text, more = strings.Cut(text, "\n")
		line = line[:min(len(line), longest)]
		if len(c.b)+len(line)+32 > most {
			c.drop()
		}
		c.b = strconv.AppendInt(append(c.b, "Out: "...), int64(code), 10)
		if more {
			c.b = append(c.b, '-')
		} else {
			c.b = append(c.b, ' ')
		}
		if dsn != "" {
			c.b = append(append(c.b, dsn...), ' ')
		}
		c.b = append(append(c.b, line...), '\n')
	}
}

// longest is how much of one line is kept.
const longest = 512

func (c *Chat) note(side string, text []byte) {
	if c == nil {
		return
	}
	for len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = nil
		}
		line = bytes.TrimRight(line, "\r")
		line = line[:min(len(line), longest)]
		if len(c.b)+len(side)+len(line)+1 > most {
			c.drop()
		}
		c.b = append(append(append(c.b, side...), line...), '\n')
	}
}

// drop forgets lines of the middle: the beginning tells who spoke, the end what went wrong.
func (c *Chat) drop() {
	if c.gap == 0 {
		c.gap = bytes.LastIndexByte(c.b[:most/2], '\n') + 1
	}
	from := len(c.b) - tail
	from += bytes.IndexByte(c.b[from:], '\n') + 1
	c.b = append(c.b[:c.gap], c.b[from:]...)
}

// Settings are what main.cf says of such notices.
type Settings struct {
	Classes Class
	from    mail.Address   // double_bounce_sender
	to      mail.Recipient // error_notice_recipient
	name    string         // mail_name
}

// NewSettings reads them.
func NewSettings(c *config.Config) Settings {
	s := Settings{from: mail.Address(c.String("double_bounce_sender") + "@" + c.String("myhostname")), name: c.String("mail_name")}
	for name, class := range map[string]Class{"policy": Policy, "protocol": Protocol, "resource": Resource, "software": Software, "data": Data} {
		for _, w := range c.List("notify_classes") {
			if w == name {
				s.Classes |= class
			}
		}
	}
	to := c.String("error_notice_recipient")
	s.to.Address = mail.Address(to)
	if !strings.Contains(to, "@") {
		s.to = mail.Recipient{Address: mail.Address(to + "@" + c.String("myorigin")), Original: mail.Address(to)}
	}
	return s
}

// IsNotice says whether mail from a sender is such a notice itself: nobody is told of errors
// with that.
func (s *Settings) IsNotice(sender mail.Address) bool {
	return strings.EqualFold(string(sender), string(s.from))
}

// Sender sends notices, one a second at most: a storm of errors makes no storm of mail.
type Sender struct {
	Submit *submit.Client
	IDs    *mail.IDs

	mu   sync.Mutex
	next time.Time
}

// pause is between two notices of a process.
const pause = time.Second

// Report is one notice.
type Report struct {
	Side   string // "server" or "client"
	Peer   string // "NAME[ADDR]"
	Why    string // why the session was broken off, or ""
	Answer bool   // it is about what a server answered
	Chat   *Chat
}

// Send tells the postmaster of a session. It returns the notice's queue id, "" when none was
// sent for there was one just now, and an error when it could not be queued.
func (n *Sender) Send(s *Settings, r Report) (mail.QueueID, error) {
	now := time.Now()
	n.mu.Lock()
	late := now.Before(n.next)
	if !late {
		n.next = now.Add(pause)
	}
	n.mu.Unlock()
	if late || r.Chat == nil {
		return "", nil
	}
	env := &mail.Envelope{ID: n.IDs.Next(now), Sender: s.from, Recipients: []mail.Recipient{s.to},
		Arrival: now, Origin: mail.FromBounce, Body: mail.Body7Bit}
	return env.ID, n.Submit.Submit(env, true, s.text(&r))
}

// text is the message.
func (s *Settings) text(r *Report) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail Delivery System <MAILER-DAEMON>")
	line("To: %s (Postmaster)", s.to.Address.External())
	line("Subject: %s SMTP %s: errors from %s", printable([]byte(s.name)), r.Side, printable([]byte(r.Peer)))
	line("")
	if r.Answer {
		line("Unexpected response from %s.", printable([]byte(r.Peer)))
		line("")
	}
	line("Transcript of session follows.")
	line("")
	for at, rest := 0, r.Chat.b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if r.Chat.gap > 0 && at == r.Chat.gap {
			line(" [...]")
		}
		wrap(&b, printable(rest[:i]))
		rest, at = rest[i+1:], at+i+1
	}
	line("")
	if r.Why != "" {
		line("Session aborted, reason: %s", r.Why)
		line("")
	}
	line("For other details, see the local mail logfile")
	return b.Bytes()
}

// wrap writes a line in pieces of 78 bytes, those behind the first indented.
func wrap(b *bytes.Buffer, text string) {
	const width, indent = 78, 4
	for lead, room := " ", width-1; ; lead, room = strings.Repeat(" ", indent), width-indent {
		if len(text) <= room {
			b.WriteString(lead + text + "\r\n")
			return
		}
		cut := strings.LastIndexByte(text[:room+1], ' ')
		if cut <= len("Out: ") {
			cut = room
		}
		b.WriteString(lead + strings.TrimRight(text[:cut], " ") + "\r\n")
		text = strings.TrimLeft(text[cut:], " ")
	}
}

// printable is a line as it may stand in a message.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, string(b))
}
