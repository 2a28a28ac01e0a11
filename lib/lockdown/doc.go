// Package lockdown takes from a process what it does not need, so that whoever
// takes the process over gets little (design.md, 7). There are layers, and each
// has to hold when another one is missing:
//
//	the uid              master starts each daemon as its own user
//	Limits               no core files, no tracing, bounds on what is not needed
//	NoNewPrivileges      set-uid and set-gid programs give nothing
//	Landlock             no file by name, no TCP but what Doors leaves open
//	Seccomp              system calls that no daemon makes are refused
//
// Nothing can be taken back for as long as the process lives. Calls are refused
// with an error, never by a signal, because later versions of Go's runtime may
// try calls that this one does not.
//
// The package imports nothing of ours and touches no file but the directories
// that Doors names. It needs a program built without cgo: a layer has to reach
// all threads.
package lockdown
