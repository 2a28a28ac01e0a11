// Package sendmail is the command that programs have run for decades to send a
// message from standard input. It has no rights of its own: it reads the message,
// finds the recipients, and hands everything to postdrop, which works whether the
// mail system runs or not. Under the name mailq it lists the queue, and under
// newaliases it says that there is nothing to rebuild.
package sendmail
