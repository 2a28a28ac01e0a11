// Package scale runs the built programs beside what a large site has: a million
// messages that wait, ten thousand destinations that never answer, mailings of a
// hundred thousand. The question is always the same: does mail that could be delivered
// notice any of it.
//
// "go test" runs small versions that take seconds. "make scale" runs the full ones
// (build tag scale; root, for a network of its own) and writes what was asked and what
// was measured into bench/SCALE.md.
//
// A backlog is made offline (Fill), by the packages that cleanup and qmgr make it with,
// since a million messages by SMTP take minutes. Everything else is asked from outside:
// mail by SMTP, a sink at the other end, /proc for memory and processor time.
package scale
