package config

import "strings"

// tlsParams: transport security (RFC 3207) and authentication (RFC 4954), of both sides.
var tlsParams = []Param{
	checked(str("smtp_tls_security_level", "", "TLS to servers: none, may, encrypt, verify, secure; empty: as smtp_use_tls and smtp_enforce_tls say."), checkLevel),
	yesno("smtp_use_tls", "no", "Of old; smtp_tls_security_level = may says it better."),
	yesno("smtp_enforce_tls", "no", "Of old; smtp_tls_security_level = encrypt or verify says it better."),
	yesno("smtp_tls_enforce_peername", "yes", "With smtp_enforce_tls: verify the server's name too."),
	list("smtp_tls_policy_maps", "", "The security level, with match=, protocols= and servername=, by next hop."),
	str("smtp_tls_CAfile", "", "The certificates of authorities that are trusted; with no smtp_tls_CApath either, those of the system."),
	str("smtp_tls_CApath", "", "A directory of them, under the names that c_rehash gives."),
	yesno("tls_append_default_CA", "no", "Trust the system's authorities besides those of smtp_tls_CAfile and smtp_tls_CApath."),
	str("smtp_tls_cert_file", "", "The certificate that is shown to servers, with its chain; empty: none."),
	str("smtp_tls_key_file", "$smtp_tls_cert_file", "The private key of smtp_tls_cert_file."),
	list("smtp_tls_chain_files", "", "Files with private keys, each followed by its chain; they take the place of smtp_tls_cert_file."),
	number("smtp_tls_loglevel", "0", 0, 4, "1: log a line for each TLS session."),
	yesno("smtp_tls_wrappermode", "no", "Begin with TLS, without STARTTLS (port 465)."),
	checked(str("smtp_tls_protocols", ">=TLSv1", "Versions of TLS for level may; below TLSv1.2 none is used."), checkVersions),
	checked(str("smtp_tls_mandatory_protocols", ">=TLSv1", "Versions of TLS for the levels above; below TLSv1.2 none is used."), checkVersions),
	list("smtp_tls_verify_cert_match", "hostname", "The names one of which the certificate must have at level verify."),
	list("smtp_tls_secure_cert_match", "nexthop, dot-nexthop", "The same at level secure."),
	str("smtp_tls_servername", "", "The name to ask a server's certificate for (SNI): a name, hostname or nexthop; empty: none."),
	yesno("smtp_tls_note_starttls_offer", "no", "Log when a server offers STARTTLS and it is not used."),
	span("smtp_starttls_timeout", "300s", second, "How long STARTTLS and the handshake may take."),

	yesno("smtp_sasl_auth_enable", "no", "Log in to servers that smtp_sasl_password_maps has."),
	list("smtp_sasl_password_maps", "", "user:password by sender, server, or next hop as it is written."),
	yesno("smtp_sender_dependent_authentication", "no", "Look for the sender in smtp_sasl_password_maps first."),
	{Name: "smtp_sasl_security_options", Kind: KindList, Default: "noplaintext, noanonymous", Words: saslOptions,
		Help: "What a mechanism must not do without TLS."},
	{Name: "smtp_sasl_tls_security_options", Kind: KindList, Default: "$smtp_sasl_security_options", Words: saslOptions,
		Help: "What it must not do with TLS; noanonymous allows plain passwords there."},
	{Name: "smtp_sasl_tls_verified_security_options", Kind: KindList, Default: "$smtp_sasl_tls_security_options", Words: saslOptions,
		Help: "What it must not do with a server whose certificate was verified."},
	list("smtp_sasl_mechanism_filter", "", "The mechanisms that may be used; empty: all of SCRAM-SHA-256, PLAIN and LOGIN."),
	yesno("smtp_sasl_auth_soft_bounce", "yes", "Defer, and not return, mail for a server that refuses the login."),

	{Name: "smtpd_tls_security_level", Kind: KindString, Words: []string{"", "none", "may", "encrypt"},
		Help: "TLS from clients: none, may, or encrypt; empty: as smtpd_use_tls and smtpd_enforce_tls say."},
	yesno("smtpd_use_tls", "no", "Of old; smtpd_tls_security_level = may says it better."),
	yesno("smtpd_enforce_tls", "no", "Of old; smtpd_tls_security_level = encrypt says it better."),
	str("smtpd_tls_cert_file", "", "The server's certificate, with its chain."),
	str("smtpd_tls_key_file", "$smtpd_tls_cert_file", "The private key of smtpd_tls_cert_file."),
	str("smtpd_tls_eccert_file", "", "One more certificate, with an elliptic curve key."),
	str("smtpd_tls_eckey_file", "$smtpd_tls_eccert_file", "The private key of smtpd_tls_eccert_file."),
	list("smtpd_tls_chain_files", "", "Files with private keys, each followed by its chain; they take the place of the others."),
	yesno("smtpd_tls_auth_only", "no", "Offer AUTH behind TLS only."),
	yesno("smtpd_tls_wrappermode", "no", "Begin with TLS, without STARTTLS (port 465)."),
	yesno("smtpd_tls_received_header", "no", "Say in Received: how the session was encrypted."),
	number("smtpd_tls_loglevel", "0", 0, 4, "1: log a line for each TLS session."),
	checked(str("smtpd_tls_protocols", ">=TLSv1", "Versions of TLS for level may; below TLSv1.2 none is used."), checkVersions),
	checked(str("smtpd_tls_mandatory_protocols", ">=TLSv1", "Versions of TLS for level encrypt; below TLSv1.2 none is used."), checkVersions),
	span("smtpd_starttls_timeout", "${stress?{10}:{300}}s", second, "How long a handshake may take."),

	yesno("smtpd_sasl_auth_enable", "no", "Let clients log in (AUTH)."),
	{Name: "smtpd_sasl_type", Kind: KindString, Default: "cyrus", Words: []string{"cyrus", "dovecot", "file"},
		Help: "Who knows the passwords: dovecot (its auth socket), or file (a password file of ours); cyrus is not there."},
	str("smtpd_sasl_path", "smtpd", "The socket, in the queue directory, with a full path, or inet:host:port; or the password file."),
	{Name: "smtpd_sasl_security_options", Kind: KindList, Default: "noanonymous", Words: saslOptions,
		Help: "What a mechanism must not do without TLS."},
	{Name: "smtpd_sasl_tls_security_options", Kind: KindList, Default: "$smtpd_sasl_security_options", Words: saslOptions,
		Help: "What it must not do with TLS."},
	yesno("smtpd_sasl_authenticated_header", "no", "Name who logged in in Received:."),
	str("smtpd_sasl_service", "smtp", "The service that is named to Dovecot."),
	number("smtpd_sasl_response_limit", "12288", 1, 32<<10, "Bytes of one answer in a login."),
	list("smtpd_sender_login_maps", "", "The logins that may use a sender address, for reject_sender_login_mismatch."),
	yesno("broken_sasl_auth_clients", "no", "Offer AUTH=, too, for old clients."),
}

var saslOptions = []string{"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth"}

// lmtpOther are the defaults in which LMTP is not like SMTP, and the names.
var lmtpOther = map[string]string{
	"lmtp_connect_timeout": "0s", "lmtp_tcp_port": "24", "lmtp_skip_quit_response": "no", "lmtp_tls_secure_cert_match": "nexthop",
	"lmtp_helo_timeout": "lmtp_lhlo_timeout", "lmtp_helo_name": "lmtp_lhlo_name",
}

// lmtpParams are smtp's, for what master.cf runs as lmtp.
func lmtpParams() (ps []Param) {
	for _, p := range append(append([]Param(nil), smtpParams...), tlsParams...) {
		rest, ok := strings.CutPrefix(p.Name, "smtp_")
		if !ok || rest == "fallback_relay" {
			continue
		}
		p.Name = "lmtp_" + rest
		p.Default = strings.ReplaceAll(p.Default, "$smtp_", "$lmtp_")
		if other := lmtpOther[p.Name]; strings.HasPrefix(other, "lmtp_") {
			p.Name = other
		} else if other != "" {
			p.Default = other
		}
		p.Help = "Of LMTP: " + p.Help
		ps = append(ps, p)
	}
	return ps
}
