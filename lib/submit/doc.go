// Package submit is the client's half of the submit conversation (package proto): how
// smtpd, bounce and local hand a message to cleanup and learn whether it is durable.
//
// One Client serves all goroutines of a process over one connection. A message that
// fits into one frame goes in one; a larger one is streamed, so that memory does not
// grow with it. When cleanup dies, what was complete and not answered is ErrUnknown, all
// else is refused for now; the next connection is used as soon as it is there.
//
// The package imports mail, ipc and proto, and touches no socket but the one it is given.
package submit
