package config

import "slices"

// postfixRewrite are the parameters of Postfix about addresses and content that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixRewrite = slices.Concat(
	unread(Unsupported, "there is no virtual(8), which would write these mailboxes itself: set virtual_transport to an LMTP server such as Dovecot's (lmtp:unix:private/dovecot-lmtp)", `
virtual_gid_maps =
virtual_mailbox_base =
virtual_mailbox_limit = 51200000
virtual_mailbox_lock = fcntl, dotlock
virtual_minimum_uid = 100
virtual_uid_maps =
`),
	unread(WithoutEffect, "what it turns on is always done, or never, as with this default", `
allow_untrusted_routing = no
cleanup_replace_stray_cr_lf = yes
enable_idna2003_compatibility = no
enable_original_recipient = yes
header_from_format = standard
resolve_dequoted_address = yes
resolve_null_domain = no
strict_7bit_headers = no
strict_8bitmime = no
strict_8bitmime_body = no
strict_mime_encoding_domain = no
strict_smtputf8 = no
sun_mailtool_compatibility = no
undisclosed_recipients_header =
`),
	unread(WithoutEffect, "SMTPUTF8 is always offered and used where a message needs it", `
smtputf8_enable = ${{$compatibility_level} <level {1} ? {no} : {yes}}
`),
	unread(Unsupported, "content comes in as it is; only mail for a server without 8BITMIME is converted (disable_mime_output_conversion)", `
detect_8bit_encoding_header = yes
force_mime_input_conversion = no
`),
	unread(Unsupported, "the words of an outcome are what the server or the agent said", `
default_delivery_status_filter =
lmtp_delivery_status_filter = $default_delivery_status_filter
local_delivery_status_filter = $default_delivery_status_filter
pipe_delivery_status_filter = $default_delivery_status_filter
smtp_delivery_status_filter = $default_delivery_status_filter
virtual_delivery_status_filter = $default_delivery_status_filter
`),
	unread(Unsupported, "reports have no References: and In-Reply-To:, as with Postfix's default", `
enable_threaded_bounces = no
`),
	unread(Unsupported, "the sender of a message does not choose its way by a table: sched.cf has rules with sender and routes", `
empty_address_default_transport_maps_lookup_key = <>
empty_address_relayhost_maps_lookup_key = <>
sender_dependent_default_transport_maps =
sender_dependent_relayhost_maps =
`),
	unread(Unsupported, "write transport:nexthop, with the next hop, into content_filter; without one it is the recipient's domain", `
default_filter_nexthop =
`),
	unread(WithoutEffect, "reports and notices are never looked at by header_checks or content_filter, as with this default", `
internal_mail_filter_classes =
`),
	unread(Unsupported, "write header_checks and body_checks that refuse them", `
message_reject_characters =
message_strip_characters =
`),
	unread(Unsupported, "a service behind a filter gets -o content_filter= ; addresses are rewritten once more there, which changes nothing where virtual_alias_maps do not turn in circles", `
receive_override_options =
`),
)
