package attempt

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var processes = slicesOf("Processes and kernel", []Attempt{
	{Name: "start a program", Try: func(*Target) string { return done(start(&syscall.SysProcAttr{})) }},
	{Name: "make a user namespace", Try: func(*Target) string {
		return done(start(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}))
	}},
	{Name: "signal another process", Try: func(t *Target) string {
		return t.others(func(pid int) error {
			if unix.Kill(pid, 0) == nil || unix.Tgkill(pid, pid, 0) == nil {
				return nil
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.PidfdSendSignal(fd, 0, nil, 0)
		})
	}},
	{Name: "trace another process", Try: func(t *Target) string { return t.others(trace) }},
	{Name: "read another process's memory", Try: func(t *Target) string { return t.others(memory) }},
	{Name: "take another process's descriptor", Try: func(t *Target) string { return t.others(descriptor) }},
	{Name: "make memory executable", Try: func(*Target) string {
		b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			unix.Munmap(b)
		}
		return done(err)
	}},
	{Name: "use io_uring", Try: func(*Target) string {
		params := make([]byte, 120) // struct io_uring_params
		fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
		if e != 0 {
			return ""
		}
		unix.Close(int(fd))
		return yes
	}},
	{Name: "use the kernel's keys", Try: func(*Target) string {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true)
		return done(err)
	}},
	{Name: "let go of the spool's lock for all", Try: func(t *Target) string {
		return holds(func(fd int, _ string) bool {
			return sameFile(fd, t.LockInode) && unix.Flock(fd, unix.LOCK_UN) == nil
		})
	}},
})

// start starts a program that ends at once.
func start(attr *syscall.SysProcAttr) error {
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: attr})
	if err != nil {
		return err
	}
	var ws syscall.WaitStatus
	_, err = syscall.Wait4(pid, &ws, 0, nil)
	return err
}

func trace(pid int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	unix.PtraceInterrupt(pid)
	var ws unix.WaitStatus
	unix.Wait4(pid, &ws, unix.WALL, nil)
	return unix.PtraceDetach(pid)
}

func memory(pid int) error {
	if err := open(fmt.Sprintf("/proc/%d/mem", pid), unix.O_RDONLY, nil); err == nil {
		return nil
	}
	b := make([]byte, 1)
	local := []unix.Iovec{{Base: &b[0], Len: 1}}
	for _, at := range []uintptr{0x400000, 0x401000, 0xc000000000} { // where Go's programs and heaps begin
		if _, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: at, Len: 1}}, 0); err == nil {
			return nil
		}
	}
	return unix.EPERM
}

func descriptor(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	got, err := unix.PidfdGetfd(fd, 3, 0)
	if err != nil {
		return errors.Join(err, list(fmt.Sprintf("/proc/%d/fd", pid)))
	}
	return unix.Close(got)
}
