package address

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/table"
)

// Resolver answers what addresses mean under one configuration.
type Resolver struct {
	myorigin, mydomain, myhostname                   string
	emptyRecipient, doubleBounce                     string
	bangPath, percentHack                            bool
	appendOrigin, appendDomain                       bool
	allowMinus, numericDomain                        bool
	destination, virtualDomains, relayDomains        *domainList
	mailboxDomains                                   *domainList
	mailboxes                                        table.Maps
	virtualTransport                                 string
	networks                                         networkList
	own                                              []netip.Addr // addresses that a literal [ip] is local for
	localTransport, relayTransport, defaultTransport string
	relayhost                                        string
	transport, localRecipients, relayRecipients      table.Maps
	relocated                                        table.Maps
	rewritten                                        table.Maps // those of canonical and virtual addresses: who is there, exists
	split                                            table.Splitter
	fingerprint                                      uint64
}

// Fingerprint tells Resolvers apart whose answers may differ: those made of other settings,
// or of other texts of tables.
func (r *Resolver) Fingerprint() uint64 { return r.fingerprint }

// inputs are the parameters that decide over answers, besides those that name tables.
var inputs = []string{"myorigin", "mydomain", "myhostname", "empty_address_recipient", "double_bounce_sender", "swap_bangpath",
	"allow_percent_hack", "append_at_myorigin", "append_dot_mydomain", "allow_min_user", "resolve_numeric_domain", "local_transport",
	"relay_transport", "default_transport", "virtual_transport", "relayhost", "parent_domain_matches_subdomains", "recipient_delimiter", "owner_request_special",
	"alias_maps", "alias_database", "mailbox_transport", "mailbox_transport_maps", "fallback_transport", "fallback_transport_maps"}

// mapParams are the parameters that name the tables of a Resolver;
// patternParams are the pattern lists that may.
var (
	mapParams     = []string{"transport_maps", "relocated_maps"}
	patternParams = []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "mynetworks"}
)

// New makes a Resolver. It can be used whatever the error, which says, for the
// log, which tables could not be read and which patterns are wrong: what
// depends on those is answered with table.ErrTemp.
func New(cfg *config.Config, open table.Opener) (*Resolver, error) {
	r := newRewriter(cfg)
	o := TableOptions(cfg, open)
	sum := fnv.New64a()
	for _, name := range slices.Concat(inputs, mapParams, patternParams) {
		fmt.Fprintf(sum, "%s=%q\n", name, cfg.Text(name))
	}
	fmt.Fprintln(sum, r.own)
	o.Open = func(path string) (*io.SectionReader, error) {
		text, err := open(path)
		if err == nil {
			fmt.Fprintf(sum, "%s %d\n", path, text.Size())
			io.Copy(sum, io.NewSectionReader(text, 0, text.Size()))
		}
		return text, err
	}
	parents := cfg.List("parent_domain_matches_subdomains")
	var errs []error
	domains := func(name string) *domainList {
		l, err := newDomainList(cfg.List(name), slices.Contains(parents, name), o)
		errs = append(errs, err)
		return l
	}
	maps := func(names ...string) (all table.Maps) {
		for _, name := range names {
			m, err := table.Open(cfg.List(name), o)
			all, errs = append(all, m...), append(errs, err)
		}
		return all
	}
	var err error
	r.destination, r.virtualDomains, r.relayDomains = domains("mydestination"), domains("virtual_alias_domains"), domains("relay_domains")
	r.networks, err = newNetworkList(cfg.List("mynetworks"), o)
	errs = append(errs, err)
	r.transport, r.relocated = maps("transport_maps"), maps("relocated_maps")
	r.mailboxDomains = domains("virtual_mailbox_domains")
	r.fingerprint = sum.Sum64()
	o.Open = open // what follows is in no answer of Resolve
	r.mailboxes = maps("virtual_mailbox_maps")
	r.localRecipients, r.relayRecipients = maps("local_recipient_maps"), maps("relay_recipient_maps")
	r.rewritten = maps("recipient_canonical_maps", "canonical_maps", "virtual_alias_maps")
	return r, errors.Join(errs...)
}

// newRewriter makes a Resolver without tables: it completes addresses, and no more.
func newRewriter(cfg *config.Config) *Resolver {
	r := &Resolver{
		myorigin:         cfg.String("myorigin"),
		mydomain:         cfg.String("mydomain"),
		myhostname:       cfg.String("myhostname"),
		emptyRecipient:   cfg.String("empty_address_recipient"),
		doubleBounce:     cfg.String("double_bounce_sender"),
		bangPath:         cfg.Bool("swap_bangpath"),
		percentHack:      cfg.Bool("allow_percent_hack"),
		appendOrigin:     cfg.Bool("append_at_myorigin"),
		appendDomain:     cfg.Bool("append_dot_mydomain"),
		allowMinus:       cfg.Bool("allow_min_user"),
		numericDomain:    cfg.Bool("resolve_numeric_domain"),
		localTransport:   cfg.String("local_transport"),
		relayTransport:   cfg.String("relay_transport"),
		defaultTransport: cfg.String("default_transport"),
		relayhost:        cfg.String("relayhost"),
		virtualTransport: cfg.String("virtual_transport"),
		own:              cfg.ProxyAddresses(),
		split:            Splitter(cfg),
	}
	for _, p := range cfg.Addresses() {
		r.own = append(r.own, p.Addr())
	}
	return r
}

// TableOptions returns how the tables of cfg are opened.
func TableOptions(cfg *config.Config, open table.Opener) table.Options {
	return table.Options{Open: open, Aliases: append(slices.Clone(cfg.List("alias_maps")), cfg.List("alias_database")...)}
}

// Splitter returns how cfg divides user and extension.
func Splitter(cfg *config.Config) table.Splitter {
	return table.Splitter{
		Delimiters:   cfg.String("recipient_delimiter"),
		Whole:        []string{cfg.String("double_bounce_sender")},
		OwnerRequest: cfg.Bool("owner_request_special"),
	}
}

// Trusted says whether a client is in mynetworks.
func (r *Resolver) Trusted(ctx context.Context, ip netip.Addr) (bool, error) {
	return r.networks.match(ctx, ip)
}

// local says whether mail for the domain, in lower case, is delivered on this
// machine: it is in mydestination, or a literal of one of our addresses.
func (r *Resolver) local(ctx context.Context, domain string) (bool, error) {
	if ip, ok := literal(domain); ok {
		return slices.Contains(r.own, ip), nil
	}
	return r.destination.match(ctx, domain)
}

// literal reads [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321, 4.1.3).
func literal(domain string) (netip.Addr, bool) {
	if len(domain) < 3 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return netip.Addr{}, false
	}
	text := domain[1 : len(domain)-1]
	six := len(text) > 5 && strings.EqualFold(text[:5], "ipv6:")
	if six {
		text = text[5:]
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" || six && !ip.Is6() {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

// Split divides a local part into user and extension.
func (r *Resolver) Split(local string) (user, ext string, ok bool) { return r.split.Split(local) }
