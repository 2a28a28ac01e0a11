package config

import "slices"

// postfixSMTP are the parameters of Postfix about the SMTP and LMTP client that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixSMTP = slices.Concat(
	unread(Unsupported, "SRV records are not looked up", `
allow_srv_lookup_fallback = no
ignore_srv_lookup_error = no
use_srv_lookup =
`),
	unread(WithoutEffect, "sessions are kept for every destination while there is a backlog (smtp_connection_cache_on_demand)", `
connection_cache_protocol_timeout = 5s
connection_cache_status_update_time = 600s
connection_cache_ttl_limit = 2s
smtp_connection_cache_destinations =
`),
	unread(Unsupported, "only the name servers of dns_nameservers or /etc/resolv.conf are asked, without DNSSEC", `
dns_ncache_ttl_fix_enable = no
dnssec_probe = ns:.
smtp_cname_overrides_servername = no
smtp_dns_reply_filter =
smtp_dns_resolver_options =
smtp_dns_support_level =
`),
	unread(WithoutEffect, "EHLO is always tried first, addresses are always quoted, and there is no workaround for old PIX firewalls", `
smtp_always_send_ehlo = yes
smtp_never_send_ehlo = no
smtp_pix_workaround_delay_time = 10s
smtp_pix_workaround_maps =
smtp_pix_workaround_threshold_time = 500s
smtp_pix_workarounds = disable_esmtp,delay_dotcrlf
smtp_quote_rfc821_envelope = yes
`),
	unread(WithoutEffect, "TLS is Go's: it chooses among the ciphers of TLS 1.2 and 1.3 that are not broken, and these lists of OpenSSL's mean nothing to it", `
smtp_tls_ciphers = medium
smtp_tls_mandatory_ciphers = medium
smtp_tls_exclude_ciphers =
smtp_tls_mandatory_exclude_ciphers =
lmtp_tls_ciphers = medium
lmtp_tls_mandatory_ciphers = medium
lmtp_tls_exclude_ciphers =
lmtp_tls_mandatory_exclude_ciphers =
`),
	unread(WithoutEffect, "smtpd's TLS sessions are resumed by tickets, whose keys Go makes and changes by itself; smtp keeps connections instead (smtp_connection_cache_on_demand)", `
smtp_tls_session_cache_database =
smtp_tls_session_cache_timeout = 3600s
smtp_tls_connection_reuse = no
lmtp_tls_session_cache_database =
lmtp_tls_session_cache_timeout = 3600s
lmtp_tls_connection_reuse = no
`),
	unread(Unsupported, "smtp shows no certificate of its own: log in with smtp_sasl_auth_enable", `
smtp_tls_dcert_file =
smtp_tls_dkey_file = $smtp_tls_dcert_file
smtp_tls_eccert_file =
smtp_tls_eckey_file = $smtp_tls_eccert_file
smtp_tls_enable_rpk = no
lmtp_tls_dcert_file =
lmtp_tls_dkey_file = $lmtp_tls_dcert_file
lmtp_tls_eccert_file =
lmtp_tls_eckey_file = $lmtp_tls_eccert_file
lmtp_tls_enable_rpk = no
`),
	unread(Unsupported, "DANE and fingerprints are refused as levels: use verify or secure with smtp_tls_CAfile", `
smtp_tls_dane_insecure_mx_policy = ${{$smtp_tls_security_level} == {dane} ? {dane} : {may}}
smtp_tls_fingerprint_cert_match =
smtp_tls_fingerprint_digest = ${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}
smtp_tls_force_insecure_host_tlsa_lookup = no
smtp_tls_trust_anchor_file =
lmtp_tls_fingerprint_cert_match =
lmtp_tls_fingerprint_digest = ${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}
lmtp_tls_force_insecure_host_tlsa_lookup = no
lmtp_tls_trust_anchor_file =
`),
	unread(Unsupported, "write smtp_tls_policy_maps", `
smtp_tls_per_site =
lmtp_tls_per_site =
`),
	unread(WithoutEffect, "the whole chain of a certificate is verified, however long it is", `
smtp_tls_scert_verifydepth = 9
lmtp_tls_scert_verifydepth = 9
`),
	unread(Unsupported, "no reports on TLS are collected (TLSRPT): the log has each session with smtp_tls_loglevel = 1", `
smtp_tlsrpt_enable = no
smtp_tlsrpt_skip_reused_handshakes = no
smtp_tlsrpt_socket_name =
lmtp_tlsrpt_enable = no
lmtp_tlsrpt_skip_reused_handshakes = no
lmtp_tlsrpt_socket_name =
`),
	unread(Unsupported, "REQUIRETLS is not offered, and TLS-Required: is not looked at: set smtp_tls_security_level or smtp_tls_policy_maps", `
requiretls_enable = no
smtp_requiretls_policy =
tls_required_enable = yes
lmtp_requiretls_policy =
`),
	unread(WithoutEffect, "what a server says before its handshake is never taken for a reply", `
smtp_tls_block_early_mail_reply = no
lmtp_tls_block_early_mail_reply = no
`),
	unread(Unsupported, "smtp logs in by itself, with SCRAM-SHA-256, PLAIN or LOGIN, and keeps no memory of logins that failed", `
send_cyrus_sasl_authzid = no
smtp_sasl_auth_cache_name =
smtp_sasl_auth_cache_time = 90d
smtp_sasl_password_result_delimiter = :
smtp_send_dummy_mail_auth = no
lmtp_sasl_auth_cache_name =
lmtp_sasl_auth_cache_time = 90d
lmtp_sasl_password_result_delimiter = :
lmtp_send_dummy_mail_auth = no
`),
	unread(WithoutEffect, "smtp logs in by itself, without a library", `
smtp_sasl_path =
smtp_sasl_type = cyrus
lmtp_sasl_path =
lmtp_sasl_type = cyrus
`),
	unread(Unsupported, "content that leaves is not looked at a second time: use header_checks or body_checks", `
smtp_body_checks =
smtp_header_checks =
smtp_mime_header_checks =
smtp_nested_header_checks =
lmtp_body_checks =
lmtp_header_checks =
lmtp_mime_header_checks =
lmtp_nested_header_checks =
`),
	unread(Unsupported, "answers of servers and name servers are taken as they are", `
smtp_reply_filter =
lmtp_reply_filter =
lmtp_dns_reply_filter =
`),
	unread(Unsupported, "what a server offers is used where it is needed, and left alone else", `
smtp_discard_ehlo_keyword_address_maps =
smtp_discard_ehlo_keywords =
lmtp_discard_lhlo_keyword_address_maps =
lmtp_discard_lhlo_keywords =
`),
	unread(Unsupported, "each step has a timeout of its own (smtp_data_xfer_timeout and its like), and no least rate", `
smtp_min_data_rate = 500
smtp_per_record_deadline =
smtp_per_request_deadline = ${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}
lmtp_min_data_rate = 500
lmtp_per_record_deadline =
lmtp_per_request_deadline = ${lmtp_per_record_deadline?{$lmtp_per_record_deadline}:{no}}
`),
	unread(Unsupported, "XFORWARD is not sent: a filter sees the client in Received:", `
smtp_send_xforward_command = no
smtp_xforward_timeout = 300s
lmtp_send_xforward_command = no
lmtp_xforward_timeout = 300s
`),
	unread(Unsupported, "set inet_interfaces or smtp_bind_address so that the address is there; an address that is not is logged", `
smtp_bind_address_enforce = no
lmtp_bind_address_enforce = no
`),
	unread(Unsupported, "a domain whose MX has no address is returned, as with Postfix's default", `
smtp_defer_if_no_mx_address_found = no
lmtp_defer_if_no_mx_address_found = no
`),
	unread(Unsupported, "write smtp_fallback_relay", `
fallback_relay =
lmtp_fallback_relay =
`),
	unread(Unsupported, "write ports as numbers", `
known_tcp_ports = lmtp=24, smtp=25, smtps=submissions=465, submission=587
`),
	unread(WithoutEffect, "the system chooses the size of its windows well", `
tcp_windowsize = 0
`),
	unread(Unsupported, "addresses are not probed", `
smtp_address_verify_target = rcpt
lmtp_address_verify_target = rcpt
`),
	unread(Unsupported, "a recipient without a reply of his own is deferred, and tried again", `
lmtp_assume_final = no
`),
	unread(WithoutEffect, "sessions are kept for every destination while there is a backlog (lmtp_connection_cache_on_demand)", `
lmtp_connection_cache_destinations =
`),
	unread(Unsupported, "only the name servers of dns_nameservers or /etc/resolv.conf are asked, without DNSSEC", `
lmtp_cname_overrides_servername = no
lmtp_dns_resolver_options =
lmtp_dns_support_level =
`),
	unread(WithoutEffect, "LHLO is always said, addresses are always quoted, and there is no workaround for old PIX firewalls", `
lmtp_pix_workaround_delay_time = 10s
lmtp_pix_workaround_maps =
lmtp_pix_workaround_threshold_time = 500s
lmtp_pix_workarounds = disable_esmtp,delay_dotcrlf
lmtp_quote_rfc821_envelope = yes
`),
)
