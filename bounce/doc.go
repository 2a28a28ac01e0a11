// Package bounce is the daemon that tells senders what became of their mail: it
// takes from qmgr, as deliveries to the service "bounce", the recipients to report
// and the reason for each, writes a report (RFC 3464, in the form of Postfix's
// bounce(8)), and hands it to cleanup.
//
//	main.go      what master handed over, reload, stop
//	settings.go  the parameters
//	notice.go    who is told of what, and what qmgr hears of it
//	report.go    the report as a message of three parts
//	texts.go     its words
//	write.go     lines: folded, and cleaned of what a peer put into them
//	original.go  the part of the message that goes back
//
// A report of a failure names the recipients it takes over (mail.Replaces): they are
// crossed off in the same breath in which the report enters the queue, so no failure
// is forgotten and none is reported twice. Nothing here ever answers the null sender,
// and what cannot be delivered to postmaster is dropped with a line in the log: no
// loop is possible.
//
// It opens no file; the original comes with the delivery.
package bounce
