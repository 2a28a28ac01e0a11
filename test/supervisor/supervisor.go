// Package supervisor stands between real programs and the kernel: it sees every file and
// socket call of a process and of all its descendants before it is made, and lets it be
// made, fail, or never return, because the process is killed there.
//
// It uses seccomp's user notification (seccomp_unotify(2)): the test binary starts itself
// as a wrapper, which installs a filter, hands its listener to the supervisor, and becomes
// the program (Main, enter.go). The filter passes on to all that the program starts. A
// daemon's own filter, which refuses calls, outranks it: what lockdown refuses is never
// seen here.
//
// Root is needed, to look into processes that let nobody look.
package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that is about to be made.
type Call struct {
	Thread  int
	Program string // the name of its process
	Op      string // open, read, write, sync, ...
	Path    string // of the file; "socket" for one, "pipe" and so on for what has no name
	Changes bool   // the file system, where the path is in one: a file opened for writing does
}

// Answer is what becomes of a call: it is made, or it fails with Err. Before that Do is
// called, if it is set, while the calling thread stands still and others go on; it may
// kill them, and it.
type Answer struct {
	Err unix.Errno
	Do  func()
}

// Supervisor watches programs. Make one with New.
type Supervisor struct {
	decide func(Call) Answer
	theirs *os.File // end of the socket over which listeners come
	ours   int
	wg     sync.WaitGroup
	over   atomic.Bool // the test has ended, or failed: programs may still be there
}

// T is what the supervisor needs of a test.
type T interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// New makes a supervisor that asks decide, from several goroutines, about each call. The
// calls of programs that are still there when the test ends fail.
func New(t T, decide func(Call) Answer) *Supervisor {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &Supervisor{decide: decide, theirs: os.NewFile(uintptr(pair[1]), "supervisor"), ours: pair[0]}
	s.wg.Go(s.receive)
	t.Cleanup(func() {
		s.over.Store(true)
		s.theirs.Close()
		unix.Shutdown(s.ours, unix.SHUT_RDWR) // wakes receive
		s.wg.Wait()
		unix.Close(s.ours)
	})
	return s
}

// wrapped is the name under which the test binary is the wrapper.
const wrapped = "supervised"

// Wrap makes a command that is not started yet run under the supervisor.
func (s *Supervisor) Wrap(cmd *exec.Cmd) {
	cmd.Args = append([]string{wrapped, cmd.Path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
	cmd.ExtraFiles = []*os.File{s.theirs}
}

// receive takes the listeners of the programs.
func (s *Supervisor) receive() {
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(s.ours, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		m, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(m) != 1 {
			continue
		}
		if fds, err := unix.ParseUnixRights(&m[0]); err == nil {
			s.wg.Go(func() { s.serve(fds[0]) })
		}
	}
}

// notice is struct seccomp_notif.
type notice struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// serve answers the calls of one tree of processes until it has ended.
func (s *Supervisor) serve(fd int) {
	var inside sync.WaitGroup
	defer func() { inside.Wait(); unix.Close(fd) }()
	for !s.over.Load() {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 500); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if p[0].Revents&unix.POLLIN == 0 {
			if p[0].Revents != 0 {
				return // nobody is left
			}
			continue
		}
		var q notice
		if ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)) != 0 {
			continue // it was killed meanwhile
		}
		a := s.decide(describe(&q))
		if a.Do == nil {
			reply(fd, q.id, a.Err)
			continue
		}
		inside.Go(func() { a.Do(); reply(fd, q.id, a.Err) })
	}
}

func reply(fd int, id uint64, err unix.Errno) {
	r := response{id: id, err: -int32(err)}
	if err == 0 {
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) // in vain when it was killed
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) unix.Errno {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if e != unix.EINTR {
			return e
		}
	}
}

// describe says what the call is about.
func describe(q *notice) Call {
	w := watched[uint32(q.nr)]
	c := Call{Thread: int(q.pid), Op: w.op, Changes: changes[w.op]}
	if q.nr == unix.SYS_OPENAT {
		c.Changes = q.args[2]&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC) != unix.O_RDONLY
	}
	task := fmt.Sprintf("/proc/%d", q.pid)
	comm, _ := os.ReadFile(task + "/comm")
	c.Program = strings.TrimSpace(string(comm))
	switch w.names {
	case byDescriptor:
		c.Path = opened(task, q.args[0])
	case byPath:
		c.Path = absolute(task, unix.AT_FDCWD, text(task, q.args[0]))
	case byPathAt:
		c.Path = absolute(task, int32(q.args[0]), text(task, q.args[1]))
	case noName:
		c.Path = "socket"
	}
	return c
}

// opened is the name of a descriptor, without the numbers of sockets and pipes.
func opened(task string, fd uint64) string {
	name, _ := os.Readlink(fmt.Sprintf("%s/fd/%d", task, int32(fd)))
	if kind, _, ok := strings.Cut(name, ":["); ok {
		return kind
	}
	return strings.TrimSuffix(name, " (deleted)")
}

// text is the string at an address of a task.
func text(task string, at uint64) string {
	f, err := os.Open(task + "/mem")
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 512)
	n, _ := f.ReadAt(b, int64(at)) // may end at the end of a mapping
	s, _, _ := strings.Cut(string(b[:n]), "\x00")
	return s
}

func absolute(task string, dir int32, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	base := task + "/cwd"
	if dir != unix.AT_FDCWD {
		base = fmt.Sprintf("%s/fd/%d", task, dir)
	}
	base, _ = os.Readlink(base)
	return filepath.Join(base, name)
}

// Kill kills the process of a thread.
func Kill(thread int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	for l := range strings.Lines(string(b)) {
		var pid int
		if n, _ := fmt.Sscanf(l, "Tgid: %d", &pid); n == 1 && pid > 1 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
