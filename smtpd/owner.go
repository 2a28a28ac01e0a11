package smtpd

import (
	"context"
	"slices"
	"strings"

	"postrider/lib/mail"
)

// owned returns the refusal of a sender address that belongs to another login than the
// client's, by one of the restrictions reject_..._sender_login_mismatch (postconf(5)); or the
// zero reply.
func (a *access) owned(ctx context.Context, restriction, user string, sender mail.Address) reply {
	switch {
	case restriction == "reject_authenticated_sender_login_mismatch" && user == "",
		restriction == "reject_unauthenticated_sender_login_mismatch" && user != "":
		return reply{}
	}
	var owners []string
	known := false
	if sender != "" {
		v, ok, err := a.owners.First(ctx, a.resolver.Keys(sender))
		if err != nil {
			return reply{451, "4.3.0", "<" + sender.External() + ">: Temporary lookup failure"}
		}
		known = ok
		owners = strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" ,\t", r) })
	}
	refuse := func(text string) reply {
		return reply{553, "5.7.1", "<" + sender.External() + ">: Sender address rejected: " + text}
	}
	switch {
	case user == "" && known:
		return refuse("not logged in")
	case user == "", !known && restriction == "reject_known_sender_login_mismatch":
		return reply{}
	case !slices.ContainsFunc(owners, func(o string) bool { return strings.EqualFold(o, user) }):
		return refuse("not owned by user " + user)
	}
	return reply{}
}
