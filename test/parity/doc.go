// Package parity holds conversations with Debian's Postfix that were recorded, and has the
// same ones with Postrider: what the commands print and return, what the SMTP server
// answers, what postqueue shows, and what the log says. The two must be equal, but for
// what doc/differences.md gives a reason for.
//
//	go test ./test/parity           Postrider against the recordings
//	go test ./test/parity -record   records anew, as root, with Debian's Postfix
package parity
