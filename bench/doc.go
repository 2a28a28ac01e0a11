// Package bench measures the running suite: messages per second from end to end, memory
// and bytes under a backlog, processor time of each program. It is built with the tag
// bench only; "make bench" runs it and the benchmarks of lib/journal and lib/spool, and
// writes RESULTS.md. Every run is checked: what was sent must have arrived.
package bench
