package master

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
)

// capabilities is a set of Linux capabilities, one bit each.
type capabilities uint64

func capability(numbers ...int) (c capabilities) {
	for _, n := range numbers {
		c |= 1 << n
	}
	return c
}

// forLocal is what local keeps of root: it starts helpers under the uid of a
// recipient, and ends one that hangs. Making a user's directory below a
// mail_spool_directory for Maildirs takes the right to give it to him.
func forLocal(configs []*config.Config) capabilities {
	keep := capability(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL)
	for _, c := range configs {
		if c.String("home_mailbox") == "" && strings.HasSuffix(c.String("mail_spool_directory"), "/") {
			keep |= capability(unix.CAP_CHOWN)
		}
	}
	return keep
}

// confined calls start on a thread that can hand on no capability but keep: the
// process that start makes, and all that it makes in turn, never have another,
// whatever they execute.
func confined(keep capabilities, start func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no other use
		for n := 0; ; n++ {
			if keep&capability(n) != 0 {
				continue
			}
			// EINVAL: the kernel has no more. EPERM: a root without CAP_SETPCAP,
			// so that the uids alone must hold.
			if unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0) != nil {
				break
			}
		}
		done <- start()
	}()
	return <-done
}
