package supervisor

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Main is called first by TestMain of a package that uses a supervisor. In the wrapper it
// does not return.
func Main() {
	if len(os.Args) > 2 && os.Args[0] == wrapped {
		fmt.Fprintf(os.Stderr, "supervisor: %s: %v\n", os.Args[1], enter(os.Args[1], os.Args[2:]))
		os.Exit(1)
	}
}

// listenerFD is where Wrap puts the socket.
const listenerFD = 3

// enter puts the filter on this thread, sends the listener, and becomes the program: exec
// ends all other threads, and the new program has this one's filter.
func enter(program string, args []string) error {
	runtime.LockOSThread()
	if os.Geteuid() != 0 { // root needs no such promise, and set-group-id programs must work
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	const load, equal, ret, nr = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K, 0
	filter := []unix.SockFilter{{Code: load, K: nr}}
	for call := range watched {
		filter = append(filter, unix.SockFilter{Code: equal, Jf: 1, K: call}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	p := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Sending the listener is a call that it reports, too: it goes through a thread that
	// has no filter.
	send := make(chan int)
	sent := make(chan error)
	go func() {
		runtime.LockOSThread()
		sent <- unix.Sendmsg(listenerFD, []byte{0}, unix.UnixRights(<-send), nil, 0)
	}()
	// A call that is interrupted while the supervisor has it would be seen twice.
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&p)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	send <- int(fd)
	if err := <-sent; err != nil {
		return err
	}
	unix.CloseOnExec(listenerFD)
	return unix.Exec(program, args, os.Environ())
}
