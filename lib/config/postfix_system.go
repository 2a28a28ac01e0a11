package config

import "slices"

// postfixSystem are the parameters of Postfix about processes, files and logs that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixSystem = slices.Concat(
	unread(WithoutEffect, "it tells Postfix's installer where its files are", `
html_directory = no
mail_release_date =
mailq_path = /usr/bin/mailq
manpage_directory = /usr/share/man
meta_directory = $config_directory
newaliases_path = /usr/bin/newaliases
openssl_path = openssl
readme_directory = no
sample_directory = $config_directory
sendmail_path = /usr/sbin/sendmail
shlib_directory = no
`),
	unread(WithoutEffect, "master connects the daemons itself, not by the names of services", `
address_verify_service_name = verify
bounce_service_name = bounce
cleanup_service_name = cleanup
connection_cache_service_name = scache
defer_service_name = defer
dnsblog_service_name = dnsblog
error_service_name = error
flush_service_name = flush
pickup_service_name = pickup
postlog_service_name = postlog
process_id =
process_id_directory = pid
process_name =
proxymap_service_name = proxymap
proxywrite_service_name = proxywrite
queue_service_name = qmgr
rewrite_service_name = rewrite
showq_service_name = showq
smtpd_service_name = smtpd
tlsmgr_service_name = tlsmgr
tlsproxy_service_name = tlsproxy
trace_service_name = trace
`),
	unread(WithoutEffect, "each daemon is one process that stays; what waits between daemons has limits of its own", `
application_event_drain_time = 100s
daemon_timeout = 18000s
fork_attempts = 5
fork_delay = 1s
in_flow_delay = 1s
ipc_idle = 5s
ipc_timeout = 3600s
ipc_ttl = 1000s
max_idle = 100s
max_use = 100
postlogd_watchdog_timeout = 10s
qmgr_daemon_timeout = 1000s
qmgr_fudge_factor = 100
qmgr_ipc_timeout = 60s
trigger_timeout = 10s
`),
	unread(WithoutEffect, "the spool is a few files that are written in sequence, whatever the number of messages", `
backwards_bounce_logfile_compatibility = yes
dont_remove = 0
fast_flush_purge_time = 7d
fast_flush_refresh_time = 12h
hash_queue_depth = 1
hash_queue_names = deferred, defer
queue_file_attribute_count_limit = 100
`),
	unread(WithoutEffect, "postmap makes cdb files, for every type of indexed table", `
berkeley_db_create_buffer_size = 16777216
berkeley_db_read_buffer_size = 131072
lmdb_map_size = 16777216
non_bdb_migration_allow_root_prefixes =
non_bdb_migration_allow_user_prefixes =
non_bdb_migration_level = disable
`),
	unread(WithoutEffect, "the log always is as with this default", `
info_log_address_format = external
respectful_logging = ${{$compatibility_level} <level {3.6} ? {no} : {yes}}
show_user_unknown_table_name = yes
`),
	unread(WithoutEffect, "messages already say what to do", `
helpful_warnings = yes
`),
	unread(WithoutEffect, "tables are opened by master, which hands them to the daemons that may read them", `
daemon_table_open_error_is_fatal = no
proxy_read_maps = $local_recipient_maps $mydestination $virtual_alias_maps $virtual_alias_domains $virtual_mailbox_maps $virtual_mailbox_domains $relay_recipient_maps $relay_domains $canonical_maps $sender_canonical_maps $recipient_canonical_maps $relocated_maps $transport_maps $mynetworks $smtpd_sender_login_maps $sender_bcc_maps $recipient_bcc_maps $smtp_generic_maps $lmtp_generic_maps $alias_maps $smtpd_client_restrictions $smtpd_helo_restrictions $smtpd_sender_restrictions $smtpd_relay_restrictions $smtpd_recipient_restrictions $address_verify_sender_dependent_default_transport_maps $address_verify_sender_dependent_relayhost_maps $address_verify_transport_maps $fallback_transport_maps $lmtp_discard_lhlo_keyword_address_maps $lmtp_pix_workaround_maps $lmtp_sasl_password_maps $lmtp_tls_policy_maps $mailbox_command_maps $mailbox_transport_maps $postscreen_discard_ehlo_keyword_address_maps $rbl_reply_maps $sender_dependent_default_transport_maps $sender_dependent_relayhost_maps $smtp_discard_ehlo_keyword_address_maps $smtp_pix_workaround_maps $smtp_sasl_password_maps $smtp_tls_policy_maps $smtpd_discard_ehlo_keyword_address_maps $smtpd_milter_maps $virtual_gid_maps $virtual_uid_maps $local_login_sender_maps $postscreen_reject_footer_maps $smtpd_reject_footer_maps $tls_server_sni_maps $tlsproxy_client_policy_maps $default_delivery_status_filter $lmtp_delivery_status_filter $lmtp_dns_reply_filter $lmtp_reply_filter $local_delivery_status_filter $pipe_delivery_status_filter $postscreen_command_filter $smtp_delivery_status_filter $smtp_dns_reply_filter $smtp_reply_filter $smtpd_command_filter $smtpd_dns_reply_filter $virtual_delivery_status_filter $body_checks $header_checks $lmtp_body_checks $lmtp_header_checks $lmtp_mime_header_checks $lmtp_nested_header_checks $milter_header_checks $mime_header_checks $nested_header_checks $smtp_body_checks $smtp_header_checks $smtp_mime_header_checks $smtp_nested_header_checks
proxy_write_maps = $smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map
`),
	unread(WithoutEffect, "daemons and commands get an environment of their own making", `
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME
`),
	unread(WithoutEffect, "what is measured and traced is there without it: postrider profile, postqueue -w", `
destination_concurrency_feedback_debug = no
`),
	unread(Unsupported, "use postrider profile and maillog_format = json; no debugger is started", `
debug_peer_level = 2
debug_peer_list =
debugger_command =
fault_injection_code = 0
`),
	unread(Unsupported, "write one main.cf an instance and choose it with -c or MAIL_CONFIG; there is no postmulti", `
multi_instance_directories =
multi_instance_enable = no
multi_instance_group =
multi_instance_wrapper =
postmulti_control_commands = reload flush
postmulti_start_commands = start
postmulti_stop_commands = stop abort drain quick-stop
`),
	unread(Unsupported, "remove the line from master.cf", `
master_service_disable =
`),
	unread(WithoutEffect, "the log may be anywhere: only root writes main.cf", `
maillog_file_prefixes = /var, /dev/stdout
`),
	unread(WithoutEffect, "sendmail does what this default says", `
sendmail_fix_line_endings = always
`),
	unread(Unsupported, "who may submit is decided by authorized_submit_users; a sender is not compared with the user", `
empty_address_local_login_sender_maps_lookup_key = <>
local_login_sender_maps = static:*
`),
	unread(WithoutEffect, "commands and helpers get PATH, HOME, SHELL, USER, LOGNAME and what local(8) names, and nothing else", `
export_environment = TZ MAIL_CONFIG LANG
`),
	unread(WithoutEffect, "SMTPUTF8 is used where an address needs it, whoever sent it", `
smtputf8_autodetect_classes = sendmail, verify
`),
)
