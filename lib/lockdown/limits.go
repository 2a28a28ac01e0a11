package lockdown

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxThreads bounds the processes and threads of a daemon's user. A daemon has
// tens; the bound is for one that was taken over.
const maxThreads = 4096

// Limits forbids core files, which would have mail in them, and what no daemon
// uses: locked memory, message queues, raised priorities. No file size is set:
// it would hold for the log, too. The number of open files stays what the
// operator set. With own, the user of this process is not shared with people,
// and the number of its threads is bounded.
func Limits(own bool) error {
	bounds := []bound{
		{"locked memory", unix.RLIMIT_MEMLOCK, 0},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0},
		{"real-time priority", unix.RLIMIT_RTPRIO, 0},
		{"priority", unix.RLIMIT_NICE, 0},
	}
	if own {
		bounds = append(bounds, bound{"threads", unix.RLIMIT_NPROC, maxThreads})
	}
	errs := []error{NoCore()}
	for _, b := range bounds {
		errs = append(errs, b.set())
	}
	return errors.Join(errs...)
}

// NoCore forbids core files, to the process and to those that it starts.
func NoCore() error { return bound{"core files", unix.RLIMIT_CORE, 0}.set() }

// bound is the highest value of a resource.
type bound struct {
	name     string
	resource int
	value    uint64
}

// set lowers the limit, for good; one that is lower already stays.
func (b bound) set() error {
	var now unix.Rlimit
	err := unix.Getrlimit(b.resource, &now)
	if err == nil && now.Max > b.value {
		err = unix.Setrlimit(b.resource, &unix.Rlimit{Cur: b.value, Max: b.value})
	}
	if err != nil {
		return fmt.Errorf("limit of %s: %w", b.name, err)
	}
	return nil
}

// NoTracing keeps processes of the same user from attaching a debugger or
// reading the memory, and the process from writing core files.
func NoTracing() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	return nil
}

// NoNewPrivileges makes set-uid bits, set-gid bits and capabilities of programs
// of no use to this process and those that it starts. Landlock and Seccomp need
// it. It is a bit of each thread, which later ones inherit.
func NoNewPrivileges() error {
	return allThreads("forbid new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// allThreads makes a system call on each thread.
func allThreads(what string, call, a, b, c, d, e uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(call, a, b, c, d, e, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP: // built with cgo, whose threads Go does not know
		return fmt.Errorf("%s: %w: the program was built with cgo", what, ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", what, errno)
}
