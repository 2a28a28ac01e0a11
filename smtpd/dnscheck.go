package smtpd

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/proto"
)

// claimedName is the name that the client's address claims, whether or not it leads back.
func (f *front) claimedName() string {
	if f.client.Name != "unknown" || f.claimed == "" {
		return f.client.Name
	}
	return f.claimed
}

func (c *check) unknownClient() verdict {
	if c.f.client.Name != "unknown" {
		return dunno
	}
	return c.noName(c.f.nameLater, "cannot find your hostname")
}

func (c *check) unknownReverse() verdict {
	if c.f.claimedName() != "unknown" {
		return dunno
	}
	return c.noName(c.f.nameLater, "cannot find your reverse hostname")
}

func (c *check) unknownForward() verdict {
	if c.f.client.Name != "unknown" || c.f.claimedName() == "unknown" {
		return dunno
	}
	return c.noName(c.f.nameLater, "cannot find your hostname")
}

// noName refuses a client without a name; for now when one may be found later.
func (c *check) noName(later bool, text string) verdict {
	code := c.a.code.unknownClient
	if later {
		code = 450
	}
	return c.reject(reply{code, "4.7.25", "Client host rejected: " + text + ", [" + c.f.client.Addr + "]"})
}

func (c *check) invalidHelo() verdict {
	helo := c.f.client.Helo
	switch {
	case helo == "":
		return dunno
	case strings.HasPrefix(helo, "["):
		if _, ok := literal(helo); ok && strings.HasSuffix(helo, "]") {
			return dunno
		}
		return c.refuse(c.a.code.invalidHelo, "5.5.2", helo, heloClass, "invalid ip address")
	case validHost(strings.TrimSuffix(helo, ".")):
		return dunno
	}
	return c.refuse(c.a.code.invalidHelo, "5.5.2", helo, heloClass, "Invalid name")
}

// validHost says whether s is a host name as Postfix's valid_hostname() has it: not all
// numbers.
func validHost(s string) bool {
	return address.ValidDomain(s) && !strings.HasPrefix(s, "[")
}

func (c *check) shortHelo() verdict {
	helo := c.f.client.Helo
	switch {
	case helo == "":
		return dunno
	case strings.HasPrefix(helo, "["):
		return c.invalidHelo()
	case validHost(strings.TrimSuffix(helo, ".")) && strings.Contains(strings.TrimSuffix(helo, "."), "."):
		return dunno
	}
	return c.refuse(c.a.code.short, "5.5.2", helo, heloClass, "need fully-qualified hostname")
}

// short refuses an address whose domain has no dot in it.
func (c *check) short(domain, name, class string) verdict {
	d := strings.TrimSuffix(domain, ".")
	if strings.HasPrefix(d, "[") || validHost(d) && strings.Contains(d, ".") {
		return dunno
	}
	return c.refuse(c.a.code.short, "5.5.2", name, class, "need fully-qualified address")
}

func (c *check) tell(kind proto.AskKind, name string) proto.Told {
	s := c.f.service.server
	return s.names.tell(kind, name, s.stopping)
}

func (c *check) unknownHelo() verdict {
	helo := c.f.client.Helo
	switch {
	case helo == "":
		return dunno
	case strings.HasPrefix(helo, "["):
		return c.invalidHelo()
	}
	o := c.tell(proto.AskAddr, helo).Outcome
	if o == proto.NameNotFound {
		o = c.tell(proto.AskMX, helo).Outcome
	}
	switch o {
	case proto.NameFound, proto.NameNoMail:
		return dunno
	case proto.NameNotFound:
		return c.refuse(c.a.code.unknownHelo, "4.7.1", helo, heloClass, "Host not found")
	}
	return c.unsure(c.a.heloNow, 450, "4.7.1", helo, heloClass, "Host not found")
}

