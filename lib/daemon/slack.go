package daemon

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for a thread may be woken by a timer.
const slack = 4 * time.Millisecond

// timerSlack lets the kernel wake this process's threads a little late. The watcher of
// Go's runtime (sysmon) sleeps 20 microseconds at a time while the process has work, and
// so did a fifth of all work under load; a millisecond of slack left it 7 % of each
// process. What it watches for, a thread that hangs in a system call such as fdatasync,
// is noticed that much later, when the call is mostly over; no timer of the mail system
// needs to be more exact. Without it (a program
// built with cgo) the process only works more.
func timerSlack() {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0)
}
