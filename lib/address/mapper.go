package address

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/table"
)

// Mapper puts other addresses in the place of those that a message comes with, as
// Postfix's cleanup(8) does: canonical_maps, masquerading, virtual_alias_maps, and the
// recipients who get a copy. An error is of kind table.ErrTemp or ErrExpansion.
type Mapper struct {
	r                            *Resolver
	sender, recipient, canonical classMaps
	masquerade                   classDomains
	virtual                      table.Maps
	keepCanonical, keepVirtual   bool // the extension that a table does not have (propagate_unmatched_extensions)
	depth, width, length         int
	always                       []mail.Address
	senderBcc, recipientBcc      table.Maps
}

// ErrExpansion is the kind of error for an address that stands for too many others, or
// that leads too far.
var ErrExpansion = errors.New("unreasonable")

// Where is one of the places of an address in a message; it is a bit of the classes.
type Where uint8

// The places of addresses.
const (
	EnvelopeSender Where = 1 << iota
	EnvelopeRecipient
	HeaderSender
	HeaderRecipient
)

var places = map[string]Where{"envelope_sender": EnvelopeSender, "envelope_recipient": EnvelopeRecipient,
	"header_sender": HeaderSender, "header_recipient": HeaderRecipient}

func placesOf(words []string) (w Where) {
	for _, x := range words {
		w |= places[x]
	}
	return w
}

// classMaps are tables with the places of addresses that are looked up there.
type classMaps struct {
	name  string
	maps  table.Maps
	where Where
}

// classDomains are masquerade_domains, with those who are left alone.
type classDomains struct {
	domains    []string
	exceptions *domainList
	where      Where
}

// maxCanonical is how often an address is looked up again in one table (Postfix).
const maxCanonical = 10

// mapperParams are the parameters that ask for a Mapper.
var mapperParams = []string{"sender_canonical_maps", "recipient_canonical_maps", "canonical_maps", "masquerade_domains",
	"virtual_alias_maps", "sender_bcc_maps", "recipient_bcc_maps"}

// NewMapper makes what cfg asks for, or nil when it asks for nothing: then mail goes its
// way without it. It can be used whatever the error, as New.
func NewMapper(cfg *config.Config, open table.Opener) (*Mapper, error) {
	if !slices.ContainsFunc(mapperParams, func(p string) bool { return len(cfg.List(p)) > 0 }) && cfg.String("always_bcc") == "" {
		return nil, nil
	}
	r, err := New(cfg, open)
	errs := []error{err}
	o := TableOptions(cfg, open)
	maps := func(name string) table.Maps {
		m, err := table.Open(cfg.List(name), o)
		errs = append(errs, err)
		return m
	}
	keep := cfg.List("propagate_unmatched_extensions")
	m := &Mapper{
		r:             r,
		sender:        classMaps{"sender_canonical_maps", maps("sender_canonical_maps"), placesOf(cfg.List("sender_canonical_classes"))},
		recipient:     classMaps{"recipient_canonical_maps", maps("recipient_canonical_maps"), placesOf(cfg.List("recipient_canonical_classes"))},
		canonical:     classMaps{"canonical_maps", maps("canonical_maps"), placesOf(cfg.List("canonical_classes"))},
		virtual:       maps("virtual_alias_maps"),
		keepCanonical: slices.Contains(keep, "canonical"), keepVirtual: slices.Contains(keep, "virtual"),
		depth: cfg.Int("virtual_alias_recursion_limit"), width: cfg.Int("virtual_alias_expansion_limit"),
		length:    cfg.Int("virtual_alias_address_length_limit"),
		senderBcc: maps("sender_bcc_maps"), recipientBcc: maps("recipient_bcc_maps"),
		masquerade: classDomains{domains: cfg.List("masquerade_domains"), where: placesOf(cfg.List("masquerade_classes"))},
	}
	m.masquerade.exceptions, err = newDomainList(cfg.List("masquerade_exceptions"), false, o)
	errs = append(errs, err)
	m.always = r.addresses(cfg.String("always_bcc"))
	return m, errors.Join(errs...)
}

// addresses reads the addresses of a value, completed.
func (r *Resolver) addresses(value string) []mail.Address {
	list, err := header.Addresses(nil, []byte(value), header.DefaultTokens)
	if err != nil {
		return nil
	}
	for i := range list {
		list[i] = r.Rewrite(list[i])
	}
	return list
}

// Changes says whether addresses in these places may become others.
func (m *Mapper) Changes(w Where) bool {
	for _, c := range []*classMaps{&m.sender, &m.recipient, &m.canonical} {
		if len(c.maps) > 0 && c.where&w != 0 {
			return true
		}
	}
	return len(m.masquerade.domains) > 0 && m.masquerade.where&w != 0
}

