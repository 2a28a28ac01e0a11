package config

// addressParams: which addresses are ours, how they are completed, and where
// mail goes.
var addressParams = []Param{
	match("mydestination", "$myhostname, localhost.$mydomain, localhost", "The domains whose mail is delivered on this machine."),
	{Name: "mynetworks", Kind: KindMatch, compute: networks,
		Help: "The clients that may relay through this system; overrides mynetworks_style."},
	match("authorized_verp_clients", "", "The old name of smtpd_authorized_verp_clients."),
	match("smtpd_authorized_verp_clients", "$authorized_verp_clients", "The clients that may ask for variable envelope return paths (XVERP)."),
	word("mynetworks_style", "host", []string{"host", "subnet", "class"}, "How mynetworks is computed when it is not set: host, subnet or class."),
	match("relay_domains", "", "The domains, with all below them, that this system relays mail to."),
	match("fast_flush_domains", "$relay_domains", "The domains that postqueue -s may name; when it is not set, all."),
	list("parent_domain_matches_subdomains",
		"debug_peer_list, fast_flush_domains, mynetworks, permit_mx_backup_networks, qmqpd_authorized_clients, relay_domains, smtpd_access_maps",
		"The lists in which example.com also stands for the domains below it."),
	list("local_recipient_maps", "proxy:unix:passwd.byname $alias_maps", "Tables of all local recipients; empty: take any."),
	list("relay_recipient_maps", "", "Tables of all recipients in relay_domains; empty: take any."),
	list("alias_maps", "hash:/etc/aliases", "The alias tables of local delivery."),
	list("alias_database", "hash:/etc/aliases", "The alias tables that newaliases rebuilds."),
	str("default_database_type", "hash", "The type of a table that postmap and postalias are given without one."),
	list("transport_maps", "", "Tables from recipient or domain to transport and next hop."),
	str("local_transport", "local:$myhostname", "The transport, with optional next hop, for mydestination."),
	str("relay_transport", "relay", "The transport, with optional next hop, for relay_domains."),
	match("virtual_mailbox_domains", "$virtual_mailbox_maps", "Domains of mailboxes that belong to no users of this machine: virtual_transport takes their mail."),
	list("virtual_mailbox_maps", "", "Tables of all recipients in virtual_mailbox_domains; empty: take any."),
	str("virtual_transport", "virtual", "The transport, with optional next hop, for virtual_mailbox_domains, such as lmtp:unix:private/dovecot-lmtp."),
	str("default_transport", "smtp", "The transport, with optional next hop, for all other domains."),
	str("relayhost", "", "Next hop of mail for other domains; empty: the recipient's domain."),
	str("recipient_delimiter", "", "The characters that may divide user and extension (user+ext)."),
	{Name: "propagate_unmatched_extensions", Kind: KindList, Default: "canonical, virtual",
		Words: []string{"canonical", "virtual", "alias", "forward", "include", "generic"},
		Help:  "The tables after which an extension that they do not have is kept."},
	yesno("append_at_myorigin", "yes", "Complete user to user@$myorigin."),
	yesno("append_dot_mydomain", "no", "Complete user@host to user@host.$mydomain."),
	yesno("allow_percent_hack", "yes", "Read user%domain as user@domain."),
	yesno("swap_bangpath", "yes", "Read site!user as user@site."),
	yesno("allow_min_user", "no", "Allow an address that starts with \"-\"."),
	yesno("resolve_numeric_domain", "no", "Read user@1.2.3.4 as user@[1.2.3.4]."),
	str("empty_address_recipient", "MAILER-DAEMON", "Who gets mail for the null address."),
}

// rewriteParams: addresses that stand for others, in cleanup (ADDRESS_REWRITING_README).
var rewriteParams = []Param{
	match("virtual_alias_domains", "$virtual_alias_maps", "Domains all of whose addresses are in virtual_alias_maps."),
	list("virtual_alias_maps", "$virtual_maps", "Tables of addresses, of any domain, that stand for one or more others."),
	list("virtual_maps", "", "The old name of virtual_alias_maps."),
	number("virtual_alias_recursion_limit", "1000", 1, 0, "How often the result of virtual_alias_maps is looked up again."),
	number("virtual_alias_expansion_limit", "1000", 1, 0, "Addresses that one recipient may become by virtual_alias_maps."),
	number("virtual_alias_address_length_limit", "1000", 1, 0, "Bytes up to which an address is looked up again."),
	number("unknown_virtual_alias_reject_code", "550", 400, 599, "Reply code for a recipient in virtual_alias_domains that virtual_alias_maps do not have."),
	list("canonical_maps", "", "Tables of addresses that are written in another way, in envelope and header."),
	list("sender_canonical_maps", "", "The same for senders, before canonical_maps."),
	list("recipient_canonical_maps", "", "The same for recipients, before canonical_maps."),
	classes("canonical_classes", "envelope_sender, envelope_recipient, header_sender, header_recipient", "Where canonical_maps are used."),
	classes("sender_canonical_classes", "envelope_sender, header_sender", "Where sender_canonical_maps are used."),
	classes("recipient_canonical_classes", "envelope_recipient, header_recipient", "Where recipient_canonical_maps are used."),
	list("masquerade_domains", "", "Domains that hide the subdomains below them."),
	match("masquerade_exceptions", "", "Users whose addresses are not masqueraded."),
	classes("masquerade_classes", "envelope_sender, header_sender, header_recipient", "Where addresses are masqueraded."),
	list("local_header_rewrite_clients", "permit_inet_interfaces", "The clients whose header addresses are completed and rewritten, as those of mail from this machine are."),
	str("remote_header_rewrite_domain", "", "The domain that incomplete header addresses of other clients get; empty: they stay."),
	list("message_drop_headers", "bcc, content-length, resent-bcc, return-path", "The header fields that are taken out of every message."),
	number("header_address_token_limit", "10240", 1, 0, "Words and separators of a header field up to which its addresses are completed and rewritten."),
	list("relocated_maps", "", "Tables of recipients that have moved, with where to."),
	str("always_bcc", "", "Who gets a copy of all mail."),
	list("sender_bcc_maps", "", "Tables from sender to who gets a copy."),
	list("recipient_bcc_maps", "", "Tables from recipient to who gets a copy."),
}

func classes(name, def, help string) Param {
	return Param{Name: name, Kind: KindList, Default: def, Help: help,
		Words: []string{"envelope_sender", "envelope_recipient", "header_sender", "header_recipient"}}
}
