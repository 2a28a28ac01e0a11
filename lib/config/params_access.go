package config

// accessParams: who may do what at the SMTP server (SMTPD_ACCESS_README), and in what words
// the others hear of it.
var accessParams = []Param{
	list("smtpd_client_restrictions", "", "Conditions on the client."),
	list("smtpd_helo_restrictions", "", "Conditions on HELO and EHLO."),
	list("smtpd_sender_restrictions", "", "Conditions on MAIL."),
	list("smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", "Who may send to where, before smtpd_recipient_restrictions."),
	list("smtpd_recipient_restrictions", "", "Further conditions at RCPT."),
	list("smtpd_data_restrictions", "", "Conditions on DATA."),
	list("smtpd_end_of_data_restrictions", "", "Conditions on a message that has been received."),
	list("smtpd_restriction_classes", "", "Names of lists of restrictions that main.cf defines."),
	yesno("smtpd_delay_reject", "yes", "Judge client, HELO and sender at RCPT only."),
	yesno("smtpd_relay_before_recipient_restrictions", "${{$compatibility_level} <level {3.6} ? {no} : {yes}}",
		"smtpd_relay_restrictions before smtpd_recipient_restrictions, and not after."),
	yesno("smtpd_reject_unlisted_recipient", "yes", "Refuse recipients that the recipient maps do not have."),
	yesno("smtpd_reject_unlisted_sender", "no", "Refuse senders of our domains that the recipient maps do not have."),
	str("smtpd_null_access_lookup_key", "<>", "What the null sender is looked up as in access tables."),

	number("relay_domains_reject_code", "554", 400, 599, "Reply code of reject_unauth_destination."),
	number("unknown_local_recipient_reject_code", "550", 400, 599, "Reply code for a recipient that local_recipient_maps do not have."),
	number("unknown_relay_recipient_reject_code", "550", 400, 599, "Reply code for a recipient that relay_recipient_maps do not have."),
	number("unknown_virtual_mailbox_reject_code", "550", 400, 599, "Reply code for a recipient that virtual_mailbox_maps do not have."),
	number("access_map_reject_code", "554", 400, 599, "Reply code of REJECT in an access table."),
	number("access_map_defer_code", "450", 400, 499, "Reply code of DEFER in an access table."),
	number("reject_code", "554", 400, 599, "Reply code of reject."),
	number("defer_code", "450", 400, 499, "Reply code of defer."),
	number("invalid_hostname_reject_code", "501", 400, 599, "Reply code of reject_invalid_helo_hostname."),
	number("non_fqdn_reject_code", "504", 400, 599, "Reply code of reject_non_fqdn_helo_hostname, _sender and _recipient."),
	number("unknown_address_reject_code", "450", 400, 599, "Reply code of reject_unknown_sender_domain and _recipient_domain."),
	number("unknown_client_reject_code", "450", 400, 599, "Reply code of reject_unknown_client_hostname and its like."),
	number("unknown_hostname_reject_code", "450", 400, 599, "Reply code of reject_unknown_helo_hostname."),
	number("multi_recipient_bounce_reject_code", "550", 400, 599, "Reply code of reject_multi_recipient_bounce."),
	number("plaintext_reject_code", "450", 400, 599, "Reply code of reject_plaintext_session."),
	number("maps_rbl_reject_code", "554", 400, 599, "Reply code of reject_rbl_client and reject_rhsbl_*: $rbl_code."),
	raw("default_rbl_reply", "$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}", "The words of reject_rbl_client and reject_rhsbl_*."),
	list("rbl_reply_maps", "", "Tables from the domain of a block list to other words."),
	tempfail("reject_tempfail_action", "defer_if_permit", "What becomes of a request when a restriction cannot be checked for now."),
	tempfail("unknown_address_tempfail_action", "$reject_tempfail_action", "The same for reject_unknown_sender_domain and _recipient_domain."),
	tempfail("unknown_helo_hostname_tempfail_action", "$reject_tempfail_action", "The same for reject_unknown_helo_hostname."),

	str("smtpd_policy_service_default_action", "451 4.3.5 Server configuration problem", "What holds when a policy service does not answer."),
	span("smtpd_policy_service_timeout", "100s", second, "How long a policy service may take."),
	span("smtpd_policy_service_max_idle", "300s", second, "After which time without use a connection to a policy service is closed."),
	span("smtpd_policy_service_max_ttl", "1000s", second, "After which time a connection to a policy service is made anew."),
	number("smtpd_policy_service_request_limit", "0", 0, 0, "After how many requests it is; 0: never."),
	number("smtpd_policy_service_try_limit", "2", 1, 100, "How often a policy service is tried for one request."),
	span("smtpd_policy_service_retry_delay", "1s", second, "The pause before it is tried again."),
	str("smtpd_policy_service_policy_context", "", "What a policy service is given as policy_context."),
}

func tempfail(name, def, help string) Param {
	return Param{Name: name, Kind: KindString, Default: def, Words: []string{"defer", "defer_if_permit"}, Help: help}
}
