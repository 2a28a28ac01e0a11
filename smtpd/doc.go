// Package smtpd receives mail by SMTP (RFC 5321) and hands it to cleanup.
//
// A front is a session: it reads one command line at a time, acts, and puts the reply into
// Postfix's words; the replies to pipelined commands go out in one write. A message's
// content is taken in blocks into the frame for cleanup.
//
//	client -> front (lines, limits, counts, replies) -> transaction (envelope)
//	   `------------------- content ----------------------> cleanup
//
// A session is one goroutine. Its state is the front's, and one transaction, which is
// replaced as a whole. The program opens no file by name and has no descriptor of the spool.
package smtpd
