package daemon

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

// master returns the control socket, if descriptor 3 is one.
func master() (*net.UnixConn, error) {
	for _, want := range []struct{ option, value int }{{unix.SO_DOMAIN, unix.AF_UNIX}, {unix.SO_TYPE, unix.SOCK_STREAM}} {
		v, err := unix.GetsockoptInt(proto.ControlFD, unix.SOL_SOCKET, want.option)
		if err != nil || v != want.value {
			return nil, errors.New("descriptor 3 is no control socket")
		}
	}
	unix.CloseOnExec(proto.ControlFD)
	return ipc.FromFD(proto.ControlFD)
}

// closeDoors gives up what no daemon needs: core files with mail in them, being
// traced, and new privileges by executing set-uid programs. local, which starts
// helpers and the commands of users, keeps the last.
func closeDoors(program string, log *maillog.Logger) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warnf("cannot forbid core files: %v", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warnf("cannot forbid tracing: %v", err)
	}
	if program == "local" {
		return
	}
	// A bit of each thread; later threads inherit it.
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		log.Warnf("cannot give up new privileges: %v", e)
	}
}

// schedBatch sets the scheduling policy SCHED_BATCH for all threads: fewer
// switches between daemons that wake each other.
func schedBatch() error {
	const policy = 3 // SCHED_BATCH
	var param struct{ priority int32 }
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, policy, uintptr(unsafe.Pointer(&param)))
	if e != 0 {
		return e
	}
	return nil
}