// Canonical returns the address that a sender or recipient is to be written as.
func (m *Mapper) Canonical(ctx context.Context, a mail.Address, w Where) (mail.Address, error) {
	if a == "" {
		return a, nil
	}
	first := &m.sender
	if w&(EnvelopeRecipient|HeaderRecipient) != 0 {
		first = &m.recipient
	}
	for _, c := range []*classMaps{first, &m.canonical} {
		if len(c.maps) == 0 || c.where&w == 0 {
			continue
		}
		for n := 0; ; n++ {
			list, found, err := m.r.mapped(ctx, c.maps, a, m.keepCanonical)
			if err != nil {
				return a, fmt.Errorf("%s lookup error for %s: %w", c.name, a.External(), err)
			}
			if !found || list[0] == a {
				break
			}
			if n == maxCanonical {
				return a, fmt.Errorf("%w %s nesting for %s", ErrExpansion, c.name, a.External())
			}
			a = list[0]
		}
	}
	if m.masquerade.where&w != 0 && len(m.masquerade.domains) > 0 {
		return m.masquerade.hide(ctx, a)
	}
	return a, nil
}

// hide takes what is below a domain of masquerade_domains off an address: the first that
// fits decides, with "!" that it stays.
func (c *classDomains) hide(ctx context.Context, a mail.Address) (mail.Address, error) {
	local, domain := a.Local(), strings.ToLower(a.Domain())
	if except, err := c.exceptions.match(ctx, strings.ToLower(local)); except || err != nil {
		return a, err
	}
	for _, d := range c.domains {
		d, not := negated(strings.ToLower(d))
		if domain == d {
			break
		}
		if strings.HasSuffix(domain, "."+d) {
			if !not {
				a = mail.Address(local + "@" + d)
			}
			break
		}
	}
	return a, nil
}

// Virtual returns the recipients that one stands for, himself when no table has him.
func (m *Mapper) Virtual(ctx context.Context, a mail.Address) ([]mail.Address, error) {
	list := []mail.Address{a}
	if len(m.virtual) == 0 {
		return list, nil
	}
	const name = "virtual_alias_maps"
	done := map[string]bool{} // those that stand for themselves, in lower case
	for i := 0; i < len(list); i++ {
		for n := 0; !done[strings.ToLower(string(list[i]))]; n++ {
			switch {
			case len(list) > m.width:
				return nil, fmt.Errorf("%w %s map expansion size for %s", ErrExpansion, name, a.External())
			case n >= m.depth, len(list[i]) > m.length:
				return nil, fmt.Errorf("%w %s map nesting for %s", ErrExpansion, name, a.External())
			}
			was := list[i]
			to, found, err := m.r.mapped(ctx, m.virtual, was, m.keepVirtual)
			if err != nil {
				return nil, fmt.Errorf("%s lookup error for %s: %w", name, was.External(), err)
			}
			if !found {
				break
			}
			list[i] = to[0]
			list = append(list, to[1:]...)
			for _, x := range to {
				if strings.EqualFold(string(x), string(was)) {
					done[strings.ToLower(string(x))] = true
				}
			}
		}
	}
	return list, nil
}

// Copies returns who gets a copy of a message, besides its recipients.
func (m *Mapper) Copies(ctx context.Context, sender mail.Address, to []mail.Recipient) ([]mail.Address, error) {
	list := slices.Clone(m.always)
	add := func(name string, maps table.Maps, a mail.Address) error {
		if len(maps) == 0 || a == "" {
			return nil
		}
		found, _, err := m.r.mapped(ctx, maps, a, false)
		if err != nil {
			return fmt.Errorf("%s lookup error for %s: %w", name, a.External(), err)
		}
		list = append(list, found...)
		return nil
	}
	if err := add("sender_bcc_maps", m.senderBcc, sender); err != nil {
		return nil, err
	}
	for i := range to {
		if err := add("recipient_bcc_maps", m.recipientBcc, to[i].Address); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// mapped looks an address up and returns what the tables put in its place, completed.
// "@domain" there keeps the local part. With keep an extension that the key found does
// not have is put behind each user.
func (r *Resolver) mapped(ctx context.Context, maps table.Maps, a mail.Address, keep bool) ([]mail.Address, bool, error) {
	local, domain := a.Local(), a.Domain()
	keys := []string{string(a)}
	if domain != "" {
		bare, err := r.local(ctx, strings.ToLower(domain))
		if err != nil {
			return nil, false, err
		}
		keys = r.keys(local, domain, bare)
	}
	value, at, err := maps.Find(ctx, keys)
	if at < 0 || err != nil {
		return nil, false, err
	}
	user, _, divided := r.split.Split(local)
	ext := ""
	if key := keys[at]; keep && divided && (key == user || key == user+"@"+domain) {
		ext = local[len(user):]
	}
	list := results(value)
	if len(list) == 0 {
		return nil, false, fmt.Errorf("%w: no address in %q", table.ErrTemp, value)
	}
	for i, x := range list {
		if x[0] == '@' {
			x = mail.Address(local) + x
		} else if x = r.Rewrite(x); ext != "" {
			x = mail.Address(x.Local() + ext + "@" + x.Domain())
		}
		list[i] = x
	}
	return list, true, nil
}

// results reads the addresses of a value; "@domain" is one too.
func results(value string) (list []mail.Address) {
	parts := []string{value}
	if !strings.Contains(value, `"`) {
		parts = strings.Split(value, ",")
	}
	for _, part := range parts {
		if part = strings.TrimSpace(part); strings.LastIndexByte(part, '@') == 0 && !strings.ContainsAny(part, " :<") && len(part) > 1 {
			list = append(list, mail.Address(part))
			continue
		}
		list, _ = header.Addresses(list, []byte(part), 0)
	}
	return list
}
