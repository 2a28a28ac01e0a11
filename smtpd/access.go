package smtpd

import (
	"context"
	"net/netip"
	"slices"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/table"
)

// access decides which recipients a client may name (SMTPD_ACCESS_README).
type access struct {
	resolver     *address.Resolver
	lists        [2][]string // smtpd_relay_restrictions, smtpd_recipient_restrictions
	owners       table.Maps  // smtpd_sender_login_maps
	unlisted     bool        // smtpd_reject_unlisted_recipient
	relayCode    int
	unknownLocal int
	unknownRelay int
	unknownAlias int
}

// restrictions are those that are known, besides those of lists that are always empty.
var restrictions = []string{"permit", "reject", "defer", "permit_mynetworks", "permit_sasl_authenticated", "permit_auth_destination", "reject_sender_login_mismatch",
	"reject_authenticated_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch", "reject_known_sender_login_mismatch",
	"reject_unauth_destination", "defer_unauth_destination", "reject_unlisted_recipient", "reject_unauth_pipelining"}

func newAccess(cfg *config.Config, r *address.Resolver, open table.Opener, log *maillog.Logger) access {
	a := access{
		resolver:     r,
		lists:        [2][]string{cfg.List("smtpd_relay_restrictions"), cfg.List("smtpd_recipient_restrictions")},
		unlisted:     cfg.Bool("smtpd_reject_unlisted_recipient"),
		relayCode:    cfg.Int("relay_domains_reject_code"),
		unknownLocal: cfg.Int("unknown_local_recipient_reject_code"),
		unknownRelay: cfg.Int("unknown_relay_recipient_reject_code"),
		unknownAlias: cfg.Int("unknown_virtual_alias_reject_code"),
	}
	var err error
	if a.owners, err = table.Open(cfg.List("smtpd_sender_login_maps"), address.TableOptions(cfg, open)); err != nil {
		log.Warnf("%v", err)
	}
	closed := false
	for _, l := range a.lists {
		for _, name := range l {
			closed = closed || slices.Contains([]string{"reject", "defer", "reject_unauth_destination", "defer_unauth_destination"}, name)
			if !slices.Contains(restrictions, name) {
				log.Warnf("unknown smtpd restriction: \"%s\": recipients that it would decide about get 451", name)
			}
		}
	}
	if !closed {
		// Postfix does not start; nothing is worse than an open relay.
		log.Warnf("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: " +
			"reject_unauth_destination, defer_unauth_destination, reject, defer; using reject_unauth_destination")
		a.lists[0] = append(slices.Clone(a.lists[0]), "reject_unauth_destination")
		a.lists[0] = slices.DeleteFunc(a.lists[0], func(s string) bool { return s == "permit" })
	}
	return a
}

// trusted says whether the client is in mynetworks; when that cannot be known it is not.
func (a *access) trusted(ip netip.Addr) (bool, error) {
	return a.resolver.Trusted(context.Background(), ip)
}

// recipient returns the refusal of a recipient, or the zero reply.
func (a *access) recipient(client netip.Addr, user string, sender, rcpt mail.Address) reply {
	ctx := context.Background() // tables are in memory
	temp := func() reply { return temporary(rcpt) }
	rt, err := a.resolver.Resolve(ctx, sender, rcpt)
	if err != nil {
		return temp()
	}
	if rt.Bad != nil {
		return reply{501, "5.1.3", "Bad recipient address syntax"}
	}
	refuse := func(code int, dsn, reason string) reply {
		if code/100 == 4 {
			dsn = "4" + dsn[1:]
		}
		return reply{code, dsn, "<" + rcpt.External() + ">: " + reason}
	}
	listed := func() reply {
		if rt.Moved != "" {
			return refuse(550, "5.1.6", "Recipient address rejected: User has moved to "+rt.Moved)
		}
		ok, reason, err := a.resolver.Listed(ctx, rt)
		switch {
		case err != nil:
			return temp()
		case ok:
			return reply{}
		case rt.Class == address.Relay:
			return refuse(a.unknownRelay, "5.1.1", "Recipient address rejected: "+reason)
		case rt.Class == address.Virtual:
			return refuse(a.unknownAlias, "5.1.1", "Recipient address rejected: "+reason)
		}
		return refuse(a.unknownLocal, "5.1.1", "Recipient address rejected: "+reason)
	}
	for _, list := range a.lists {
		permit := false
		for _, name := range list {
			switch name {
			case "permit":
				permit = true
			case "permit_mynetworks":
				if permit, err = a.trusted(client); err != nil {
					return temp()
				}
			case "permit_auth_destination":
				permit = rt.Authorised()
			case "permit_sasl_authenticated":
				permit = user != ""
			case "reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch",
				"reject_unauthenticated_sender_login_mismatch", "reject_known_sender_login_mismatch":
				if r := a.owned(ctx, name, user, sender); r.code != 0 {
					return r
				}
			case "reject_unauth_pipelining":
				// It is refused before it comes to this.
			case "reject_unauth_destination":
				if !rt.Authorised() {
					return refuse(a.relayCode, "5.7.1", "Relay access denied")
				}
			case "defer_unauth_destination":
				if !rt.Authorised() {
					return refuse(454, "4.7.1", "Relay access denied")
				}
			case "reject":
				return refuse(554, "5.7.1", "Recipient address rejected: Access denied")
			case "defer":
				return refuse(450, "4.3.2", "Recipient address rejected: Try again later")
			case "reject_unlisted_recipient":
				if r := listed(); r.code != 0 {
					return r
				}
			default:
				return refuse(451, "4.3.5", "Recipient address rejected: Server configuration error")
			}
			if permit {
				break
			}
		}
	}
	if a.unlisted {
		return listed()
	}
	return reply{}
}
