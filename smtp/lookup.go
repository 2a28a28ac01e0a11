package smtp

import (
	"context"
	"time"

	"postrider/lib/dns"
	"postrider/lib/mail"
)

// noNames is how long it holds that a next hop needs no name server: until the
// configuration changes, after which qmgr asks again.
const noNames = time.Hour

// lookUp fills the cache of the resolver with what deliveries to a next hop will ask for,
// so that none of them waits for a name server while it has a slot of its transport.
func (c *client) lookUp(ctx context.Context, service, nextHop string) (holds time.Duration, failed bool) {
	env := c.env.Load()
	st := env.service(service)
	ctx, used := dns.Track(ctx)
	for _, name := range splitHops(nextHop) {
		h, err := st.parseHop(name)
		if err != nil {
			continue // a delivery says so
		}
		if _, bad, ok := env.resolve(ctx, st, h); !ok {
			failed = failed || bad.Class == mail.Deferred
		}
	}
	if until := used.Until(); !until.IsZero() {
		return time.Until(until), failed
	}
	return noNames, failed
}
