// Package sendmail is the command that programs have run for decades to send a
// message from standard input. It has no rights of its own: it reads the message,
// finds the recipients, and hands everything to postdrop, which works whether the
// mail system runs or not. Under the name mailq it becomes postqueue, and under
// newaliases postalias, for the tables of alias_database.
package sendmail
