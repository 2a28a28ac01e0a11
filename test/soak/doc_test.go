// Package soak lets a mail system work for a long time among faults, and looks whether
// anything is lost and anything grows: make soak (two hours, a million messages), make
// soak-short (ten minutes), and some seconds of it in go test.
//
// The run has two parts. In the first nothing is killed, so that what grows in a process
// shows: far ends that stop answering, processes that stand still for a moment, reloads,
// a log that is rotated, operators that hold, release, requeue, flush and list. In the
// second part processes and the whole system are killed too. Between rounds the load
// pauses, the queue drains, and everything is counted at rest: memory in use, resident
// size, descriptors, threads and goroutines of each process, files of the queue
// directory. The oracle is package ledger.
package soak
