// Package durable proves from outside that no message is accepted before it is on the
// disk: the order of the system calls of smtpd and cleanup, and what a client is told
// when a sync fails.
package durable
