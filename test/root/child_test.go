package root

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary starts itself as another user. What it is to do then is in the
// environment: ROOT_TEST_CHILD has the mode.

// child is the main of such a process.
func child(mode string) int {
	switch mode {
	case "probe":
		return probe(os.Args[1:])
	case "limited":
		return limited()
	case "traced":
		return traced(os.Args[1:])
	case "unprivileged": // as a service of systemd with NoNewPrivileges
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return 2
		}
		syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		return 3
	}
	return 2
}

// asUser makes a command of the test binary in a mode. The working directory is one that
// every user may be in.
func asUser(who account, mode string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{"ROOT_TEST_CHILD=" + mode}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who.credential()}
	return cmd
}

// attempts are what a process may try on another, and whether they succeeded.
type attempts struct {
	PID    int
	Signal bool // kill(2) may reach it
	Done   []string
}

// probe tries to reach into processes, and reports on standard output.
func probe(pids []string) int {
	var all []attempts
	for _, s := range pids {
		pid, err := strconv.Atoi(s)
		if err != nil {
			return 2
		}
		a := attempts{PID: pid, Signal: unix.Kill(pid, 0) == nil}
		done := func(what string, err error) {
			if err == nil {
				a.Done = append(a.Done, what)
			}
		}
		for _, name := range []string{"mem", "environ", "maps", "syscall"} {
			f, err := os.Open("/proc/" + s + "/" + name)
			if err == nil {
				_, err = f.Read(make([]byte, 1))
				if name == "mem" { // page 0 is not there: to have it open is enough
					err = nil
				}
			}
			done("read "+name, err)
		}
		_, err = os.ReadDir("/proc/" + s + "/fd")
		done("list descriptors", err)
		_, err = os.Readlink("/proc/" + s + "/cwd")
		done("see the working directory", err)
		done("trace", unix.PtraceSeize(pid))
		fd, err := unix.PidfdOpen(pid, 0)
		if err == nil {
			_, err = unix.PidfdGetfd(fd, 3, 0)
		}
		done("take a descriptor", err)
		local := []unix.Iovec{{Base: new(byte), Len: 1}}
		_, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 0x10000, Len: 1}}, 0)
		if err == unix.EFAULT { // it may, there is only nothing
			err = nil
		}
		done("read memory", err)
		all = append(all, a)
	}
	return boolCode(json.NewEncoder(os.Stdout).Encode(all) == nil)
}

func boolCode(ok bool) int {
	if ok {
		return 0
	}
	return 1
}

// limit is a resource limit, soft and hard.
type limit struct {
	Resource int
	Value    uint64
}

// execution is what "limited" becomes, under limits.
type execution struct {
	Path   string
	Args   []string // with argv[0]; nil is none at all
	Env    []string
	Limits []limit
	Close  []int // descriptors
	Open   int   // so many descriptors stay open
	Umask  *int
	Gone   bool             // the working directory is removed
	Ignore []syscall.Signal // and an alarm comes every millisecond
	Block  bool             // every signal
}

// limited reads an execution from its environment and becomes it.
func limited() int {
	var x execution
	if err := json.Unmarshal([]byte(os.Getenv("ROOT_TEST_EXECUTION")), &x); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for _, fd := range x.Close {
		unix.Close(fd)
	}
	if err := x.arrange(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if x.Env == nil && os.Getenv("ROOT_TEST_HUGE") != "" {
		for n := range 15 { // as much as the kernel takes
			x.Env = append(x.Env, fmt.Sprintf("HUGE%d=%s", n, strings.Repeat("x", 100_000)))
		}
		for n := range 10_000 {
			x.Env = append(x.Env, fmt.Sprintf("V%d=", n))
		}
		x.Env = append(x.Env, "MAIL_CONFIG="+os.Getenv("ROOT_TEST_HUGE"))
	}
	for _, l := range x.Limits {
		if err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return 2
		}
	}
	syscall.Exec(x.Path, x.Args, x.Env)
	return 3
}

// arrange leaves behind what a program inherits.
func (x *execution) arrange() error {
	for n := range x.Open {
		name, flags := "/etc/passwd", unix.O_RDONLY
		if n%2 == 1 {
			name, flags = "/dev/null", unix.O_RDWR
		}
		if _, err := unix.Open(name, flags, 0); err != nil { // without O_CLOEXEC
			return err
		}
	}
	if x.Umask != nil {
		unix.Umask(*x.Umask)
	}
	if x.Gone {
		if err := errors.Join(os.Mkdir("gone", 0o700), os.Chdir("gone"), os.Remove("../gone")); err != nil {
			return err
		}
	}
	if x.Ignore != nil {
		for _, s := range x.Ignore {
			signal.Ignore(s)
		}
		ms := unix.Timeval{Usec: 1000}
		for _, which := range []unix.ItimerWhich{unix.ItimerReal, unix.ItimerVirtual, unix.ItimerProf} {
			unix.Setitimer(which, unix.Itimerval{Interval: ms, Value: ms})
		}
	}
	if x.Block {
		runtime.LockOSThread()
		var all unix.Sigset_t
		for n := range all.Val {
			all.Val[n] = ^all.Val[n]
		}
		return unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil)
	}
	return nil
}

// traced runs a program under ptrace, as far as its caller may, and says which group it has.
func traced(args []string) int {
	runtime.LockOSThread()
	p, err := os.StartProcess(args[0], args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(p.Pid, &ws, 0, nil); err != nil || !ws.Stopped() { // at its execve
		return 3
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Gid:") {
			fmt.Print(line)
		}
	}
	for {
		if err := unix.PtraceCont(p.Pid, 0); err != nil {
			return 4
		}
		if _, err := unix.Wait4(p.Pid, &ws, 0, nil); err != nil || ws.Exited() || ws.Signaled() {
			return ws.ExitStatus()
		}
	}
}

// Daemons can neither signal nor trace one another, nor look at what another holds; nor
// can a user of the machine. The two smtpd, being one user, may signal each other only.
func TestProbes(t *testing.T) {
	t.Parallel()
	i := system(t)
	i.Start()
	all := i.Processes()
	daemons(t, i)
	var pids []string
	byPID := map[int]string{}
	for _, p := range all {
		if who := house.accounts[p.Name]; who.uid != 0 {
			i.Await("shut doors", func() bool { return openDoor(t, p) == "" })
		}
		pids = append(pids, strconv.Itoa(p.PID))
		byPID[p.PID] = p.Name
	}
	for name, who := range house.accounts {
		if who.uid != 0 {
			tryAll(t, name, who, pids, byPID)
		}
	}
	tryAll(t, "user", house.user, pids, byPID)
}

func tryAll(t *testing.T, name string, who account, pids []string, byPID map[int]string) {
	t.Helper()
	out, err := asUser(who, "probe", pids...).Output()
	var tried []attempts
	if err == nil {
		err = json.Unmarshal(out, &tried)
	}
	if err != nil || len(tried) != len(pids) {
		t.Fatalf("probe as %v: %v: %s", who, err, out)
	}
	for _, a := range tried {
		if a.Signal != (byPID[a.PID] == name) {
			t.Errorf("%s may signal %s: %v", name, byPID[a.PID], a.Signal)
		}
		if a.Done != nil {
			t.Errorf("%s can %s of %s", name, strings.Join(a.Done, ", "), byPID[a.PID])
		}
	}
}
