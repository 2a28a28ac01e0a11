package daemon

import (
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/lockdown"
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

// closeDoors gives up, before anything is read, what no daemon needs: core files
// with mail in them, being traced, and new privileges by executing set-uid
// programs. local starts the commands of users, which inherit its limits, and
// may be set-uid. What else a daemon does not need goes with Shut.
func closeDoors(program string, sock *net.UnixConn, log *maillog.Logger) {
	steps := []func() error{lockdown.NoTracing, lockdown.NoCore}
	if program != "local" {
		peer, err := ipc.PeerOf(sock)
		own := err == nil && peer.UID == 0 && os.Getuid() != 0 // a user that master chose
		steps = []func() error{lockdown.NoTracing, func() error { return lockdown.Limits(own) }, lockdown.NoNewPrivileges}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			log.Warnf("%v", err)
		}
	}
}

// Shut shuts all doors of the process but those given (daemon_lockdown). It is
// called once, before Ready; there is no way back, a reload included: what the
// daemon needs later comes by descriptor. A layer that the kernel does not have
// is for master to complain about; any other failure is logged, and the daemon
// goes on with the layers that hold. An error is ErrLockedOut: the daemon must end,
// for the next one may have more luck (no descriptors, no memory).
func (d *Daemon) Shut(doors lockdown.Doors) error {
	_ = time.Now().String() // reads the file of the time zone, while it may
	layers := []struct {
		name string
		shut func(lockdown.Doors) error
	}{{"landlock", lockdown.Landlock}, {"seccomp", lockdown.Seccomp}}
	for _, l := range layers {
		if !slices.Contains(d.Config().List("daemon_lockdown"), l.name) {
			continue
		}
		err := l.shut(doors)
		switch {
		case errors.Is(err, lockdown.ErrLockedOut):
			return err
		case err != nil && !errors.Is(err, lockdown.ErrUnavailable):
			d.Log.Warnf("%v; going on without it", err)
		}
	}
	return nil
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
