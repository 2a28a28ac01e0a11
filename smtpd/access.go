package smtpd

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/table"
)

// access decides what a client may do (SMTPD_ACCESS_README).
type access struct {
	resolver *address.Resolver
	lists    [stages][]restriction
	order    [2]stage   // relay and recipient restrictions, as they follow one another
	delay    bool       // smtpd_delay_reject
	owners   table.Maps // smtpd_sender_login_maps
	below    bool       // in access tables a domain stands for those below it, too
	nullKey  string     // smtpd_null_access_lookup_key

	unlisted       bool // smtpd_reject_unlisted_recipient
	unlistedSender bool // smtpd_reject_unlisted_sender
	soft           bool // soft_bounce
	relayCode      int
	unknownLocal   int
	unknownRelay   int
	unknownAlias   int
	unknownMailbox int
	code           codes
	rblReply       string
	rblReplies     table.Maps
	addressNow     bool // unknown_address_tempfail_action = defer
	reader         *reader
	heloNow        bool // unknown_helo_hostname_tempfail_action = defer
}

// codes are the reply codes of restrictions.
type codes struct {
	reject, defers, mapReject, mapDefer, invalidHelo, short, unknownAddress, unknownClient, unknownHelo, bounce, plaintext, blocked int
}

// lastResorts are the restrictions without one of which, that is reached, a system is an open relay.
var lastResorts = []string{"reject", "defer", "defer_if_permit", "reject_unauth_destination", "defer_unauth_destination"}

func newAccess(cfg *config.Config, r *address.Resolver, open table.Opener, policy policyMaker, log *maillog.Logger) access {
	a := access{
		resolver: r,
		order:    [2]stage{atRelay, atRecipient},
		delay:    cfg.Bool("smtpd_delay_reject"),
		below:    slices.Contains(cfg.List("parent_domain_matches_subdomains"), "smtpd_access_maps"),
		nullKey:  cfg.String("smtpd_null_access_lookup_key"),

		unlisted:       cfg.Bool("smtpd_reject_unlisted_recipient"),
		unlistedSender: cfg.Bool("smtpd_reject_unlisted_sender"),
		soft:           cfg.Bool("soft_bounce"),
		relayCode:      cfg.Int("relay_domains_reject_code"),
		unknownLocal:   cfg.Int("unknown_local_recipient_reject_code"),
		unknownRelay:   cfg.Int("unknown_relay_recipient_reject_code"),
		unknownAlias:   cfg.Int("unknown_virtual_alias_reject_code"),
		unknownMailbox: cfg.Int("unknown_virtual_mailbox_reject_code"),
		rblReply:       cfg.String("default_rbl_reply"),
		addressNow:     cfg.String("unknown_address_tempfail_action") == "defer",
		heloNow:        cfg.String("unknown_helo_hostname_tempfail_action") == "defer",
		code: codes{reject: cfg.Int("reject_code"), defers: cfg.Int("defer_code"), mapReject: cfg.Int("access_map_reject_code"), mapDefer: cfg.Int("access_map_defer_code"),
			invalidHelo: cfg.Int("invalid_hostname_reject_code"), short: cfg.Int("non_fqdn_reject_code"), unknownAddress: cfg.Int("unknown_address_reject_code"),
			unknownClient: cfg.Int("unknown_client_reject_code"), unknownHelo: cfg.Int("unknown_hostname_reject_code"), bounce: cfg.Int("multi_recipient_bounce_reject_code"),
			plaintext: cfg.Int("plaintext_reject_code"), blocked: cfg.Int("maps_rbl_reject_code")},
	}
	if !cfg.Bool("smtpd_relay_before_recipient_restrictions") {
		slices.Reverse(a.order[:])
	}
	o := address.TableOptions(cfg, open)
	maps := func(name string) table.Maps {
		m, err := table.Open(cfg.List(name), o)
		if err != nil {
			log.Warnf("%v", err)
		}
		return m
	}
	a.owners, a.rblReplies = maps("smtpd_sender_login_maps"), maps("rbl_reply_maps")
	rd := &reader{cfg: cfg, tables: o, log: log, opened: map[string]table.Maps{}, policy: policy}
	for s, name := range config.RestrictionLists {
		a.lists[s] = rd.list(cfg.List(name), stage(s))
	}
	a.reader = rd
	if !closed(cfg) {
		// Postfix does not start; nothing is worse than an open relay.
		log.Warnf("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: " +
			"reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit; using reject_unauth_destination")
		words := append(slices.Clone(cfg.List("smtpd_relay_restrictions")), "reject_unauth_destination")
		words = slices.DeleteFunc(words, func(s string) bool { return strings.EqualFold(s, "permit") })
		a.lists[atRelay] = rd.list(words, atRelay)
	}
	return a
}

// closed says whether the lists for recipients have one of lastResorts.
func closed(cfg *config.Config) bool {
	for _, name := range []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"} {
		for _, w := range cfg.List(name) {
			if w = strings.ToLower(w); slices.Contains(lastResorts, w) {
				return true
			} else if w == "permit" {
				break // what follows is never reached
			}
		}
	}
	return false
}

// trusted says whether the client is in mynetworks; when that cannot be known it is not.
func (a *access) trusted(ip netip.Addr) (bool, error) {
	return a.resolver.Trusted(context.Background(), ip)
}

// judgeRecipient judges a recipient of the transaction; the zero reply has nothing against him.
func (f *front) judgeRecipient(c *check) reply {
	rt, err := c.a.resolver.Resolve(context.Background(), c.sender, c.rcpt)
	switch {
	case err != nil:
		c.unknown(c.rcpt.External())
		return c.answer
	case rt.Bad != nil:
		return reply{501, "5.1.3", "Bad recipient address syntax"}
	}
	c.route = rt
	if c.recipient() == refused {
		return c.answer
	}
	return reply{}
}
