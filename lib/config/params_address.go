package config

// addressParams: which addresses are ours, how they are completed, and where
// mail goes.
var addressParams = []Param{
	match("mydestination", "$myhostname, localhost.$mydomain, localhost", "The domains whose mail is delivered on this machine."),
	{Name: "mynetworks", Kind: KindMatch, compute: networks,
		Help: "The clients that may relay through this system; overrides mynetworks_style."},
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
	list("transport_maps", "", "Tables from recipient or domain to transport and next hop."),
	str("local_transport", "local:$myhostname", "The transport, with optional next hop, for mydestination."),
	str("relay_transport", "relay", "The transport, with optional next hop, for relay_domains."),
	str("default_transport", "smtp", "The transport, with optional next hop, for all other domains."),
	str("relayhost", "", "Next hop of mail for other domains; empty: the recipient's domain."),
	str("recipient_delimiter", "", "The characters that may divide user and extension (user+ext)."),
	unsupported("only aliases are looked up, and an alias drops the extension",
		list("propagate_unmatched_extensions", "canonical, virtual", "Where an extension that a table does not have is kept.")),
	yesno("append_at_myorigin", "yes", "Complete user to user@$myorigin."),
	yesno("append_dot_mydomain", "no", "Complete user@host to user@host.$mydomain."),
	yesno("allow_percent_hack", "yes", "Read user%domain as user@domain."),
	yesno("swap_bangpath", "yes", "Read site!user as user@site."),
	yesno("allow_min_user", "no", "Allow an address that starts with \"-\"."),
	yesno("resolve_numeric_domain", "no", "Read user@1.2.3.4 as user@[1.2.3.4]."),
	str("empty_address_recipient", "MAILER-DAEMON", "Who gets mail for the null address."),
}
