package config

// localParams: delivery on this machine.
var localParams = []Param{
	str("mail_spool_directory", "/var/mail", "Where mailboxes are; for a name that is no user of the machine, a Maildir of that name."),
	str("home_mailbox", "Maildir/", "Mailbox below the user's home; with \"/\" at the end a Maildir."),
	accepted("terminals get no notice of new mail",
		yesno("biff", "yes", "Tell users of new mail on their terminals.")),
	accepted("mail goes into Maildirs, which have no size",
		number("mailbox_size_limit", "51200000", 0, 0, "Largest mailbox file in bytes.")),
	number("duplicate_filter_limit", "1000", 0, 0, "Addresses remembered to drop duplicates while an alias expands; 0: no limit."),
	unsupported("commands are not available in this version",
		list("allow_mail_to_commands", "alias, forward", "Where \"|command\" is allowed.")),
	unsupported("files are not available in this version",
		list("allow_mail_to_files", "alias, forward", "Where \"/file\" is allowed.")),
	unsupported("commands are not available in this version",
		span("command_time_limit", "1000s", second, "How long a command may take for a delivery.")),
	unsupported(".forward is not available in this version",
		raw("forward_path", "$home/.forward${recipient_delimiter}${extension}, $home/.forward", "Where a user's .forward is looked for.")),
	yesno("expand_owner_alias", "no", "Use the contents of owner-alias as sender, not its name."),
	yesno("owner_request_special", "yes", "Do not divide owner-list and list-request at a delimiter \"-\"."),
}
