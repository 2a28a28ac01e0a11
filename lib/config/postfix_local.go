package config

import "slices"

// postfixLocal are the parameters of Postfix about local delivery that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixLocal = slices.Concat(
	unread(Unsupported, "not available in this version", `
frozen_delivered_to = yes
reset_owner_alias = no
`),
)
