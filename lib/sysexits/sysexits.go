// Package sysexits has the exit codes of programs, by the names of sysexits.h: those
// that Postfix's commands end with, and that scripts look at. It imports nothing.
package sysexits

// The codes that we use.
const (
	Usage       = 64 // the command line is wrong
	DataErr     = 65 // the input is
	Unavailable = 69 // a service or a file cannot be had
	Software    = 70 // an internal error
	OSErr       = 71 // the system refuses what it should not
	TempFail    = 75 // try again
	NoPerm      = 77 // this user may not
	Config      = 78 // the configuration is wrong
)
