// Package local is the daemon that delivers on this machine: it expands aliases(5),
// writes into the Maildirs of users, and sends on what an alias points elsewhere
// (Postfix's local(8)).
//
//	main.go      what master handed over, reload, stop; the helper's door
//	site.go      what one configuration says
//	account.go   users of the machine, from passwd(5) and group(5)
//	deliver.go   one recipient from request to result
//	expand.go    what an alias stands for
//	forward.go   one new message in the place of a recipient
//	loop.go      Delivered-To, against loops between machines
//	mailbox.go   which Maildir, and with whose rights
//	maildir.go   one file in a Maildir, all or nothing
//	helper.go    the process that has the recipient's rights
//	failure.go   what an error means for the mail
//
// Started by root, local itself opens nothing that a user controls: for each mailbox
// it starts itself again as a helper, which has the recipient's uid and groups from
// its first instruction and gets the message through a pipe. Not started by root,
// there is one owner of everything, and each name has a Maildir below
// mail_spool_directory. root is a user like any other, as in Postfix: without an
// alias its mail goes to its own home.
//
// |command, /file, :include: and .forward are not there yet. An alias with one of the
// first three waits in the queue with a reason; nothing is lost.
package local
