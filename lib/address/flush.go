package address

import (
	"context"
	"slices"
	"strings"

	"postrider/lib/config"
	"postrider/lib/table"
)

// Flushable are the domains whose mail may be flushed by name (postqueue -s).
type Flushable struct{ list *domainList }

// NewFlushable reads fast_flush_domains. In Postfix a log is kept for each of these
// domains, so they are few: relay_domains by default. Here any can be found, so the
// parameter limits only where main.cf sets it. The error is that of New.
func NewFlushable(cfg *config.Config, open table.Opener) (Flushable, error) {
	const name = "fast_flush_domains"
	if _, ok := cfg.Set(name); !ok {
		return Flushable{}, nil
	}
	l, err := newDomainList(cfg.List(name), slices.Contains(cfg.List("parent_domain_matches_subdomains"), name), TableOptions(cfg, open))
	return Flushable{l}, err
}

// Match says whether a site, a domain or a literal, may be flushed. The error is of kind
// table.ErrTemp.
func (f Flushable) Match(ctx context.Context, site string) (bool, error) {
	if f.list == nil {
		return true, nil
	}
	return f.list.match(ctx, strings.ToLower(site))
}

// ValidSite says whether s is the name of a domain or a literal address, as Postfix
// demands of a site.
func ValidSite(s string) bool { return ValidDomain(s) }