func (c *check) unknownSender() verdict {
	if !c.mailed || c.sender == "" {
		return dunno
	}
	rt, err := c.a.resolver.Resolve(context.Background(), "", c.sender)
	if err != nil {
		return c.unknown(c.sender.External())
	}
	if rt.Bad != nil || rt.Class != address.Default && rt.Class != address.Relay {
		return dunno
	}
	return c.unknownDomain(rt.Recipient.Domain(), c.sender.External(), senderClass)
}

// unknownDomain refuses an address in a domain to which no mail can go.
func (c *check) unknownDomain(domain, name, class string) verdict {
	if domain == "" || strings.HasPrefix(domain, "[") {
		return dunno
	}
	dsn, null, nullDSN := "4.1.2", 556, "5.1.10"
	if class == senderClass {
		dsn, null, nullDSN = "4.1.8", 550, "5.7.27"
	}
	o := c.tell(proto.AskMX, domain).Outcome
	if o == proto.NameNotFound {
		o = c.tell(proto.AskAddr, domain).Outcome
	}
	switch o {
	case proto.NameFound:
		return dunno
	case proto.NameNoMail:
		return c.refuse(null, nullDSN, name, class, "Domain "+domain+" does not accept mail (nullMX)")
	case proto.NameNotFound:
		return c.refuse(c.a.code.unknownAddress, dsn, name, class, "Domain not found")
	}
	return c.unsure(c.a.addressNow, 450, dsn, name, class, "Domain not found")
}

// lists are the restrictions that ask a list in the DNS.
var lists = map[string]func(*blockList) func(*check) verdict{
	"reject_rbl_client": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, reversed(c.f.addr), c.f.client.Addr, clientClass) }
	},
	"permit_dnswl_client": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.allow(c, reversed(c.f.addr)) }
	},
	"reject_rhsbl_client": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, known(c.f.client.Name), c.f.client.Name, clientClass) }
	},
	"permit_rhswl_client": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.allow(c, known(c.f.client.Name)) }
	},
	"reject_rhsbl_reverse_client": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, known(c.f.claimedName()), c.f.claimedName(), reverseClass) }
	},
	"reject_rhsbl_helo": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, c.f.client.Helo, c.f.client.Helo, heloClass) }
	},
	"reject_rhsbl_sender": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, c.sender.Domain(), c.sender.External(), senderClass) }
	},
	"reject_rhsbl_recipient": func(l *blockList) func(*check) verdict {
		return func(c *check) verdict { return l.judge(c, c.rcpt.Domain(), c.rcpt.External(), recipientClass) }
	},
}

func known(name string) string {
	if name == "unknown" {
		return ""
	}
	return name
}

