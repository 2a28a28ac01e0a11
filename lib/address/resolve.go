package address

import (
	"context"
	"net/netip"
	"strings"

	"postrider/lib/mail"
)

// Class is what a recipient's domain is to this system.
type Class uint8

// The classes of domains.
const (
	Default Class = iota // not ours: relayed only for whom we trust
	Local                // mydestination and our addresses
	Relay                // relay_domains
	Virtual              // virtual_alias_domains
	Mailbox              // virtual_mailbox_domains
)

func (c Class) String() string {
	return [...]string{"default", "local", "relay", "virtual alias", "virtual mailbox"}[c]
}

// unknownVirtual is the outcome for an address of virtual_alias_domains that is still
// there when mail is delivered: virtual_alias_maps do not have it.
const unknownVirtual = "5.1.1 User unknown in virtual alias table"

// Route is where a recipient goes.
type Route struct {
	Transport string // a line of master.cf
	NextHop   string
	Recipient mail.Address // completed, and without the domains of ours that it was routed by
	Class     Class

	// Routed is set when the address is not local and a local part chose the
	// destination or may choose it further on: user%other@ours,
	// "user@other"@ours, @ours:user@other, other!user@ours, user%other@relayed.
	Routed bool

	// Moved is the new address when relocated_maps have one.
	Moved string

	// Bad, if not nil, is why the address cannot be delivered at all; then
	// there is no transport.
	Bad *mail.Status
}

// Authorised says whether anybody may send to the recipient through us: its
// domain is local or relayed, and it was not routed.
func (rt *Route) Authorised() bool {
	return rt.Bad == nil && rt.Class != Default && !rt.Routed
}

// Resolve finds the route of a recipient. The sender is what routing by sender
// will need; nothing uses it yet.
func (r *Resolver) Resolve(ctx context.Context, sender, rcpt mail.Address) (Route, error) {
	rt, domain, err := r.classify(ctx, string(rcpt))
	if err != nil || rt.Bad != nil {
		return rt, err
	}
	hop := domain
	switch rt.Class {
	case Local:
		rt.Transport, rt.NextHop = target(r.localTransport, r.myhostname)
	case Relay:
		if r.relayhost != "" {
			hop = r.relayhost
		}
		rt.Transport, rt.NextHop = target(r.relayTransport, hop)
	case Virtual:
		rt.Transport, rt.NextHop = "error", unknownVirtual
	case Mailbox:
		rt.Transport, rt.NextHop = target(r.virtualTransport, domain)
	case Default:
		if r.relayhost != "" {
			hop = r.relayhost
		}
		rt.Transport, rt.NextHop = target(r.defaultTransport, hop)
	}
	if len(r.transport) > 0 && rt.Class != Virtual {
		v, ok, err := r.transport.First(ctx, r.split.TransportKeys(rt.Recipient.Local(), domain))
		if err != nil {
			return rt, err
		}
		if ok {
			rt.override(v, domain)
		}
	}
	if len(r.relocated) > 0 {
		v, ok, err := r.relocated.First(ctx, r.keys(rt.Recipient.Local(), domain, rt.Class == Local))
		if err != nil {
			return rt, err
		}
		if ok {
			rt.Transport, rt.NextHop, rt.Moved = "error", "5.1.6 User has moved to "+v, v
		}
	}
	return rt, nil
}

// Keys are those by which an address is looked up in a table of addresses, such as
// smtpd_sender_login_maps.
func (r *Resolver) Keys(a mail.Address) []string {
	return r.keys(a.Local(), strings.ToLower(a.Domain()), false)
}

// keys are those of an address in domain, which is of ours when bare or $myorigin.
func (r *Resolver) keys(local, domain string, bare bool) []string {
	return r.split.AddressKeys(local, domain, bare || strings.EqualFold(domain, r.myorigin))
}

// target divides "transport:nexthop"; what is not said is hop.
func target(s, hop string) (transport, nexthop string) {
	transport, nexthop, _ = strings.Cut(s, ":")
	if nexthop == "" {
		nexthop = hop
	}
	return transport, nexthop
}

