// Package smtpd receives mail by SMTP (RFC 5321) and hands it to cleanup.
//
// The protocol engine is go-smtp. Between it and the client stands a front: a net.Conn
// that gives the engine exactly one command line at a time, answers what the engine does
// not know, puts every reply into Postfix's words, and sends the replies to pipelined
// commands in one write. A message's content never goes through the engine: the front
// takes it in blocks into the frame for cleanup and shows the engine a lone dot.
//
//	client -> front (lines, limits, counts, replies) -> go-smtp -> transaction
//	   `------------------- content -------------------------------> cleanup
//
// A session is one goroutine. Its state is the front's, and one transaction, which is
// replaced as a whole. The program opens no file by name and has no descriptor of the spool.
package smtpd
