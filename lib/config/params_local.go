package config

// localParams: delivery on this machine.
var localParams = []Param{
	str("mail_spool_directory", "/var/mail", "Where mailboxes are; for a name that is no user of the machine, a Maildir of that name."),
	str("home_mailbox", "Maildir/", "Mailbox below the user's home; with \"/\" at the end a Maildir."),
	accepted(yesno("biff", "no", "Of Postfix; there is no notice of new mail to terminals.")),
	accepted(number("mailbox_size_limit", "51200000", 0, 0, "Largest mailbox file in bytes; a Maildir has no such limit.")),
	number("duplicate_filter_limit", "1000", 0, 0, "Addresses remembered to drop duplicates while an alias expands; 0: no limit."),
	accepted(list("allow_mail_to_commands", "alias, forward", "Where \"|command\" is allowed.")),
	accepted(list("allow_mail_to_files", "alias, forward", "Where \"/file\" is allowed.")),
	accepted(span("command_time_limit", "1000s", second, "How long a command may take for a delivery.")),
	accepted(raw("forward_path", "$home/.forward${recipient_delimiter}${extension}, $home/.forward", "Where a user's .forward is looked for.")),
	yesno("expand_owner_alias", "no", "Use the contents of owner-alias as sender, not its name."),
	yesno("owner_request_special", "yes", "Do not divide owner-list and list-request at a delimiter \"-\"."),
}
