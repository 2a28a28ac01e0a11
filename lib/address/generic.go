package address

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/table"
)

// Generic gives addresses that only this machine knows the form that others know, where
// mail leaves it: smtp_generic_maps and lmtp_generic_maps. Tables are looked into as
// canonical_maps are, but once. An error is of kind table.ErrTemp.
type Generic struct {
	r    *Resolver
	name string
	maps table.Maps
	keep bool // the extension that a table does not have
}

// NewGeneric makes what the parameter of that name asks for, or nil when it names no table.
// It can be used whatever the error, as New.
func NewGeneric(cfg *config.Config, open table.Opener, name string) (*Generic, error) {
	if len(cfg.List(name)) == 0 {
		return nil, nil
	}
	r := newRewriter(cfg)
	g := &Generic{r: r, name: name, keep: slices.Contains(cfg.List("propagate_unmatched_extensions"), "generic")}
	o := TableOptions(cfg, open)
	var err, errMaps error
	r.destination, err = newDomainList(cfg.List("mydestination"), slices.Contains(cfg.List("parent_domain_matches_subdomains"), "mydestination"), o)
	g.maps, errMaps = table.Open(cfg.List(name), o)
	return g, errors.Join(err, errMaps)
}

// Address returns the address that others know for one. The null sender stays.
func (g *Generic) Address(ctx context.Context, a mail.Address) (mail.Address, error) {
	if a == "" {
		return a, nil
	}
	list, found, err := g.r.mapped(ctx, g.maps, a, g.keep)
	if err != nil {
		return a, fmt.Errorf("%s lookup error for %s: %w", g.name, a.External(), err)
	}
	if !found {
		return a, nil
	}
	return list[0], nil
}
