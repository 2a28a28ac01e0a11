package smtp

import (
	"context"
	"slices"
	"strings"
	"time"

	"postrider/lib/dns"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// noNames is how long it holds that a next hop needs no name server: until the
// configuration changes, after which qmgr asks again.
const noNames = time.Hour

// hostsMax is how many of the best mail hosts a policy hears of.
const hostsMax = 8

// lookUp fills the cache of the resolver with what deliveries to a next hop will ask for,
// so that none of them waits for a name server while it has a slot of its transport. The
// answer names the best mail hosts, of the first next hop that has some.
func (c *client) lookUp(ctx context.Context, service, nextHop string) (r proto.Resolved) {
	env := c.env.Load()
	st := env.service(service)
	ctx, used := dns.Track(ctx)
	for _, name := range splitHops(nextHop) {
		h, err := st.parseHop(name)
		if err != nil {
			continue // a delivery says so
		}
		list, bad, ok := env.resolve(ctx, st, h)
		if !ok {
			r.Failed = r.Failed || bad.Class == mail.Deferred
		}
		if len(r.Hosts) == 0 && !h.addr.IsValid() {
			r.Hosts = bestHosts(list)
		}
	}
	if len(r.Hosts) > 0 {
		r.Group = dns.Registered(r.Hosts[0])
	}
	r.Holds = noNames
	if until := used.Until(); !until.IsZero() {
		r.Holds = time.Until(until)
	}
	return r
}

// bestHosts are the names of the hosts of the best preference, in alphabetical order, so
// that the group does not change with the order of an answer.
func bestHosts(list []target) (hosts []string) {
	for _, t := range list {
		if host := strings.ToLower(strings.TrimSuffix(t.host, ".")); t.best && t.unix == "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return hosts[:min(len(hosts), hostsMax)]
}
