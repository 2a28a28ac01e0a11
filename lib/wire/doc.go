// Package wire reads and writes what two SMTP hosts say to each other, for the server
// and for the client: bounded lines, replies, and content with its dots
// (RFC 5321, sections 2.3.8, 4.2 and 4.5.2).
//
// Everything a peer sends has a hard cap here, nothing allocates per line or per
// message, and content is worked on in blocks. The package imports nothing of ours and
// touches no socket but the connection it is given.
package wire
