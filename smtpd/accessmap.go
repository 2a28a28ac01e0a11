package smtpd

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"postrider/lib/mail"
	"postrider/lib/table"
)

// lookup makes one of check_client_access and its like, which look into a table (access(5)).
func (r *reader) lookup(name, spec string) restriction {
	maps := r.open(spec)
	m := &accessMap{maps: maps, spec: spec}
	var do func(*check) verdict
	switch name {
	case "check_client_access":
		do = func(c *check) verdict { return m.host(c, c.f.client.Name, c.f.addr, c.f.clientName(), clientClass) }
	case "check_reverse_client_hostname_access":
		do = func(c *check) verdict {
			return m.host(c, c.f.claimedName(), c.f.addr, c.f.claimedName()+"["+c.f.client.Addr+"]", reverseClass)
		}
	case "check_sasl_access":
		do = func(c *check) verdict {
			if c.f.client.SASLUser == "" {
				return dunno
			}
			return m.first(c, []string{c.f.client.SASLUser}, c.f.client.SASLUser, loginClass)
		}
	case "check_helo_access":
		do = func(c *check) verdict {
			if c.f.client.Helo == "" {
				return dunno
			}
			return m.first(c, m.domain(c, c.f.client.Helo), c.f.client.Helo, heloClass)
		}
	case "check_sender_access":
		do = func(c *check) verdict {
			switch {
			case !c.mailed:
				return dunno
			case c.sender == "":
				return m.first(c, []string{c.a.nullKey}, "", senderClass)
			}
			return m.first(c, m.address(c, c.sender), c.sender.External(), senderClass)
		}
	case "check_recipient_access":
		do = func(c *check) verdict {
			if !c.named {
				return dunno
			}
			a := c.rcpt
			if a.Domain() == "" {
				a = c.a.resolver.Rewrite(a)
			}
			return m.first(c, m.address(c, a), c.rcpt.External(), recipientClass)
		}
	default:
		do = (*check).server
	}
	return restriction{do: do}
}

// accessMap is a table of access(5).
type accessMap struct {
	maps table.Maps
	spec string
}

// domain returns the keys for a host name.
func (m *accessMap) domain(c *check, name string) []string {
	name = strings.TrimSuffix(name, ".")
	if strings.HasPrefix(name, "[") {
		return []string{name}
	}
	if c.a.below {
		return table.DomainKeys(name, true)
	}
	return append([]string{name}, table.ParentKeys(name)...)
}

// address returns the keys for an address: itself, its domain and those above, its local
// part with "@".
func (m *accessMap) address(c *check, a mail.Address) []string {
	local, domain := a.Local(), a.Domain()
	if domain == "" {
		return []string{string(a)}
	}
	user, _, split := c.a.resolver.Split(local)
	keys := []string{local + "@" + domain}
	if split {
		keys = append(keys, user+"@"+domain)
	}
	keys = append(append(keys, m.domain(c, domain)...), local+"@")
	if split {
		keys = append(keys, user+"@")
	}
	return keys
}

// host looks up a client: by name, then by address and the networks it is in.
func (m *accessMap) host(c *check, name string, addr netip.Addr, what, class string) verdict {
	v, found := m.find(c, m.domain(c, name), what, class)
	if found || !addr.IsValid() {
		return v
	}
	keys := []string{addr.String()}
	sep := "."
	if addr.Is6() {
		sep = ":"
	}
	for k := keys[0]; ; {
		i := strings.LastIndex(k, sep)
		if i <= 0 {
			break
		}
		k = k[:i]
		keys = append(keys, k)
	}
	v, _ = m.find(c, keys, what, class)
	return v
}

func (m *accessMap) first(c *check, keys []string, what, class string) verdict {
	v, _ := m.find(c, keys, what, class)
	return v
}

// find looks the keys up, the first one also in tables of patterns, and does what the value says.
func (m *accessMap) find(c *check, keys []string, what, class string) (verdict, bool) {
	value, found, err := m.maps.First(context.Background(), keys)
	switch {
	case err != nil:
		c.f.log.Warnf("%s: %v", m.spec, err)
		return c.server(), true
	case !found:
		return dunno, false
	}
	return m.act(c, value, what, class), true
}