// override applies a value of transport(5): with a transport the next hop
// starts anew as the recipient's domain; ":nexthop" keeps the transport; an
// empty value or ":" changes nothing.
func (rt *Route) override(v, domain string) {
	transport, nexthop, _ := strings.Cut(strings.TrimSpace(v), ":")
	if transport != "" {
		rt.Transport, rt.NextHop = transport, domain
	}
	if nexthop != "" {
		rt.NextHop = nexthop
	}
}

// classify completes an address, takes the domains of ours off it until a
// foreign one or a plain name is left, and says what the rest is. It returns
// the domain in lower case.
func (r *Resolver) classify(ctx context.Context, rcpt string) (rt Route, domain string, err error) {
	if rcpt == "" {
		rcpt = r.emptyRecipient
	}
	rest, routed := r.rewrite(rcpt)
	ours := "" // the domain last taken off
	for range 100 {
		i := strings.LastIndexByte(rest, '@')
		if i < 0 || i == len(rest)-1 {
			return bad("5.1.3", "bad address syntax"), "", nil
		}
		d := rest[i+1:]
		if r.numericDomain {
			if ip, err := netip.ParseAddr(d); err == nil && ip.Is4() {
				d = "[" + d + "]"
			}
		}
		domain = strings.ToLower(d)
		local, err := r.local(ctx, domain)
		if err != nil {
			return rt, "", err
		}
		if !local {
			return r.foreign(ctx, rest, rest[:i], d, routed || ours != "" || strings.ContainsAny(rest[:i], "@!%"))
		}
		ours, rest = d, rest[:i]
		if !r.hasOperator(rest) {
			if rest == "" {
				rest = "MAILER-DAEMON"
			}
			if !r.allowMinus && rest[0] == '-' {
				return bad("5.1.3", "bad address syntax"), "", nil
			}
			return Route{Recipient: mail.Address(rest + "@" + ours), Class: Local}, domain, nil
		}
		var again bool
		rest, again = r.rewrite(rest)
		routed = routed || again
	}
	return bad("5.1.3", "bad address syntax"), "", nil
}

// hasOperator says whether a local part still names a domain.
func (r *Resolver) hasOperator(local string) bool {
	return strings.IndexByte(local, '@') >= 0 ||
		r.bangPath && strings.IndexByte(local, '!') >= 0 ||
		r.percentHack && strings.IndexByte(local, '%') >= 0
}

// foreign is the route, without transport, of an address that is not local: its parts, and
// the whole as it stands.
func (r *Resolver) foreign(ctx context.Context, whole, local, domain string, routed bool) (Route, string, error) {
	if local == "" || !r.allowMinus && local[0] == '-' || !ValidDomain(domain) {
		return bad("5.1.3", "bad address syntax"), "", nil
	}
	rt := Route{Recipient: mail.Address(whole), Routed: routed}
	if len(whole) != len(local)+1+len(domain) { // brackets were put around a number
		rt.Recipient = mail.Address(local + "@" + domain)
	}
	domain = strings.ToLower(domain)
	virtual, err := r.virtualDomains.match(ctx, domain)
	if virtual || err != nil {
		rt.Class = Virtual
		return rt, domain, err
	}
	if mailbox, err := r.mailboxDomains.match(ctx, domain); mailbox || err != nil {
		rt.Class = Mailbox
		return rt, domain, err
	}
	relay, err := r.relayDomains.match(ctx, domain)
	if relay {
		rt.Class = Relay
	}
	return rt, domain, err
}

func bad(dsn, text string) Route {
	return Route{Bad: &mail.Status{Class: mail.Bounced, DSN: dsn, Text: text}}
}

// ValidDomain says whether s is a host name or a literal that mail can go to.
// Underscores and bytes above 127 (RFC 6531) pass; a plain number such as
// 192.0.2.1 is no name.
func ValidDomain(s string) bool {
	if s != "" && s[0] == '[' {
		_, ok := literal(s)
		return ok
	}
	if len(s) > 255 {
		return false
	}
	numeric := true
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			switch c := label[i]; {
			case '0' <= c && c <= '9':
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_', c >= 0x80:
				numeric = false
			default:
				return false
			}
		}
	}
	return !numeric
}
