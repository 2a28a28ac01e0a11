package smtp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/dns"
	"postrider/lib/maillog"
	"postrider/lib/transcript"
)

// settings are the parameters of one service of master.cf: smtp, or a clone such
// as relay with its own -o options.
type settings struct {
	service  string
	lmtp     bool // LMTP (RFC 2033); the parameters are lmtp_...
	log      *maillog.Logger
	maxProc  int
	helo     string // smtp_helo_name
	self     string // myhostname: who answers EHLO by it is us
	port     uint16
	families dns.Families
	bind4    netip.Addr
	bind6    netip.Addr
	source   string // of sched.cf, or ""
	bound    bool   // to its addresses, and no others

	noMX     bool // disable_dns_lookups
	useDNS   bool // smtp_host_lookup
	useHosts bool

	addressLimit, sessionLimit int
	shuffle, balance           bool
	prefer                     dns.Families // 0: neither
	ignoreMXError              bool
	skip5xxGreeting            bool
	relayhost                  string
	fallback                   []string
	own                        map[netip.Addr]bool // inet_interfaces and proxy_interfaces

	lineLimit int
	keepEight bool // 8bit parts also for servers without 8BITMIME

	generic                 *address.Generic // smtp_generic_maps; nil: none
	headerLimit, tokenLimit int              // of what is rewritten by them

	keep             bool
	keepIdle         time.Duration
	reuse            time.Duration
	reuseCount       int
	skipQuitResponse bool

	tls  tlsSettings
	sasl saslSettings

	notices  transcript.Settings
	queueDir string // what the path of a Unix socket is relative to
	backoff  time.Duration

	timeout timeouts
}

// timeouts are for one phase of a session each (RFC 5321, section 4.5.3.2).
type timeouts struct {
	connect, helo, startTLS, mail, rcpt, dataInit, dataXfer, dataDone, rset, quit time.Duration
}

// params are the parameters smtp_... or lmtp_....
type params struct {
	*config.Config
	prefix string
}

func (p params) has(name string) bool           { return p.Bool(p.prefix + name) }
func (p params) text(name string) string        { return p.String(p.prefix + name) }
func (p params) words(name string) []string     { return p.List(p.prefix + name) }
func (p params) number(name string) int         { return p.Int(p.prefix + name) }
func (p params) time(name string) time.Duration { return p.Duration(p.prefix + name) }

