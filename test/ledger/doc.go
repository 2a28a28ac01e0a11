// Package ledger is the oracle of the tests that put mail through running programs: it
// writes down what a source was told about each recipient of each message, and what
// sinks, mailboxes, bounces and the queue gave back, and judges one against the other
// (reliability.md D2).
//
// An entry is a message and one of its recipients. The source says what became of it:
// acknowledged (250 was seen after the dot), unknown (the connection was lost after the
// dot), or rejected. Whoever finds it later says delivered, bounced or queued. What was
// acknowledged and is found nowhere is lost; what was never sent, or was rejected, and is
// delivered is unexpected; what is delivered with another content than was sent is mixed, or
// truncated where it is shorter. Those four are never allowed. Delivered more than once is a duplicate, which a kill
// allows within bounds; an unknown one that is delivered was recovered.
//
// The package imports the standard library alone and touches nothing. Every harness of the
// tests judges by it, and so does the command smtp-ledger, with which an operator tries an
// installation (test/ledger/command).
package ledger
