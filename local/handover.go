package local

import (
	"context"
	"strings"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/table"
)

// elsewhere are the transports that take mail in the place of mailboxes
// (mailbox_transport, mailbox_transport_maps), or that of nobody's (fallback_transport,
// fallback_transport_maps).
type elsewhere struct {
	name string // of the parameter that names one for all
	maps table.Maps
	all  string // "transport:nexthop", or ""
}

// of returns the transport for a user, "" for none. An error is a *failure.
func (e *elsewhere) of(ctx context.Context, user string) (string, error) {
	v, ok, err := e.maps.Lookup(ctx, user)
	switch {
	case err != nil:
		return "", &failure{deferred("4.3.0", e.name+"_maps: "+err.Error())}
	case ok:
		return v, nil
	}
	return e.all, nil
}

// handOver leaves the recipient to a transport, "name:nexthop" with a next hop that may be
// left out: qmgr gives him to that. Nothing is written, and no attempt is used up: should
// he not get there, the next one begins here again. What goes to a list goes on in the
// name of its owner, so it takes a message of its own before.
func (d *delivery) handOver(service string, t target) (mail.Status, bool) {
	if t.sender != d.r.Sender && !d.r.Verify {
		return d.forward([]target{t})
	}
	name, hop, _ := strings.Cut(service, ":")
	if name == "" {
		return deferred("4.3.5", "no transport in \""+service+"\" of mailbox_transport or fallback_transport"), false
	}
	if d.pass = (proto.Pass{Transport: name, NextHop: hop, Address: t.address}); strings.EqualFold(string(t.address), string(d.rc.Address)) {
		d.pass.Address = d.rc.Address // as it is written
	}
	return mail.Status{}, false
}

// unknown is what becomes of mail for a name that is nobody's, when newer tables do not
// have it either: fallback_transport, luser_relay, and at last err.
func (d *delivery) unknown(t target, err error) (mail.Status, bool) {
	service, lookup := d.site.fallbackTransport.of(d.ctx, t.user)
	switch {
	case lookup != nil:
		return statusOf(lookup), false
	case service != "":
		return d.handOver(service, t)
	case d.site.luserRelay != "":
		return d.luser(t)
	}
	return statusOf(err), false
}
