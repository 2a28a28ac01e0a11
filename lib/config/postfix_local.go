package config

import "slices"

// postfixLocal are the parameters of Postfix about local delivery that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixLocal = slices.Concat(
	unread(Unsupported, "Delivered-To: is looked at as it was when the message came, as with this default", `
frozen_delivered_to = yes
`),
	unread(Unsupported, "the sender of mail for owner-ALIAS stays as it is", `
reset_owner_alias = no
`),
)
