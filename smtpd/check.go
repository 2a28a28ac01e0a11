package smtpd

import (
	"net/netip"
	"strings"

	"postrider/lib/address"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/transcript"
)

// verdict is what a restriction, or a list of them, says of a request.
type verdict uint8

const (
	dunno   verdict = iota // the next one decides
	permit                 // this list has nothing against it
	refused                // check.answer says why
)

// stage is a list of restrictions.
type stage uint8

// The stages, in the order in which they are judged, and the lists (config.RestrictionLists).
const (
	atClient stage = iota
	atHelo
	atSender
	atRelay
	atRecipient
	atData
	atEnd
	stages
)

// The words for what is judged, in replies.
const (
	clientClass    = "Client host"
	reverseClass   = "Unverified Client host"
	loginClass     = "SASL login name"
	heloClass      = "Helo command"
	senderClass    = "Sender address"
	recipientClass = "Recipient address"
	dataClass      = "Data command"
	endClass       = "End-of-data"
)

// check is one request that is judged: by the lists of its stage, and by those that were put
// off until then (smtpd_delay_reject). Restrictions may change what becomes of the message
// (front.acts). It keeps to Postfix's smtpd_check.c in what goes before what.
type check struct {
	f     *front
	a     *access
	where string // the command, for the log
	at    stage
	name  string // what the list is about, in replies: "a@b", "unknown[192.0.2.1]"
	class string // the words for it

	sender mail.Address
	mailed bool // there is a sender
	rcpt   mail.Address
	named  bool // there is a recipient
	count  int  // of recipients taken so far
	size   int64
	route  address.Route // of rcpt

	depth    int
	warning  int   // the depth at which warn_if_reject holds, or 0
	ifPermit reply // what is said in the place of a permission (defer_if_permit)
	ifReject reply // and of a permanent refusal (defer_if_reject)
	listed   bool  // the recipient was looked up where it should be
	answer   reply // the refusal
}

// restriction is one that was read from a list; warn says that it is warn_if_reject, which is
// about the next one.
type restriction struct {
	warn bool
	do   func(*check) verdict
}

// maxDepth is how deep lists may name lists, and tables.
const maxDepth = 100

// run judges by one list.
func (c *check) run(list []restriction) (v verdict) {
	if c.depth >= maxDepth {
		c.f.log.Warnf("smtpd restrictions are nested deeper than %d", maxDepth)
		return c.server()
	}
	c.depth++
	defer func() { c.depth-- }()
	for i := range list {
		if c.f.acts.discard {
			break
		}
		if list[i].warn {
			if c.warning == 0 {
				c.warning = c.depth
			}
			continue
		}
		v = list[i].do(c)
		if c.warning >= c.depth {
			c.warning = 0
		}
		if v != dunno || c.ifPermit.code != 0 && c.ifReject.code != 0 {
			break
		}
	}
	return v
}

// stage judges by the list of a stage.
func (c *check) stage(s stage, name, class string) verdict {
	list := c.a.lists[s]
	if len(list) == 0 {
		return dunno
	}
	c.at, c.name, c.class = s, name, class
	c.warning, c.ifReject = 0, reply{}
	return c.run(list)
}

// client, helo and mail judge what those commands brought.
func (c *check) client() verdict {
	if len(c.a.lists[atClient]) == 0 {
		return dunno
	}
	return c.stage(atClient, c.f.clientName(), clientClass)
}

func (c *check) helo() verdict { return c.stage(atHelo, c.f.client.Helo, heloClass) }

func (c *check) mail() verdict {
	v := dunno
	if len(c.a.lists[atSender]) > 0 {
		v = c.stage(atSender, c.sender.External(), senderClass)
	}
	if v != refused && c.a.unlistedSender {
		v = c.unlistedSender()
	}
	return v
}

// recipient judges a recipient, and what was put off until there is one.
func (c *check) recipient() (v verdict) {
	if c.a.delay {
		if c.client() == refused || c.helo() == refused || c.mail() == refused {
			return refused
		}
	}
	for _, s := range c.a.order {
		if v = c.stage(s, c.rcpt.External(), recipientClass); v == refused {
			return v
		}
	}
	if c.ifPermit.code != 0 {
		return c.reject(c.ifPermit)
	}
	if c.a.unlisted && !c.listed && !c.f.acts.discard {
		return c.unlistedRecipient()
	}
	return v
}

