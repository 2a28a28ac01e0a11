package config

import "slices"

// postfixSMTP are the parameters of Postfix about the SMTP and LMTP client that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixSMTP = slices.Concat(
	unread(Unsupported, "this part of TLS is not available in this version", `
requiretls_enable = no
smtp_requiretls_policy =
smtp_tls_block_early_mail_reply = no
smtp_tls_ciphers = medium
smtp_tls_connection_reuse = no
smtp_tls_dane_insecure_mx_policy = ${{$smtp_tls_security_level} == {dane} ? {dane} : {may}}
smtp_tls_dcert_file =
smtp_tls_dkey_file = $smtp_tls_dcert_file
smtp_tls_eccert_file =
smtp_tls_eckey_file = $smtp_tls_eccert_file
smtp_tls_enable_rpk = no
smtp_tls_exclude_ciphers =
smtp_tls_fingerprint_cert_match =
smtp_tls_fingerprint_digest = ${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}
smtp_tls_force_insecure_host_tlsa_lookup = no
smtp_tls_mandatory_ciphers = medium
smtp_tls_mandatory_exclude_ciphers =
smtp_tls_per_site =
smtp_tls_scert_verifydepth = 9
smtp_tls_session_cache_database =
smtp_tls_session_cache_timeout = 3600s
smtp_tls_trust_anchor_file =
smtp_tlsrpt_enable = no
smtp_tlsrpt_skip_reused_handshakes = no
smtp_tlsrpt_socket_name =
tls_required_enable = yes
`),
	unread(Unsupported, "this part of logins is not available in this version", `
send_cyrus_sasl_authzid = no
smtp_sasl_auth_cache_name =
smtp_sasl_auth_cache_time = 90d
smtp_sasl_password_result_delimiter = :
smtp_sasl_path =
smtp_sasl_type = cyrus
smtp_send_dummy_mail_auth = no
`),
	unread(Unsupported, "not available in this version of LMTP", `
lmtp_address_verify_target = rcpt
lmtp_assume_final = no
lmtp_bind_address_enforce = no
lmtp_body_checks =
lmtp_cname_overrides_servername = no
lmtp_connection_cache_destinations =
lmtp_defer_if_no_mx_address_found = no
lmtp_discard_lhlo_keyword_address_maps =
lmtp_discard_lhlo_keywords =
lmtp_dns_reply_filter =
lmtp_dns_resolver_options =
lmtp_dns_support_level =
lmtp_fallback_relay =
lmtp_header_checks =
lmtp_mime_header_checks =
lmtp_min_data_rate = 500
lmtp_nested_header_checks =
lmtp_per_record_deadline =
lmtp_per_request_deadline = ${lmtp_per_record_deadline?{$lmtp_per_record_deadline}:{no}}
lmtp_pix_workaround_delay_time = 10s
lmtp_pix_workaround_maps =
lmtp_pix_workaround_threshold_time = 500s
lmtp_pix_workarounds = disable_esmtp,delay_dotcrlf
lmtp_quote_rfc821_envelope = yes
lmtp_reply_filter =
lmtp_requiretls_policy =
lmtp_sasl_auth_cache_name =
lmtp_sasl_auth_cache_time = 90d
lmtp_sasl_password_result_delimiter = :
lmtp_sasl_path =
lmtp_sasl_type = cyrus
lmtp_send_dummy_mail_auth = no
lmtp_send_xforward_command = no
lmtp_tls_block_early_mail_reply = no
lmtp_tls_ciphers = medium
lmtp_tls_connection_reuse = no
lmtp_tls_dcert_file =
lmtp_tls_dkey_file = $lmtp_tls_dcert_file
lmtp_tls_eccert_file =
lmtp_tls_eckey_file = $lmtp_tls_eccert_file
lmtp_tls_enable_rpk = no
lmtp_tls_exclude_ciphers =
lmtp_tls_fingerprint_cert_match =
lmtp_tls_fingerprint_digest = ${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}
lmtp_tls_force_insecure_host_tlsa_lookup = no
lmtp_tls_mandatory_ciphers = medium
lmtp_tls_mandatory_exclude_ciphers =
lmtp_tls_per_site =
lmtp_tls_scert_verifydepth = 9
lmtp_tls_session_cache_database =
lmtp_tls_session_cache_timeout = 3600s
lmtp_tls_trust_anchor_file =
lmtp_tlsrpt_enable = no
lmtp_tlsrpt_skip_reused_handshakes = no
lmtp_tlsrpt_socket_name =
lmtp_xforward_timeout = 300s
`),
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
	unread(Unsupported, "not available in this version", `
fallback_relay =
known_tcp_ports = lmtp=24, smtp=25, smtps=submissions=465, submission=587
smtp_address_verify_target = rcpt
smtp_bind_address_enforce = no
smtp_body_checks =
smtp_defer_if_no_mx_address_found = no
smtp_discard_ehlo_keyword_address_maps =
smtp_discard_ehlo_keywords =
smtp_header_checks =
smtp_mime_header_checks =
smtp_min_data_rate = 500
smtp_nested_header_checks =
smtp_per_record_deadline =
smtp_per_request_deadline = ${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}
smtp_reply_filter =
smtp_send_xforward_command = no
smtp_xforward_timeout = 300s
tcp_windowsize = 0
`),
)
