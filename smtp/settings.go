package smtp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postrider/lib/config"
	"postrider/lib/dns"
	"postrider/lib/maillog"
)

// settings are the parameters of one service of master.cf: smtp, or a clone such
// as relay with its own -o options.
type settings struct {
	service  string
	log      *maillog.Logger
	maxProc  int
	helo     string // smtp_helo_name
	self     string // myhostname: who answers EHLO by it is us
	port     uint16
	families dns.Families
	bind4    netip.Addr
	bind6    netip.Addr

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

	keep             bool
	keepIdle         time.Duration
	reuse            time.Duration
	reuseCount       int
	skipQuitResponse bool

	timeout timeouts
}

// timeouts are for one phase of a session each (RFC 5321, section 4.5.3.2).
type timeouts struct {
	connect, helo, mail, rcpt, dataInit, dataXfer, dataDone, rset, quit time.Duration
}

func newSettings(service string, maxProc int, c *config.Config, log *maillog.Logger) *settings {
	s := &settings{
		service: service, maxProc: maxProc, log: log,
		helo:             c.String("smtp_helo_name"),
		self:             c.String("myhostname"),
		bind4:            bindAddress(c, "smtp_bind_address", log),
		bind6:            bindAddress(c, "smtp_bind_address6", log),
		noMX:             c.Bool("disable_dns_lookups"),
		addressLimit:     c.Int("smtp_mx_address_limit"),
		sessionLimit:     c.Int("smtp_mx_session_limit"),
		shuffle:          c.Bool("smtp_randomize_addresses"),
		balance:          c.Bool("smtp_balance_inet_protocols"),
		ignoreMXError:    c.Bool("ignore_mx_lookup_error"),
		skip5xxGreeting:  c.Bool("smtp_skip_5xx_greeting"),
		relayhost:        c.String("relayhost"),
		fallback:         splitHops(c.String("smtp_fallback_relay")),
		lineLimit:        c.Int("smtp_line_length_limit"),
		keep:             c.Bool("smtp_connection_cache_on_demand"),
		keepIdle:         c.Duration("smtp_connection_cache_time_limit"),
		reuse:            c.Duration("smtp_connection_reuse_time_limit"),
		reuseCount:       c.Int("smtp_connection_reuse_count_limit"),
		skipQuitResponse: c.Bool("smtp_skip_quit_response"),
		timeout: timeouts{
			connect:  c.Duration("smtp_connect_timeout"),
			helo:     c.Duration("smtp_helo_timeout"),
			mail:     c.Duration("smtp_mail_timeout"),
			rcpt:     c.Duration("smtp_rcpt_timeout"),
			dataInit: c.Duration("smtp_data_init_timeout"),
			dataXfer: c.Duration("smtp_data_xfer_timeout"),
			dataDone: c.Duration("smtp_data_done_timeout"),
			rset:     c.Duration("smtp_rset_timeout"),
			quit:     c.Duration("smtp_quit_timeout"),
		},
		own: map[netip.Addr]bool{},
	}
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
	switch c.String("smtp_address_preference") {
	case "ipv4":
		s.prefer = dns.IPv4
	case "ipv6":
		s.prefer = dns.IPv6
	}
	if s.lineLimit > 0 {
		s.lineLimit = max(s.lineLimit, 12) // as Postfix
	}
	lookup := c.List("smtp_host_lookup")
	s.useDNS = slices.Contains(lookup, "dns") && !s.noMX
	s.useHosts = slices.Contains(lookup, "native") || s.noMX
	for _, a := range c.Addresses() {
		s.own[a.Addr().Unmap()] = true
	}
	for _, a := range c.ProxyAddresses() {
		s.own[a.Unmap()] = true
	}
	var ok bool
	if s.port, ok = parsePort(c.String("smtp_tcp_port")); !ok {
		log.Warnf("smtp_tcp_port: %q is no port; using 25", c.String("smtp_tcp_port"))
		s.port = 25
	}
	return s
}

func bindAddress(c *config.Config, name string, log *maillog.Logger) netip.Addr {
	v := c.String(name)
	if v == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(strings.Trim(v, "[]"))
	if err != nil || a.Is4() != (name == "smtp_bind_address") {
		log.Warnf("%s: %q is no address of the right kind; the system chooses", name, v)
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
