package config

import "slices"

// postfixLocal are the parameters of Postfix about local delivery that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixLocal = slices.Concat(
	unread(Unsupported, "not available in this version", `
command_execution_directory =
command_expansion_filter = 1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ
deliver_lock_attempts = 20
deliver_lock_delay = 1s
execution_directory_expansion_filter = 1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ
fallback_transport =
fallback_transport_maps =
forward_expansion_filter = 1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ
frozen_delivered_to = yes
local_command_shell =
luser_relay =
mailbox_command =
mailbox_command_maps =
mailbox_delivery_lock = fcntl, dotlock
mailbox_transport =
mailbox_transport_maps =
prepend_delivered_header = command, file, forward
require_home_directory = no
reset_owner_alias = no
stale_lock_time = 500s
strict_mailbox_ownership = yes
`),
)
