package address

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postrider/lib/config"
	"postrider/lib/table"
)

// domainList is a pattern list such as mydestination or relay_domains: domains,
// tables, "!" before what does not belong; the first pattern that matches
// decides.
type domainList struct {
	below  bool            // example.com stands for what is below it too
	names  map[string]rule // by pattern in lower case; the first of equal ones
	tables []tableRule
}

type rule struct {
	place int // in the list
	not   bool
}

type tableRule struct {
	rule
	table table.Maps
}

func newDomainList(words []string, below bool, o table.Options) (*domainList, error) {
	l := &domainList{below: below, names: map[string]rule{}}
	var errs []error
	for i, w := range words {
		p, not := negated(w)
		r := rule{i, not}
		if strings.Contains(p, ":") && !strings.HasPrefix(p, "[") {
			m, err := table.Open([]string{p}, o)
			if err != nil {
				errs = append(errs, err)
			}
			l.tables = append(l.tables, tableRule{r, m})
			continue
		}
		p = strings.ToLower(p)
		if _, ok := l.names[p]; !ok {
			l.names[p] = r
		}
	}
	return l, errors.Join(errs...)
}

// negated takes the "!" off a pattern.
func negated(w string) (pattern string, not bool) {
	for strings.HasPrefix(w, "!") {
		w, not = w[1:], !not
	}
	return w, not
}

// match says whether the domain, in lower case, is in the list.
func (l *domainList) match(ctx context.Context, domain string) (bool, error) {
	best, found := rule{}, false
	name := func(k string) {
		if r, ok := l.names[k]; ok && (!found || r.place < best.place) {
			best, found = r, true
		}
	}
	name(domain)
	for rest := domain; !strings.HasPrefix(domain, "["); {
		i := strings.IndexByte(rest, '.')
		if i < 0 || i+1 == len(rest) {
			break
		}
		if l.below {
			name(rest[i+1:])
		} else {
			name(rest[i:]) // ".example.com"
		}
		rest = rest[i+1:]
	}
	if len(l.tables) == 0 {
		return found && !best.not, nil
	}
	keys := table.DomainKeys(domain, true)
	for i, k := range keys {
		if i > 0 && !l.below {
			keys[i] = "." + k
		}
	}
	for _, t := range l.tables {
		if found && best.place < t.place {
			break
		}
		_, ok, err := t.table.First(ctx, keys)
		if err != nil {
			return false, err
		}
		if ok {
			best, found = t.rule, true
			break
		}
	}
	return found && !best.not, nil
}

// networkList is a pattern list of client addresses such as mynetworks.
type networkList []network

type network struct {
	prefix netip.Prefix
	table  table.Maps
	not    bool
	err    error // the pattern is wrong: nothing after it can be known
}

func newNetworkList(words []string, o table.Options) (networkList, error) {
	var (
		l    networkList
		errs []error
	)
	for _, w := range words {
		p, not := negated(w)
		n := network{not: not}
		var err error
		if i := strings.IndexByte(p, ':'); i > 0 && strings.Trim(p[:i], "abcdefghijklmnopqrstuvwxyz") == "" && !isHex(p) {
			n.table, err = table.Open([]string{p}, o)
		} else if n.prefix, err = table.ParseNetwork(p); err != nil {
			n.err = fmt.Errorf("%w: %v", table.ErrTemp, err)
		}
		if err != nil {
			errs = append(errs, err)
		}
		l = append(l, n)
	}
	return l, errors.Join(errs...)
}

// ClientList is a pattern list of client addresses, as mynetworks is, that a parameter names.
type ClientList struct{ list networkList }

// NewClientList reads the list of a parameter. It can be used whatever the error, as New.
func NewClientList(cfg *config.Config, name string, open table.Opener) (*ClientList, error) {
	l, err := newNetworkList(cfg.List(name), TableOptions(cfg, open))
	return &ClientList{l}, err
}

// Match says whether a client is in the list; an error is of kind table.ErrTemp.
func (c *ClientList) Match(ctx context.Context, ip netip.Addr) (bool, error) {
	return c.list.match(ctx, ip)
}

// isHex tells an IPv6 address such as "fd00::/8" from "hash:/file".
func isHex(p string) bool {
	_, err := table.ParseNetwork(p)
	return err == nil
}

func (l networkList) match(ctx context.Context, ip netip.Addr) (bool, error) {
	ip = ip.Unmap().WithZone("")
	for _, n := range l {
		switch {
		case n.err != nil:
			return false, n.err
		case n.table != nil:
			_, ok, err := n.table.Lookup(ctx, ip.String())
			if err != nil {
				return false, err
			}
			if ok {
				return !n.not, nil
			}
		case n.prefix.Contains(ip):
			return !n.not, nil
		}
	}
	return false, nil
}
