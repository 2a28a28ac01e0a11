package config

import "slices"

// postfixTLS are the parameters of Postfix about TLS and SASL that nothing
// here reads. Who supports one moves it to a row of its own.
var postfixTLS = slices.Concat(
	unread(WithoutEffect, "Go's TLS library chooses: TLS 1.2 and 1.3, and no weak cipher", `
tls_config_file = default
tls_config_name =
tls_daemon_random_bytes = 32
tls_disable_workarounds =
tls_eecdh_auto_curves = X25519 X448 prime256v1 secp521r1 secp384r1
tls_eecdh_strong_curve = prime256v1
tls_eecdh_ultra_curve = secp384r1
tls_export_cipherlist = aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH
tls_fast_shutdown_enable = yes
tls_ffdhe_auto_groups = ffdhe2048 ffdhe3072
tls_high_cipherlist = aNULL:-aNULL:HIGH:@STRENGTH
tls_legacy_public_key_fingerprints = no
tls_low_cipherlist = aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH
tls_medium_cipherlist = aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH
tls_null_cipherlist = eNULL:!aNULL
tls_preempt_cipherlist = no
tls_random_bytes = 32
tls_random_exchange_name = ${data_directory}/prng_exch
tls_random_prng_update_period = 3600s
tls_random_reseed_period = 3600s
tls_random_source = dev:/dev/urandom
tls_session_ticket_cipher = aes-256-cbc
tls_ssl_options =
`),
	unread(Unsupported, "there is no tlsproxy; TLS is spoken by smtpd and smtp", `
tlsproxy_client_CAfile = $smtp_tls_CAfile
tlsproxy_client_CApath = $smtp_tls_CApath
tlsproxy_client_cert_file = $smtp_tls_cert_file
tlsproxy_client_chain_files = $smtp_tls_chain_files
tlsproxy_client_dcert_file = $smtp_tls_dcert_file
tlsproxy_client_dkey_file = $smtp_tls_dkey_file
tlsproxy_client_eccert_file = $smtp_tls_eccert_file
tlsproxy_client_eckey_file = $smtp_tls_eckey_file
tlsproxy_client_enforce_tls = $smtp_enforce_tls
tlsproxy_client_fingerprint_digest = $smtp_tls_fingerprint_digest
tlsproxy_client_key_file = $smtp_tls_key_file
tlsproxy_client_level =
tlsproxy_client_loglevel = $smtp_tls_loglevel
tlsproxy_client_loglevel_parameter = smtp_tls_loglevel
tlsproxy_client_per_site = $smtp_tls_per_site
tlsproxy_client_policy =
tlsproxy_client_policy_maps = ${tlsproxy_client_policy:$smtp_tls_policy_maps}
tlsproxy_client_scert_verifydepth = $smtp_tls_scert_verifydepth
tlsproxy_client_security_level = ${tlsproxy_client_level:$smtp_tls_security_level}
tlsproxy_client_use_tls = $smtp_use_tls
tlsproxy_enforce_tls = $smtpd_enforce_tls
tlsproxy_tls_CAfile = $smtpd_tls_CAfile
tlsproxy_tls_CApath = $smtpd_tls_CApath
tlsproxy_tls_always_issue_session_ids = $smtpd_tls_always_issue_session_ids
tlsproxy_tls_ask_ccert = $smtpd_tls_ask_ccert
tlsproxy_tls_ccert_verifydepth = $smtpd_tls_ccert_verifydepth
tlsproxy_tls_cert_file = $smtpd_tls_cert_file
tlsproxy_tls_chain_files = $smtpd_tls_chain_files
tlsproxy_tls_ciphers = $smtpd_tls_ciphers
tlsproxy_tls_dcert_file = $smtpd_tls_dcert_file
tlsproxy_tls_dh1024_param_file = $smtpd_tls_dh1024_param_file
tlsproxy_tls_dh512_param_file = $smtpd_tls_dh512_param_file
tlsproxy_tls_dkey_file = $smtpd_tls_dkey_file
tlsproxy_tls_eccert_file = $smtpd_tls_eccert_file
tlsproxy_tls_eckey_file = $smtpd_tls_eckey_file
tlsproxy_tls_eecdh_grade = $smtpd_tls_eecdh_grade
tlsproxy_tls_enable_rpk = $smtpd_tls_enable_rpk
tlsproxy_tls_exclude_ciphers = $smtpd_tls_exclude_ciphers
tlsproxy_tls_fingerprint_digest = $smtpd_tls_fingerprint_digest
tlsproxy_tls_key_file = $smtpd_tls_key_file
tlsproxy_tls_loglevel = $smtpd_tls_loglevel
tlsproxy_tls_mandatory_ciphers = $smtpd_tls_mandatory_ciphers
tlsproxy_tls_mandatory_exclude_ciphers = $smtpd_tls_mandatory_exclude_ciphers
tlsproxy_tls_mandatory_protocols = $smtpd_tls_mandatory_protocols
tlsproxy_tls_protocols = $smtpd_tls_protocols
tlsproxy_tls_req_ccert = $smtpd_tls_req_ccert
tlsproxy_tls_security_level = $smtpd_tls_security_level
tlsproxy_use_tls = $smtpd_use_tls
tlsproxy_watchdog_timeout = 10s
`),
	unread(WithoutEffect, "TLS is Go's: it chooses among the ciphers of TLS 1.2 and 1.3 that are not broken, and these lists of OpenSSL's mean nothing to it", `
smtpd_tls_ciphers = medium
smtpd_tls_mandatory_ciphers = medium
smtpd_tls_exclude_ciphers =
smtpd_tls_mandatory_exclude_ciphers =
`),
	unread(WithoutEffect, "smtpd's TLS sessions are resumed by tickets, whose keys Go makes and changes by itself; smtp keeps connections instead (smtp_connection_cache_on_demand)", `
smtpd_tls_session_cache_database =
smtpd_tls_session_cache_timeout = 3600s
smtpd_tls_always_issue_session_ids = yes
`),
	unread(WithoutEffect, "Go's TLS chooses curves and has no finite field Diffie-Hellman", `
smtpd_tls_dh1024_param_file =
smtpd_tls_dh512_param_file =
smtpd_tls_eecdh_grade = auto
`),
	unread(Unsupported, "DSA certificates are refused by everybody; use smtpd_tls_chain_files", `
smtpd_tls_dcert_file =
smtpd_tls_dkey_file = $smtpd_tls_dcert_file
`),
	unread(Unsupported, "certificates of clients are not asked for: let clients log in (smtpd_sasl_auth_enable), or list their addresses in mynetworks", `
smtpd_tls_CAfile =
smtpd_tls_CApath =
smtpd_tls_ask_ccert = no
smtpd_tls_ccert_verifydepth = 9
smtpd_tls_req_ccert = no
smtpd_tls_fingerprint_digest = ${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}
smtpd_tls_enable_rpk = no
relay_clientcerts =
`),
	unread(Unsupported, "DANE and fingerprints are refused as levels: use verify or secure with smtp_tls_CAfile", `
tls_dane_digests = sha512 sha256
`),
	unread(Unsupported, "one certificate is shown to all; write every name into it", `
tls_server_sni_maps =
`),
	unread(WithoutEffect, "a wildcard of a certificate stands for one label, as RFC 6125 wants it", `
tls_wildcard_matches_multiple_labels = yes
`),
	unread(Unsupported, "there is no Cyrus SASL: set smtpd_sasl_type to dovecot or file", `
cyrus_sasl_config_path =
`),
	unread(Unsupported, "write two services into master.cf, one with -o smtpd_sasl_auth_enable=no", `
smtpd_sasl_exceptions_networks =
`),
	unread(Unsupported, "Dovecot has the realm (auth_default_realm)", `
smtpd_sasl_local_domain =
`),
	unread(Unsupported, "the auth server decides which mechanisms it offers (Dovecot: auth_mechanisms)", `
smtpd_sasl_mechanism_filter = !external, static:rest
`),
)