// command judges DATA and the end of the content.
func (c *check) command(s stage, name, class string) verdict {
	v := c.stage(s, name, class)
	if v != refused && c.ifPermit.code != 0 {
		return c.reject(c.ifPermit)
	}
	return v
}

// refuse refuses what is judged, in the words of Postfix.
func (c *check) refuse(code int, dsn, name, class, text string) verdict {
	return c.reject(reply{code, dsn, "<" + name + ">: " + class + " rejected: " + text})
}

// reject refuses the request: with other words where it cannot be known whether it would be
// taken (defer_if_reject), in the log alone behind warn_if_reject.
func (c *check) reject(r reply) verdict {
	if c.warning == 0 && c.ifReject.code != 0 && r.code/100 == 5 {
		r, c.ifReject = c.ifReject, reply{}
	}
	if c.a.soft && r.code/100 == 5 {
		r.code -= 100
	}
	return c.settle(r, c.warning > 0)
}

// settle logs a refusal, and makes it the answer unless it is only a warning.
func (c *check) settle(r reply, warn bool) verdict {
	if r.dsn != "" {
		r.dsn = string(byte('0'+r.code/100)) + r.dsn[1:]
	}
	r.text = printable(r.text)
	if c.f.blame == 0 {
		c.f.blame = transcript.Policy
	}
	c.f.errs |= c.f.blame // also when it is a warning
	action := ""
	if warn {
		action = "reject_warning"
	}
	c.note(action, r.String())
	if warn {
		c.f.blame = 0
		return dunno
	}
	c.answer = r
	return refused
}

// server refuses for now what nobody can judge: it is our fault, and no warning.
func (c *check) server() verdict {
	c.f.blame = transcript.Software
	return c.settle(reply{451, "4.3.5", "Server configuration error"}, false)
}

// unknown is a lookup that failed for now.
func (c *check) unknown(name string) verdict {
	c.f.blame = transcript.Data
	return c.settle(reply{451, "4.3.0", "<" + name + ">: Temporary lookup failure"}, false)
}

// unsure refuses for now what a restriction could not find out: at once, or in the place of
// a permission.
func (c *check) unsure(atOnce bool, code int, dsn, name, class, text string) verdict {
	r := reply{code, dsn, printable("<" + name + ">: " + class + " rejected: " + text)}
	switch {
	case atOnce:
		return c.reject(r)
	case c.warning > 0:
		return c.settle(r, true)
	case c.ifPermit.code == 0:
		c.ifPermit = r
	}
	return dunno
}

// note writes a line of the log: about a refusal, or an action.
func (c *check) note(action, text string) {
	e := maillog.Reject{Action: action, Stage: c.where, Client: c.f.client, Reply: text, To: c.rcpt, From: c.sender}
	if c.f.tx != nil {
		e.Queue = c.f.tx.env.ID
	}
	c.f.log.Event(e)
}

func (f *front) clientName() string { return f.client.Name + "[" + f.client.Addr + "]" }

// check begins to judge a command; what the last one was about is over.
func (f *front) check(where string) *check {
	c := &f.judged
	*c = check{f: f, a: &f.set.access, where: where}
	if f.tx != nil {
		c.sender, c.mailed, c.count = f.tx.env.Sender, true, len(f.tx.env.Recipients)
		c.ifPermit = f.tx.ifPermit
	} else {
		c.ifPermit = f.ifPermit
	}
	return c
}

func (c *check) trusted() (bool, error) { return c.a.trusted(c.f.addr) }

func (c *check) own() bool {
	for _, p := range c.f.set.own {
		if p.Addr() == c.f.addr {
			return true
		}
	}
	return false
}

// printable is text that may stand in a reply and in the log.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// literal reads [192.0.2.1] and [IPv6:2001:db8::1] in HELO.
func literal(s string) (netip.Addr, bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}
