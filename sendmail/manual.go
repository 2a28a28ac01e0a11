package sendmail

import "postrider/lib/manual"

// optionHelp says what each letter of spec does; its order is the manual's.
var optionHelp = []manual.Item{
	{Term: "-bm", Text: "Read a message from standard input and send it: what is done without -b."},
	{Term: "-bp", Text: "List the queue, as mailq(1)."},
	{Term: "-bi, -I", Text: "Rebuild the alias tables, as newaliases(1)."},
	{Term: "-bs", Text: "Speak SMTP on standard input and output."},
	{Term: "-bv", Text: "Deliver nothing: mail the sender a report of what would become of mail for each recipient. Servers are asked up to RCPT TO; no message is read."},
	{Term: "-bd, -bl", Text: "Start the mail system, as postrider(1) start."},
	{Term: "-bh, -bH", Text: "Accepted: there is no host status."},
	{Term: "-C config_dir", Text: "Directory of main.cf, or a file in it."},
	{Term: "-f sender, -r sender", Text: "The envelope sender; else the caller's login name. Empty or <> for none."},
	{Term: "-F name", Text: "The sender's full name, for a From: header that is missing."},
	{Term: "-i, -oi", Text: "A line with a dot alone does not end the message."},
	{Term: "-t", Text: "Take the recipients from To:, Cc: and Bcc:, besides those of the command line. Bcc: is removed."},
	{Term: "-B type", Text: "The body is 7BIT or 8BITMIME."},
	{Term: "-N when", Text: "Of what to tell the sender: never, or success, failure, delay with commas between (RFC 3461)."},
	{Term: "-R what", Text: "What of the message a notice returns: full or hdrs."},
	{Term: "-V id", Text: "The envelope id that notices mention."},
	{Term: "-q", Text: "Try all deferred mail now."},
	{Term: "-qIid", Text: "Try this message now."},
	{Term: "-qRsite", Text: "Try the deferred mail for this domain now."},
	{Term: "-v", Text: "Mail the sender a report of what became of each recipient at the first attempt."},
	{Term: "-A, -c, -e, -G, -h, -L, -m, -n, -o, -O, -p, -U, -x, -X", Text: "Accepted for compatibility, without effect where Postfix has none."},
}

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "sendmail", Section: 1, Aliases: []string{"mailq", "newaliases"}, Summary: "submit mail, list the queue, rebuild aliases",
		Synopsis: []string{"[option ...] [recipient ...]", "mailq [-C config_dir]", "newaliases [-C config_dir]"},
		Text: `sendmail reads a message from standard input, up to its end or a line with a dot alone, and puts it into the queue by postdrop(1), whether the mail system runs or not. When it ends with 0, the message is on the disk.

mailq lists the queue, as postqueue(1) -p. newaliases rebuilds the tables of alias_database.`,
		Options: optionHelp,
		More: []manual.Section{{Title: "Exit status", Text: "As in sysexits(3): 0 sent, 64 wrong usage, 65 wrong data, 66 no input, 69 not available, 75 try again later, 77 not allowed."},
			{Title: "Environment", Items: []manual.Item{{Term: "MAIL_CONFIG", Text: "Directory of main.cf."}}}},
		See: []string{"postdrop(1)", "postqueue(1)", "aliases(5)", "postconf(5)"}}
}
