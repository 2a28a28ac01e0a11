package config

// smtpdParams: receiving by SMTP, and the limits on messages.
var smtpdParams = []Param{
	number("message_size_limit", "10240000", 0, 0, "Largest message in bytes; 0: no limit."),
	number("line_length_limit", "2048", 512, 1<<20, "Longest SMTP command line in bytes."),
	number("header_size_limit", "102400", 1, 1<<30, "Bytes of one header that are kept."),
	number("hopcount_limit", "50", 1, 100000, "Received: headers at which a message is refused as looping."),
	number("queue_minfree", "0", 0, 0, "Free bytes that the queue's file system must keep; 0: none but the system's own reserve."),

	str("smtpd_banner", "$myhostname ESMTP $mail_name", "What follows 220 in the greeting."),
	span("smtpd_timeout", "${stress?{10}:{300}}s", second, "How long a client may take for a command, and to read a reply."),
	number("smtpd_recipient_limit", "1000", 1, 1000000, "Recipients of one message from one client."),
	number("smtpd_recipient_overshoot_limit", "1000", 1, 1000000, "Recipients over the limit before each counts as an error."),
	number("smtpd_soft_error_limit", "10", 1, 1000000, "Errors of a client before every reply is delayed."),
	number("smtpd_hard_error_limit", "${stress?{1}:{20}}", 1, 1000000, "Errors of a client before it is disconnected."),
	span("smtpd_error_sleep_time", "1s", second, "Delay of replies after smtpd_soft_error_limit errors."),
	number("smtpd_junk_command_limit", "${stress?{1}:{100}}", 1, 1000000, "NOOP, VRFY, ETRN and RSET in a message before each counts as an error."),
	number("smtpd_client_connection_count_limit", "50", 0, 1000000, "Connections of one client at once; 0: no limit."),
	unsupported("smtpd_client_connection_count_limit holds for all but mynetworks, as with this default",
		match("smtpd_client_event_limit_exceptions", "${smtpd_client_connection_limit_exceptions:$mynetworks}", "The clients that the client limits do not hold for.")),
	yesno("smtpd_peername_lookup", "yes", "Look up the client's host name, and whether it leads back to the client; else it is \"unknown\"."),
	yesno("smtpd_helo_required", "no", "Insist on HELO or EHLO before MAIL."),
	yesno("disable_vrfy_command", "no", "Refuse VRFY."),
	yesno("strict_rfc821_envelopes", "no", "Insist on <> around addresses in MAIL and RCPT."),
	word("smtpd_forbid_bare_newline", "normalize", []string{"no", "normalize", "yes", "note", "reject"},
		"What to do with a line that ends in LF alone: only CRLF.CRLF ends a message in any case."),

	yesno("always_add_missing_headers", "no", "Complete Date:, From: and Message-Id: of mail from other machines too."),
	yesno("enable_long_queue_ids", "yes", "Queue ids are always long; here for Postfix's main.cf."),
	number("journal_inline_limit", "262144", 4096, 16<<20, "Bytes up to which a message is stored inside the journal; a larger one gets a file."),
	number("journal_size_limit", "0", 0, 0, "Bytes that the journal may take on disk before mail is refused for now; 0: no limit but the disk."),
}
