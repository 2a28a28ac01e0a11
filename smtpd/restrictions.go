package smtpd

import (
	"context"
	"strconv"
	"strings"
	"time"

	"postrider/lib/address"
	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/table"
)

// reader makes restrictions of the words of main.cf.
type reader struct {
	cfg     *config.Config
	tables  table.Options
	log     *maillog.Logger
	opened  map[string]table.Maps
	policy  policyMaker
	nesting int
	fixed   bool // it is in use: others read opened, too
}

// list reads a list of restrictions; s is what a table without a restriction's name is about.
func (r *reader) list(words []string, s stage) (l []restriction) {
	if r.nesting >= maxDepth {
		return append(l, restriction{do: (*check).server})
	}
	r.nesting++
	defer func() { r.nesting-- }()
	for i := 0; i < len(words); i++ {
		n, problem := r.cfg.Restriction(words[i])
		if problem != "" || i+n >= len(words) {
			l = append(l, restriction{do: (*check).server}) // the configuration's check has said it
			i += n
			continue
		}
		word, arg := words[i], ""
		if n == 1 {
			arg = words[i+1]
		}
		i += n
		l = append(l, r.one(word, arg, s))
	}
	return l
}

// one makes one restriction.
func (r *reader) one(word, arg string, s stage) restriction {
	name := strings.ToLower(word)
	switch {
	case name == "warn_if_reject":
		return restriction{warn: true}
	case name == "check_policy_service":
		return r.policy(config.ParsePolicyService(arg))
	case name == "sleep":
		n, _ := strconv.Atoi(arg)
		return restriction{do: func(c *check) verdict { c.f.pause(time.Duration(n) * time.Second); return dunno }}
	case strings.HasPrefix(name, "check_") && strings.HasSuffix(name, "_access"):
		return r.lookup(name, arg)
	}
	if do, ok := plain[name]; ok {
		return restriction{do: do}
	}
	if do, ok := lists[name]; ok {
		return restriction{do: do(newBlockList(arg))}
	}
	if words, ok := r.cfg.RestrictionClass(word); ok {
		l := r.list(words, s)
		return restriction{do: func(c *check) verdict { return c.run(l) }}
	}
	if strings.Contains(name, ":") { // Postfix of old: a table alone
		return r.lookup([stages]string{atClient: "check_client_access", atHelo: "check_helo_access", atSender: "check_sender_access",
			atRelay: "check_recipient_access", atRecipient: "check_recipient_access"}[s], word)
	}
	return restriction{do: (*check).server}
}

// open opens a table, once for all that name it.
func (r *reader) open(spec string) table.Maps {
	if m, ok := r.opened[spec]; ok {
		return m
	}
	m, err := table.Open([]string{spec}, r.tables)
	if err != nil {
		r.log.Warnf("%v", err)
	}
	if !r.fixed {
		r.opened[spec] = m
	}
	return m
}

