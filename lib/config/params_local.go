package config

// localParams: delivery on this machine.
var localParams = []Param{
	str("mail_spool_directory", "/var/mail", "Where mailboxes are; with \"/\" at the end, Maildirs. Not started by root, a Maildir for each name."),
	str("home_mailbox", "", "Mailbox below the user's home; with \"/\" at the end a Maildir."),
	accepted("terminals get no notice of new mail",
		yesno("biff", "yes", "Tell users of new mail on their terminals.")),
	number("mailbox_size_limit", "51200000", 0, 0, "Largest mailbox file in bytes; 0: no limit. A Maildir has none."),
	{Name: "mailbox_delivery_lock", Kind: KindList, Default: "fcntl, dotlock", Words: []string{"flock", "fcntl", "dotlock"},
		Help: "How a mailbox file is locked while mail is put there."},
	number("deliver_lock_attempts", "20", 1, 100000, "How often a lock on a mailbox file is tried for."),
	span("deliver_lock_delay", "1s", second, "The pause between two tries."),
	span("stale_lock_time", "500s", second, "The age from which a lock file is taken for forgotten."),
	yesno("strict_mailbox_ownership", "yes", "Put mail only into mailbox files that are the recipient's own."),
	yesno("require_home_directory", "no", "Defer mail for a user whose home cannot be reached."),
	raw("mailbox_command", "", "The command that takes mail in place of a mailbox."),
	list("mailbox_command_maps", "", "Tables from user to such a command."),
	str("mailbox_transport", "", "The transport, with its next hop (transport:nexthop), that takes mail in place of mailboxes, past aliases and .forward."),
	list("mailbox_transport_maps", "", "Tables from user to such a transport."),
	str("fallback_transport", "", "The same for local recipients who are no users of the machine."),
	list("fallback_transport_maps", "", "Tables from such a name to a transport."),
	raw("luser_relay", "", "Where mail for unknown local recipients goes; empty: it bounces."),
	str("local_command_shell", "", "The program, with options, that runs commands; empty: /bin/sh -c where one is needed."),
	raw("command_execution_directory", "", "Where commands run; empty: in the queue directory."),
	str("command_expansion_filter", safeCharacters, "The characters that mailbox_command may get from a message; others become \"_\"."),
	str("execution_directory_expansion_filter", safeCharacters, "The same for command_execution_directory."),
	str("forward_expansion_filter", safeCharacters, "The same for forward_path."),
	number("duplicate_filter_limit", "1000", 0, 0, "Addresses remembered to drop duplicates while an alias expands; 0: no limit."),
	allowed("allow_mail_to_commands", "Where \"|command\" is allowed."),
	allowed("allow_mail_to_files", "Where \"/file\" is allowed."),
	span("command_time_limit", "1000s", second, "How long a command may take for a delivery."),
	raw("forward_path", "$home/.forward${recipient_delimiter}${extension}, $home/.forward", "Where a user's .forward is looked for."),
	{Name: "prepend_delivered_header", Kind: KindList, Default: "command, file, forward", Words: []string{"command", "file", "forward"},
		Help: "Where Delivered-To: is put before the message."},
	yesno("expand_owner_alias", "no", "Use the contents of owner-alias as sender, not its name."),
	yesno("owner_request_special", "yes", "Do not divide owner-list and list-request at a delimiter \"-\"."),
}

// safeCharacters mean nothing to a shell.
const safeCharacters = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func allowed(name, help string) Param {
	return Param{Name: name, Kind: KindList, Default: "alias, forward", Words: []string{"alias", "forward", "include"}, Help: help}
}
