// Package postdrop takes a message from its standard input and puts it into
// maildrop/, whether the mail system runs or not. sendmail runs it; it is the one
// program that is set-gid (setgid_group), so that users need no right to maildrop/
// themselves. What it reads comes from a user of the machine and is hostile, and so
// are its environment, arguments, descriptors, limits and signals: enter.go cleans
// them before anything else. It is linked statically, from the standard library,
// x/sys and a few small packages of ours.
//
// Where set-gid has no effect (no_new_privs) cleanup takes the message at a socket; see
// hand.go.
//
// A submission is safe when postdrop exits 0: the file is written under a temporary
// name, synced, renamed and synced again.
package postdrop
