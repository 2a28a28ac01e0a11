package daemon

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for a thread may be woken by a timer.
const slack = 4 * time.Millisecond

// timerSlack lets the kernel wake this process's threads up to a millisecond late. The
// watcher of Go's runtime (sysmon) sleeps 20 microseconds at a time while the process
// has work, and so did a fifth of all work under load. What it watches for, a thread
// that hangs in a system call such as fdatasync, is noticed after a millisecond instead;
// the timers of the mail system count milliseconds and more. Without it (a program
// built with cgo) the process only works more.
func timerSlack() {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0)
}