// reversed is an address as lists in the DNS want it (RFC 5782).
func reversed(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	var parts []string
	if a = a.Unmap(); a.Is4() {
		for _, b := range a.As4() {
			parts = append(parts, strconv.Itoa(int(b)))
		}
	} else {
		for _, b := range a.As16() {
			parts = append(parts, strconv.FormatUint(uint64(b>>4), 16), strconv.FormatUint(uint64(b&15), 16))
		}
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// blockList is a list in the DNS: a domain, and which answers count ("zen.example=127.0.0.[2..11]").
type blockList struct {
	domain string
	ranges [4][][2]byte // for each byte of the answer
	any    bool
}

// newBlockList reads "domain" or "domain=d.d.d.d", where d is a number or [n..m;k].
func newBlockList(text string) *blockList {
	l := &blockList{}
	var filter string
	l.domain, filter, l.any = strings.Cut(text, "=")
	if l.any = !l.any; l.any {
		return l
	}
	rest := filter
	for i := range l.ranges {
		var part string
		if strings.HasPrefix(rest, "[") {
			part, rest, _ = strings.Cut(rest[1:], "]")
			rest = strings.TrimPrefix(rest, ".")
		} else {
			part, rest, _ = strings.Cut(rest, ".")
		}
		for _, p := range strings.Split(part, ";") {
			from, to, ok := strings.Cut(p, "..")
			if !ok {
				to = from
			}
			a, err1 := strconv.ParseUint(from, 10, 8)
			b, err2 := strconv.ParseUint(to, 10, 8)
			if err1 == nil && err2 == nil {
				l.ranges[i] = append(l.ranges[i], [2]byte{byte(a), byte(b)})
			}
		}
	}
	return l
}

// counts says whether an answer is one that is meant.
func (l *blockList) counts(answer string) bool {
	if l.any {
		return true
	}
	a, err := netip.ParseAddr(answer)
	if err != nil || !a.Is4() {
		return false
	}
	for i, b := range a.As4() {
		if !slices.ContainsFunc(l.ranges[i], func(r [2]byte) bool { return b >= r[0] && b <= r[1] }) {
			return false
		}
	}
	return true
}

// has says whether the list has the name.
func (l *blockList) has(c *check, name string) (listed, known bool) {
	a := c.tell(proto.AskAddr4, name+"."+l.domain)
	if a.Outcome == proto.NameUnknown {
		c.f.log.Warnf("%s.%s: RBL lookup error: Host or domain name not found. Name service error for name=%s.%s type=A: Host not found, try again", name, l.domain, name, l.domain)
	}
	return a.Outcome == proto.NameFound && slices.ContainsFunc(a.Values, l.counts), a.Outcome != proto.NameUnknown
}

// judge refuses what the list has. What cannot be found out is no reason to refuse.
func (l *blockList) judge(c *check, name, what, class string) verdict {
	if name == "" || strings.HasPrefix(name, "[") {
		return dunno
	}
	if listed, _ := l.has(c, name); !listed {
		return dunno
	}
	reason := ""
	if a := c.tell(proto.AskText, name+"."+l.domain); a.Outcome == proto.NameFound {
		reason = a.Values[0]
	}
	words := c.a.rblReply
	if v, ok, err := c.a.rblReplies.First(context.Background(), []string{l.domain}); err == nil && ok {
		words = v
	}
	text, err := config.Expand(words, func(name string) string {
		switch name {
		case "rbl_code":
			return strconv.Itoa(c.a.code.blocked)
		case "rbl_class":
			return class
		case "rbl_what":
			return what
		case "rbl_domain":
			return l.domain
		case "rbl_reason", "rbl_txt":
			return printable(reason)
		case "client":
			return c.f.clientName()
		case "client_address":
			return c.f.client.Addr
		case "client_name":
			return c.f.client.Name
		case "reverse_client_name":
			return c.f.claimedName()
		case "helo_name":
			return c.f.client.Helo
		case "sender":
			if c.sender == "" {
				return "<>"
			}
			return string(c.sender)
		case "sender_domain":
			return c.sender.Domain()
		case "sender_name":
			return c.sender.Local()
		case "recipient":
			return string(c.rcpt)
		case "recipient_domain":
			return c.rcpt.Domain()
		case "recipient_name":
			return c.rcpt.Local()
		}
		return ""
	})
	if err != nil {
		c.f.log.Warnf("default_rbl_reply: %v", err)
		text = strconv.Itoa(c.a.code.blocked) + " Service unavailable; " + class + " [" + what + "] blocked using " + l.domain
	}
	code := c.a.code.blocked
	if len(text) > 4 && text[3] == ' ' {
		if n, err := strconv.Atoi(text[:3]); err == nil && n >= 400 && n < 600 {
			code, text = n, text[4:]
		}
	}
	dsn, text := splitDSN(text, "5.7.1")
	return c.reject(reply{code, dsn, text})
}

// allow permits what the list has; where that cannot be found out, nobody is refused for good.
func (l *blockList) allow(c *check, name string) verdict {
	if name == "" {
		return dunno
	}
	listed, known := l.has(c, name)
	if !known {
		c.softly(450, "4.7.1", c.name, c.class, "Service unavailable")
	}
	return allow(listed)
}
