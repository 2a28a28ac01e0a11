// Package crash makes a reader die on purpose, so that the tests can see that this
// stops nobody else's mail. In programs built with the tag "crash", a text with the
// marker "crash-READER-HOW" kills who comes upon it as READER (a program, or a part
// of one): by "panic" in its own goroutine, by "fatal", a panic in another one that
// nobody catches, by "stack", an endless recursion, which no Go program survives, or
// by "segv", the signal.
//
// In every other build At does nothing, and the compiler leaves it out. The package
// imports nothing of ours.
package crash
