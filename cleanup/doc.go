// Package cleanup makes mail durable. It takes messages from smtpd, bounce and
// local (the submit conversation) and from the files that postdrop leaves in
// maildrop/, completes the headers of local mail, and appends everything to the
// journal. Nobody hears that a message is taken before it is on the disk (S1); one
// sync serves all that came while the one before ran.
//
// It is the only writer of incoming/ and content/, runs with its own uid, and needs
// nobody else: mail is accepted while qmgr is away, and what qmgr has to know, how
// far the journal is durable, it is told when it comes.
//
// Files: service.go holds the parts together; submit.go and replies.go serve
// clients, message.go is one message from its first byte to its answer, queue.go
// speaks with qmgr, maildrop.go and remove.go read maildrop/.
package cleanup
