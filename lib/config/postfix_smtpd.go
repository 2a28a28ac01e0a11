package config

import "slices"

// postfixSMTPD are the parameters of Postfix about the SMTP server that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixSMTPD = slices.Concat(
	unread(Unsupported, "there is no postscreen; smtpd answers every client itself", `
dnsblog_reply_delay = 0s
postscreen_access_list = permit_mynetworks
postscreen_allowlist_interfaces = ${postscreen_whitelist_interfaces?{$postscreen_whitelist_interfaces}:{static:all}}
postscreen_bare_newline_action = ignore
postscreen_bare_newline_enable = no
postscreen_bare_newline_ttl = 30d
postscreen_blacklist_action =
postscreen_cache_cleanup_interval = 12h
postscreen_cache_map = btree:$data_directory/postscreen_cache
postscreen_cache_retention_time = 7d
postscreen_client_connection_count_limit = $smtpd_client_connection_count_limit
postscreen_command_count_limit = 20
postscreen_command_filter =
postscreen_command_time_limit = ${stress?{10}:{300}}s
postscreen_denylist_action = ${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}
postscreen_disable_vrfy_command = $disable_vrfy_command
postscreen_discard_ehlo_keyword_address_maps = $smtpd_discard_ehlo_keyword_address_maps
postscreen_discard_ehlo_keywords = $smtpd_discard_ehlo_keywords
postscreen_dnsbl_action = ignore
postscreen_dnsbl_allowlist_threshold = ${postscreen_dnsbl_whitelist_threshold?{$postscreen_dnsbl_whitelist_threshold}:{0}}
postscreen_dnsbl_max_ttl = ${postscreen_dnsbl_ttl?{$postscreen_dnsbl_ttl}:{1}}h
postscreen_dnsbl_min_ttl = 60s
postscreen_dnsbl_reply_map =
postscreen_dnsbl_sites =
postscreen_dnsbl_threshold = 1
postscreen_dnsbl_timeout = 10s
postscreen_dnsbl_ttl =
postscreen_dnsbl_whitelist_threshold =
postscreen_enforce_tls = $smtpd_enforce_tls
postscreen_expansion_filter = $smtpd_expansion_filter
postscreen_forbidden_commands = $smtpd_forbidden_commands
postscreen_greet_action = ignore
postscreen_greet_banner = $smtpd_banner
postscreen_greet_ttl = 1d
postscreen_greet_wait = ${stress?{2}:{6}}s
postscreen_helo_required = $smtpd_helo_required
postscreen_non_smtp_command_action = drop
postscreen_non_smtp_command_enable = no
postscreen_non_smtp_command_ttl = 30d
postscreen_pipelining_action = enforce
postscreen_pipelining_enable = no
postscreen_pipelining_ttl = 30d
postscreen_post_queue_limit = $default_process_limit
postscreen_pre_queue_limit = $default_process_limit
postscreen_reject_footer = $smtpd_reject_footer
postscreen_reject_footer_maps = $smtpd_reject_footer_maps
postscreen_tls_security_level = $smtpd_tls_security_level
postscreen_upstream_proxy_protocol =
postscreen_upstream_proxy_timeout = 5s
postscreen_use_tls = $smtpd_use_tls
postscreen_watchdog_timeout = 10s
postscreen_whitelist_interfaces =
`),
	[]Param{{Name: "smtpd_expansion_filter", Kind: KindRaw, Support: Unsupported, Why: "the words of a refusal are those of its restriction or its table",
		Default: "\\t\\40!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"}},
	unread(Unsupported, "addresses are not probed", `
address_verify_cache_cleanup_interval = 12h
address_verify_default_transport = $default_transport
address_verify_local_transport = $local_transport
address_verify_map = btree:$data_directory/verify_cache
address_verify_negative_cache = yes
address_verify_negative_expire_time = 3d
address_verify_negative_refresh_time = 3h
address_verify_pending_request_limit = 5000
address_verify_poll_count = ${stress?{1}:{3}}
address_verify_poll_delay = 3s
address_verify_positive_expire_time = 31d
address_verify_positive_refresh_time = 7d
address_verify_relay_transport = $relay_transport
address_verify_relayhost = $relayhost
address_verify_sender = $double_bounce_sender
address_verify_sender_dependent_default_transport_maps = $sender_dependent_default_transport_maps
address_verify_sender_dependent_relayhost_maps = $sender_dependent_relayhost_maps
address_verify_sender_ttl = 0s
address_verify_transport_maps = $transport_maps
address_verify_virtual_transport = $virtual_transport
unverified_recipient_defer_code = 450
unverified_recipient_reject_code = 450
unverified_recipient_reject_reason =
unverified_recipient_tempfail_action = $reject_tempfail_action
unverified_sender_defer_code = 450
unverified_sender_reject_code = 450
unverified_sender_reject_reason =
unverified_sender_tempfail_action = $reject_tempfail_action
`),
	unread(WithoutEffect, "a line that only ends in LF never ends a message (smtpd_forbid_bare_newline), and a client that does not wait is always refused", `
smtpd_forbid_bare_newline_exclusions = $mynetworks
smtpd_forbid_bare_newline_reject_code = 550
smtpd_forbid_unauth_pipelining = yes
`),
	unread(WithoutEffect, "the message is stored when it is complete; a client that stops is limited by smtpd_timeout", `
smtpd_delay_open_until_valid_rcpt = yes
smtpd_history_flush_threshold = 100
smtpd_min_data_rate = 500
smtpd_per_record_deadline =
smtpd_per_request_deadline = ${smtpd_per_record_deadline?{$smtpd_per_record_deadline}:{${stress?{yes}:{no}}}}
`),
	unread(Unsupported, "an older name: write smtpd_client_event_limit_exceptions", `
smtpd_client_connection_limit_exceptions =
`),
	unread(Unsupported, "QMQP is not spoken; use SMTP", `
qmqpd_authorized_clients =
qmqpd_client_port_logging = no
qmqpd_error_delay = 1s
qmqpd_timeout = 300s
`),
	unread(Unsupported, "answers of servers and name servers are taken as they are", `
smtpd_dns_reply_filter =
`),
	unread(Unsupported, "an older name: write reject_rbl_client DOMAIN in a list of restrictions", `
maps_rbl_domains =
`),
	unread(Unsupported, "permit_mx_backup is not there: list the domains in relay_domains", `
permit_mx_backup_networks =
`),
	unread(WithoutEffect, "ETRN is not offered", `
smtpd_etrn_restrictions =
`),
	unread(Unsupported, "refusals alone are logged, with their restrictions' words", `
smtpd_log_access_permit_actions =
`),
	unread(Unsupported, "the words of a refusal are those of its restriction or its table", `
smtpd_reject_filter_maps =
smtpd_reject_footer =
smtpd_reject_footer_maps =
`),
	unread(Unsupported, "clients are not counted over time: limit their connections (smtpd_client_connection_count_limit), their mail by quotas in sched.cf, or write check_policy_service", `
anvil_rate_time_unit = 60s
anvil_status_update_time = 600s
smtpd_client_auth_rate_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_new_tls_session_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
`),
	unread(Unsupported, "milters are not spoken to: let the filter take mail by SMTP (content_filter, FILTER_README), or ask it by check_policy_service; DKIM can be signed by a filter such as dkimproxy", `
milter_command_timeout = 30s
milter_connect_macros = j {daemon_name} {daemon_addr} v _
milter_connect_timeout = 30s
milter_content_timeout = 300s
milter_data_macros = i
milter_default_action = tempfail
milter_end_of_data_macros = i
milter_end_of_header_macros = i
milter_header_checks =
milter_helo_macros = {tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}
milter_macro_daemon_name = $myhostname
milter_macro_defaults =
milter_macro_v = $mail_name $mail_version
milter_mail_macros = i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}
milter_protocol = 6
milter_rcpt_macros = i {rcpt_addr} {rcpt_host} {rcpt_mailer}
milter_unknown_command_macros =
non_smtpd_milters =
smtpd_milter_maps =
smtpd_milters =
`),
	unread(Unsupported, "XCLIENT and XFORWARD are not taken: a filter's mail comes in by a service of its own, with -o mynetworks", `
smtpd_authorized_xclient_hosts =
smtpd_authorized_xforward_hosts =
`),
	unread(Unsupported, "commands are taken as they are", `
smtpd_command_filter =
`),
	unread(Unsupported, "mail is filtered after it is in the queue (content_filter); for a proxy before it, give the proxy port 25 and smtpd another", `
smtpd_proxy_ehlo = $myhostname
smtpd_proxy_filter =
smtpd_proxy_options =
smtpd_proxy_timeout = 100s
`),
	unread(Unsupported, "smtpd must see its clients itself: let the balancer keep their addresses (direct server return, transparent proxy)", `
smtpd_upstream_proxy_protocol =
smtpd_upstream_proxy_timeout = 5s
`),
	unread(Unsupported, "the log has clients by address", `
smtpd_client_port_logging = no
`),
	unread(WithoutEffect, "ETRN, CHUNKING and XCLIENT are never offered; the others do no harm", `
smtpd_discard_ehlo_keyword_address_maps =
smtpd_discard_ehlo_keywords =
`),
	unread(WithoutEffect, "CONNECT, GET, POST and what begins like no command end a session, as with this default", `
smtpd_forbidden_commands = CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}
`),
	unread(Unsupported, "Received: names the client; take the field out with header_checks (IGNORE)", `
smtpd_hide_client_session = no
`),
	unread(Unsupported, "what is no command is answered so", `
smtpd_noop_commands =
`),
)
