// Package instance runs a private mail system for a test: the programs as built from the
// working tree, a main.cf and master.cf in a temporary directory, a listener on a
// loopback address of its own, no root. What the test asks is asked from outside, as a
// user would: by SMTP, by the commands, by the log and by signals.
//
// A test that runs as root starts the system as the user nobody, so that the same paths
// are tested; what root does differently has tests of its own.
package instance