// plain are the restrictions that have nothing behind their names.
var plain = map[string]func(*check) verdict{
	"permit": func(*check) verdict { return permit },
	"reject": func(c *check) verdict { return c.refuse(c.a.code.reject, "5.7.1", c.name, c.class, "Access denied") },
	"defer":  func(c *check) verdict { return c.refuse(c.a.code.defers, "4.3.2", c.name, c.class, "Try again later") },
	"defer_if_permit": func(c *check) verdict {
		return c.unsure(false, 450, "4.7.0", c.name, c.class, "defer_if_permit requested")
	},
	"defer_if_reject": func(c *check) verdict { return c.softly(450, "4.7.0", c.name, c.class, "defer_if_reject requested") },

	"permit_mynetworks":         func(c *check) verdict { return c.mynetworks() },
	"permit_inet_interfaces":    func(c *check) verdict { return allow(c.own()) },
	"permit_sasl_authenticated": func(c *check) verdict { return allow(c.f.client.SASLUser != "") },
	"reject_unauth_pipelining":  func(*check) verdict { return dunno }, // it is refused before it comes to this
	"reject_plaintext_session": func(c *check) verdict {
		if c.f.tls != nil {
			return dunno
		}
		return c.refuse(c.a.code.plaintext, "4.7.1", c.name, c.class, "Session encryption is required")
	},

	"reject_unknown_client":                  (*check).unknownClient,
	"reject_unknown_client_hostname":         (*check).unknownClient,
	"reject_unknown_reverse_client_hostname": (*check).unknownReverse,
	"reject_unknown_forward_client_hostname": (*check).unknownForward,

	"reject_invalid_helo_hostname":  (*check).invalidHelo,
	"reject_invalid_hostname":       (*check).invalidHelo,
	"reject_non_fqdn_helo_hostname": (*check).shortHelo,
	"reject_non_fqdn_hostname":      (*check).shortHelo,
	"reject_unknown_helo_hostname":  (*check).unknownHelo,
	"reject_unknown_hostname":       (*check).unknownHelo,

	"reject_non_fqdn_sender": func(c *check) verdict {
		if !c.mailed || c.sender == "" {
			return dunno
		}
		return c.short(c.sender.Domain(), c.sender.External(), senderClass)
	},
	"reject_unknown_sender_domain": (*check).unknownSender,
	"reject_unknown_address":       (*check).unknownSender,
	"reject_unlisted_sender":       (*check).unlistedSender,

	"reject_sender_login_mismatch":                 owner("reject_sender_login_mismatch"),
	"reject_authenticated_sender_login_mismatch":   owner("reject_authenticated_sender_login_mismatch"),
	"reject_unauthenticated_sender_login_mismatch": owner("reject_unauthenticated_sender_login_mismatch"),
	"reject_known_sender_login_mismatch":           owner("reject_known_sender_login_mismatch"),

	"permit_auth_destination": func(c *check) verdict { return allow(c.named && c.route.Authorised()) },
	"reject_unauth_destination": func(c *check) verdict {
		if !c.named || c.route.Authorised() {
			return dunno
		}
		return c.reject(reply{c.a.relayCode, "5.7.1", "<" + c.rcpt.External() + ">: Relay access denied"})
	},
	"defer_unauth_destination": func(c *check) verdict {
		if !c.named || c.route.Authorised() {
			return dunno
		}
		return c.reject(reply{454, "4.7.1", "<" + c.rcpt.External() + ">: Relay access denied"})
	},
	"reject_unlisted_recipient": (*check).unlistedRecipient,
	"check_recipient_maps":      (*check).unlistedRecipient,
	"reject_non_fqdn_recipient": func(c *check) verdict {
		if !c.named {
			return dunno
		}
		return c.short(c.rcpt.Domain(), c.rcpt.External(), recipientClass)
	},
	"reject_unknown_recipient_domain": func(c *check) verdict {
		if !c.named || c.route.Class != address.Default && c.route.Class != address.Relay {
			return dunno
		}
		return c.unknownDomain(c.route.Recipient.Domain(), c.rcpt.External(), recipientClass)
	},
	"reject_multi_recipient_bounce": func(c *check) verdict {
		most := 0
		if c.at >= atData {
			most = 1
		}
		if !c.mailed || c.sender != "" || c.count <= most {
			return dunno
		}
		return c.refuse(c.a.code.bounce, "5.5.3", c.name, c.class, "Multi-recipient bounce")
	},
}

func allow(yes bool) verdict {
	if yes {
		return permit
	}
	return dunno
}

// softly says by what a permanent refusal is replaced.
func (c *check) softly(code int, dsn, name, class, text string) verdict {
	r := reply{code, dsn, printable("<" + name + ">: " + class + " rejected: " + text)}
	if c.warning > 0 {
		return c.settle(r, true)
	}
	if c.ifReject.code == 0 {
		c.ifReject = r
	}
	return dunno
}

func (c *check) mynetworks() verdict {
	yes, err := c.trusted()
	if err != nil {
		return c.unknown(c.name)
	}
	return allow(yes)
}

// owner is one of the restrictions on who may use a sender address.
func owner(name string) func(*check) verdict {
	return func(c *check) verdict {
		if !c.mailed {
			return dunno
		}
		if r := c.a.owned(context.Background(), name, c.f.client.SASLUser, c.sender); r.code != 0 {
			if r.code == 451 {
				return c.unknown(c.sender.External())
			}
			return c.reject(r)
		}
		return dunno
	}
}

// unlistedRecipient refuses a recipient who is in none of the tables of his class.
func (c *check) unlistedRecipient() verdict {
	if !c.named || c.listed {
		return dunno
	}
	c.listed = true
	return c.unlisted(c.route, c.rcpt.External(), recipientClass, "5.1.1", "5.1.6")
}

// unlistedSender refuses a sender of ours who is in no table.
func (c *check) unlistedSender() verdict {
	if !c.mailed || c.sender == "" {
		return dunno
	}
	rt, err := c.a.resolver.Resolve(context.Background(), "", c.sender)
	if err != nil {
		return c.unknown(c.sender.External())
	}
	return c.unlisted(rt, c.sender.External(), senderClass, "5.1.0", "5.1.6")
}

func (c *check) unlisted(rt address.Route, name, class, dsn, moved string) verdict {
	if rt.Bad != nil {
		return dunno
	}
	if rt.Moved != "" {
		return c.refuse(550, moved, name, class, "User has moved to "+rt.Moved)
	}
	ok, reason, err := c.a.resolver.Listed(context.Background(), rt)
	switch {
	case err != nil:
		return c.unknown(name)
	case ok:
		return dunno
	}
	code := c.a.unknownLocal
	switch rt.Class {
	case address.Relay:
		code = c.a.unknownRelay
	case address.Virtual:
		code = c.a.unknownAlias
	case address.Mailbox:
		code = c.a.unknownMailbox
	}
	return c.refuse(code, dsn, name, class, reason)
}