func newSettings(service string, lmtp bool, maxProc int, c *config.Config, files files, log *maillog.Logger) *settings {
	p, helo := params{c, "smtp_"}, "helo"
	if lmtp {
		p, helo = params{c, "lmtp_"}, "lhlo"
	}
	s := &settings{
		lmtp:    lmtp,
		service: service, maxProc: maxProc, log: log,
		helo:             p.text(helo + "_name"),
		self:             c.String("myhostname"),
		bind4:            bindAddress(p, "bind_address", log),
		bind6:            bindAddress(p, "bind_address6", log),
		noMX:             c.Bool("disable_dns_lookups"),
		addressLimit:     p.number("mx_address_limit"),
		sessionLimit:     p.number("mx_session_limit"),
		shuffle:          p.has("randomize_addresses"),
		balance:          p.has("balance_inet_protocols"),
		ignoreMXError:    c.Bool("ignore_mx_lookup_error"),
		skip5xxGreeting:  p.has("skip_5xx_greeting"),
		relayhost:        c.String("relayhost"),
		lineLimit:        p.number("line_length_limit"),
		keepEight:        c.Bool("disable_mime_output_conversion"),
		keep:             p.has("connection_cache_on_demand"),
		keepIdle:         p.time("connection_cache_time_limit"),
		reuse:            p.time("connection_reuse_time_limit"),
		reuseCount:       p.number("connection_reuse_count_limit"),
		skipQuitResponse: p.has("skip_quit_response"),
		queueDir:         c.String("queue_directory"),
		notices:          transcript.NewSettings(c),
		backoff:          c.Duration("minimal_backoff_time"),
		timeout: timeouts{
			startTLS: p.time("starttls_timeout"),
			connect:  p.time("connect_timeout"),
			helo:     p.time(helo + "_timeout"),
			mail:     p.time("mail_timeout"),
			rcpt:     p.time("rcpt_timeout"),
			dataInit: p.time("data_init_timeout"),
			dataXfer: p.time("data_xfer_timeout"),
			dataDone: p.time("data_done_timeout"),
			rset:     p.time("rset_timeout"),
			quit:     p.time("quit_timeout"),
		},
		own: map[netip.Addr]bool{},
	}
	if !lmtp {
		s.fallback = splitHops(c.String("smtp_fallback_relay"))
	}
	var err error
	if s.generic, err = address.NewGeneric(c, files.open, p.prefix+"generic_maps"); err != nil {
		log.Warnf("%v; mail waits for it", err)
	}
	s.headerLimit, s.tokenLimit = c.Int("header_size_limit"), c.Int("header_address_token_limit")
	s.tls, s.sasl = newTLS(p, files, log), newSASL(p, files, log)
	for _, p := range c.List("inet_protocols") {
		switch p {
		case "all":
			s.families |= dns.IPv4 | dns.IPv6
		case "ipv4":
			s.families |= dns.IPv4
		case "ipv6":
			s.families |= dns.IPv6
		}
	}
	switch p.text("address_preference") {
	case "ipv4":
		s.prefer = dns.IPv4
	case "ipv6":
		s.prefer = dns.IPv6
	}
	if s.lineLimit > 0 {
		s.lineLimit = max(s.lineLimit, 12) // as Postfix
	}
	lookup := p.words("host_lookup")
	s.useDNS = slices.Contains(lookup, "dns") && !s.noMX
	s.useHosts = slices.Contains(lookup, "native") || s.noMX || lmtp
	for _, a := range c.Addresses() {
		s.own[a.Addr().Unmap()] = true
	}
	for _, a := range c.ProxyAddresses() {
		s.own[a.Unmap()] = true
	}
	var ok bool
	if s.port, ok = parsePort(p.text("tcp_port")); !ok {
		s.port = 25
		if lmtp {
			s.port = 24
		}
		log.Warnf("%stcp_port: %q is no port; using %d", p.prefix, p.text("tcp_port"), s.port)
	}
	return s
}

func bindAddress(p params, name string, log *maillog.Logger) netip.Addr {
	v := p.text(name)
	if v == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(strings.Trim(v, "[]"))
	if err != nil || a.Is4() != (name == "bind_address") {
		log.Warnf("%s%s: %q is no address of the right kind; the system chooses", p.prefix, name, v)
		return netip.Addr{}
	}
	return a
}

// ports are the names of services that mail is sent to; /etc/services is out of
// reach once the doors are closed.
var ports = map[string]uint16{"smtp": 25, "mail": 25, "lmtp": 24, "submission": 587, "smtps": 465, "submissions": 465, "qmqp": 628}

func parsePort(s string) (uint16, bool) {
	if p, ok := ports[strings.ToLower(s)]; ok {
		return p, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}

// splitHops divides a list of next hops.
func splitHops(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
}

// environment is what holds until the next reload: the settings of each service,
// made when first asked for, and how names are found.
type environment struct {
	resolver  *dns.Resolver
	hosts     dns.Hosts
	hostNames dns.Names
	make      func(service string) *settings

	mu       sync.RWMutex
	services map[string]*settings
	sources  map[sourceKey]*settings
}

func (e *environment) service(name string) *settings {
	e.mu.RLock()
	s := e.services[name]
	e.mu.RUnlock()
	if s != nil {
		return s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s = e.services[name]; s == nil {
		if e.services == nil {
			e.services = map[string]*settings{}
		}
		s = e.make(name)
		e.services[name] = s
	}
	return s
}
