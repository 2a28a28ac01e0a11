package address

import (
	"slices"

	"postrider/lib/header"
)

// senders and recipients are the fields whose addresses are written anew, by length of
// their names so that most fields cost a look (Postfix's header_opts).
var (
	senders    = byLength("From", "Sender", "Reply-To", "Errors-To", "Return-Receipt-To", "Disposition-Notification-To", "Mail-Followup-To", "Resent-From", "Resent-Sender")
	recipients = byLength("To", "Cc", "Bcc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Reply-To")
)

func byLength(names ...string) (t [32][]string) {
	for _, n := range names {
		t[len(n)] = append(t[len(n)], n)
	}
	return t
}

// PlaceOf says what kind of addresses a field of the header holds, 0 for none.
func PlaceOf(f header.Field) Where {
	n := len(f.Name())
	switch {
	case n >= len(senders):
	case slices.ContainsFunc(senders[n], f.Is):
		return HeaderSender
	case slices.ContainsFunc(recipients[n], f.Is):
		return HeaderRecipient
	}
	return 0
}
