package config

import "slices"

// postfixLocal are the parameters of Postfix about local delivery that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixLocal = slices.Concat(
	unread(Unsupported, "not available in this version", `
fallback_transport =
fallback_transport_maps =
frozen_delivered_to = yes
mailbox_transport =
mailbox_transport_maps =
reset_owner_alias = no
`),
)
