// Package local is the daemon that delivers on this machine: it expands aliases(5),
// writes into the Maildirs of users, and sends on what an alias points elsewhere
// (Postfix's local(8)).
//
//	main.go      what master handed over, reload, stop; the helper's door
//	site.go      what one configuration says
//	account.go   users of the machine, from passwd(5) and group(5)
//	deliver.go   one recipient from request to result
//	expand.go    what an alias, a .forward or a list stands for
//	forward.go   one new message in the place of a recipient
//	loop.go      Delivered-To, against loops between machines
//	mailbox.go   which mailbox, command or file, and with whose rights
//	route.go     the maildir of a route in sched.cf
//	macros.go    what a delivery puts into mailbox_command and its like
//	gate.go      one delivery of a user at a time knocks at his home
//	helper.go    the process that has the recipient's rights
//	job.go       what it does there
//	command.go   a command and the meaning of its end
//	mbox.go      a message at the end of a mailbox file, all or nothing
//	maildir.go   one file in a Maildir, all or nothing
//	linefeeds.go lines as Unix has them
//	failure.go   what an error means for the mail
//
// Started by root, local itself opens nothing that a user controls: for each mailbox,
// .forward, list, command and file it starts itself again as a helper, which has the
// user's uid and groups from its first instruction and gets job and message through a
// pipe. Not started by root, there is one owner of everything, and each name has a
// Maildir below mail_spool_directory. root is a user like any other, as in Postfix, but
// for commands, which never have root's rights: without an alias its mail goes to its own
// mailbox.
package local
