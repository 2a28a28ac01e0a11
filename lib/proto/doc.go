// Package proto is what the programs of one instance say to each other: typed
// messages over the frames of package ipc. There are five conversations, each with
// a name and a version in its hello:
//
//	control   master and every daemon it starts (descriptor 3): configuration in,
//	          descriptors in, ready out, stop in
//	submit    smtpd, bounce and local to cleanup: a message in, durable or not out
//	journal   cleanup and qmgr: how far the journal is durable, which files are free
//	deliver   qmgr and an agent (smtp, local, bounce): deliveries out, results in
//	operator  postqueue and postsuper to qmgr, over public/qmgr
//
// Every message has Append and Decode. Decode copies what it keeps, unless the
// comment of a field says that it refers to the frame. Any error of Decode is
// ipc.ErrFrame: the peer is broken or hostile and the connection ends.
package proto
