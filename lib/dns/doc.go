// Package dns finds where mail for a domain goes: MX, A and AAAA records by the
// servers of resolv.conf, and the lines of a hosts file; and the other way around, what
// name an address has.
//
// It gives three kinds of failure, which callers tell apart with errors.Is:
// ErrNotFound (the name or the record does not exist; final), ErrTemporary (try
// again later) and ErrNullMX (the domain says that it takes no mail, RFC 7505).
// Answers are hostile input: the question must be ours, CNAME chains are followed
// a bounded number of steps, records for other names are not looked at, and names
// that are no host names are passed over.
//
// The package opens UDP and TCP sockets to the servers it was given and reads the
// clock; it opens no file. It imports nothing of ours.
package dns
