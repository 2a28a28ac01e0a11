package address

import (
	"context"
	"strings"

	"postrider/lib/table"
)

// Listed says whether the tables know the recipient of a route, and if not, in
// what words the client hears of it ("User unknown in local recipient table").
// Without tables for the class every recipient is taken to exist.
func (r *Resolver) Listed(ctx context.Context, rt Route) (ok bool, reason string, err error) {
	if len(r.rewritten) > 0 {
		_, ok, err = r.rewritten.First(ctx, r.keys(rt.Recipient.Local(), rt.Recipient.Domain(), rt.Class == Local))
		if ok || err != nil {
			return ok, "", err
		}
	}
	var maps table.Maps
	switch rt.Class {
	case Virtual:
		return false, "User unknown in virtual alias table", nil
	case Local:
		maps, reason = r.localRecipients, "User unknown in local recipient table"
		if strings.EqualFold(rt.Recipient.Local(), r.doubleBounce) {
			return true, "", nil // local drops it: what bounces there is dropped
		}
	case Mailbox:
		maps, reason = r.mailboxes, "User unknown in virtual mailbox table"
	case Relay:
		maps, reason = r.relayRecipients, "User unknown in relay recipient table"
	}
	if len(maps) == 0 {
		return true, "", nil
	}
	keys := r.split.AddressKeys(rt.Recipient.Local(), rt.Recipient.Domain(), rt.Class == Local)
	_, ok, err = maps.First(ctx, keys)
	if ok || err != nil {
		reason = ""
	}
	return ok, reason, err
}