// act does what a value of access(5) says.
func (m *accessMap) act(c *check, value, what, class string) verdict {
	value = strings.TrimSpace(value)
	word, text, _ := strings.Cut(value, " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, text = value[:i], value[i+1:]
	}
	text = strings.TrimSpace(text)
	says := func(usual string) string {
		if text == "" {
			return usual
		}
		return text
	}
	trigger := func(action, usual string) {
		c.note(action, printable("<"+what+">: "+class+" "+says(usual)))
	}
	acts := &c.f.acts
	switch strings.ToUpper(word) {
	case "DUNNO", "PASS":
		return dunno
	case "OK", "RELAY":
		return permit
	case "REJECT":
		return m.refuse(c, c.a.code.mapReject, "5.7.1", what, class, says("Access denied"))
	case "DEFER":
		return m.refuse(c, c.a.code.mapDefer, "4.7.1", what, class, says("Access denied"))
	case "DEFER_IF_PERMIT":
		dsn, text := splitDSN(says("Service unavailable"), "4.7.1")
		return c.unsure(false, c.a.code.mapDefer, dsn, what, class, text)
	case "DEFER_IF_REJECT":
		dsn, text := splitDSN(says("Service unavailable"), "4.7.1")
		return c.softly(c.a.code.mapDefer, dsn, what, class, text)
	case "WARN":
		c.note("warn", printable(text))
	case "INFO":
		c.note("info", printable(text))
	case "HOLD":
		trigger("hold", "triggers HOLD action")
		acts.hold = true
	case "DISCARD":
		trigger("discard", "triggers DISCARD action")
		acts.discard = true
		return permit
	case "PREPEND":
		if name, _, ok := strings.Cut(text, ":"); !ok || strings.ContainsAny(name, " \t") {
			c.f.log.Warnf("access table %s: PREPEND requires text of the form \"headername: value\"", m.spec)
			return dunno
		}
		acts.prepend = append(acts.prepend, printable(text))
	case "REDIRECT":
		if !strings.Contains(text, "@") {
			c.f.log.Warnf("access table %s: bad REDIRECT destination \"%s\": need user@domain", m.spec, printable(text))
			return dunno
		}
		c.note("redirect", printable("<"+what+">: "+class+" triggers REDIRECT "+text))
		acts.redirect = mail.Address(text)
	case "BCC":
		if !strings.Contains(text, "@") {
			c.f.log.Warnf("access table %s: bad BCC address \"%s\": need user@domain", m.spec, printable(text))
			return dunno
		}
		c.note("bcc", printable("<"+what+">: "+class+" triggers BCC "+text))
		acts.bcc = append(acts.bcc, mail.Address(text))
	case "FILTER":
		if !strings.Contains(text, ":") {
			c.f.log.Warnf("access table %s: FILTER requires transport:destination", m.spec)
			return dunno
		}
		c.note("filter", printable("<"+what+">: "+class+" triggers FILTER "+text))
		acts.filter = text
	default:
		if code, err := strconv.Atoi(word); err == nil && word[0] != '-' && word[0] != '+' {
			switch {
			case len(word) == 3 && code >= 400 && code < 600:
				return m.refuse(c, code, word[:1]+".7.1", what, class, says("Access denied"))
			case text == "":
				return permit // of old: who was there before has a number
			}
		}
		return m.list(c, value)
	}
	return dunno
}

// refuse refuses with the words of the table, which may begin with a code of their own.
func (m *accessMap) refuse(c *check, code int, dsn, what, class, text string) verdict {
	dsn, text = splitDSN(text, dsn)
	return c.refuse(code, dsn, what, class, text)
}

// splitDSN takes an enhanced code (RFC 3463) off the beginning of text.
func splitDSN(text, usual string) (dsn, rest string) {
	word, after, _ := strings.Cut(text, " ")
	if p := strings.Split(word, "."); len(p) == 3 && len(p[0]) == 1 && strings.Contains("245", p[0]) && digits(p[1]) && digits(p[2]) {
		return word, strings.TrimSpace(after)
	}
	return usual, text
}

func digits(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// list judges by the restrictions that a table names. They are read when they are met, and
// cannot name tables that main.cf does not name, for smtpd opens none by itself.
func (m *accessMap) list(c *check, value string) verdict {
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	r := *c.a.reader
	r.fixed = true
	r.nesting = c.depth
	return c.run(r.list(words, c.at))
}

// acts are what restrictions do to the message that a session is giving, besides taking or
// refusing it.
type acts struct {
	hold, discard bool
	redirect      mail.Address
	bcc           []mail.Address
	prepend       []string // header fields
	filter        string   // transport:nexthop
}

func (a *acts) any() bool {
	return a.hold || a.discard || a.redirect != "" || a.bcc != nil || a.prepend != nil || a.filter != ""
}

// apply writes into the envelope what is to become of the message. Called twice, it does so
// once.
func (f *front) apply(env *mail.Envelope) {
	a := &f.acts
	if !a.any() {
		return
	}
	env.Hold, env.Discard = env.Hold || a.hold, env.Discard || a.discard
	if a.redirect != "" {
		env.Redirect = a.redirect
	}
	if a.filter != "" {
		env.Filter = a.filter
	}
	for _, to := range a.bcc {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: to, Notify: mail.NotifyNever})
	}
	a.bcc = nil
}

// message tells of the message as a whole; of its recipient, if it has but one.
func (c *check) message() {
	if to := c.f.tx.env.Recipients; len(to) == 1 {
		if rt, err := c.a.resolver.Resolve(context.Background(), c.sender, to[0].Address); err == nil {
			c.rcpt, c.named, c.route, c.listed = to[0].Address, true, rt, true
		}
	}
}
