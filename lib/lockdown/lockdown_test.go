package lockdown

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is shut stays shut, so each test runs in a process of its own: the test binary,
// with the test's name in the environment. It says what is wrong on standard output.
const inside = "LOCKDOWN_TEST"

func TestMain(m *testing.M) {
	if f := children[os.Getenv(inside)]; f != nil {
		f()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var children = map[string]func(){
	"landlock": insideLandlock, "seccomp": insideSeccomp, "network": insideNetwork, "limits": insideLimits, "without": insideWithout, "runtime": insideRuntime, "locked out": insideLockedOut,
}

func complain(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func runInside(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), inside+"="+name)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// needs skips when the kernel lacks a layer.
func needs(t *testing.T, layer string) {
	t.Helper()
	if err := allThreads("threads", unix.SYS_GETPPID, 0, 0, 0, 0, 0); err != nil {
		t.Skipf("the race detector: %v", err)
	}
	for _, err := range Missing() {
		if strings.HasPrefix(err.Error(), layer) {
			t.Skipf("this kernel: %v", err)
		}
	}
}

// threads calls f on n threads that exist before shut is called, and on a new one.
func threads(n int, shut func(), f func()) {
	var ready, done sync.WaitGroup
	goOn := make(chan struct{})
	for range n {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-goOn
			f()
		})
	}
	ready.Wait()
	shut()
	close(goOn)
	done.Wait()
	done.Go(func() {
		runtime.LockOSThread()
		f()
	})
	done.Wait()
}

func must(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		complain("%v", err)
	}
}

func refused(what string, err error, want ...error) {
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	complain("%s: %v", what, err)
}

func TestLandlock(t *testing.T) {
	needs(t, "Landlock")
	dir := t.TempDir()
	for _, name := range []string{"in", "out", "drop"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0700), os.WriteFile(filepath.Join(dir, name, "f"), []byte("x"), 0600)); err != nil {
			t.Fatal(err)
		}
	}
	runInside(t, "landlock", dir)
}

func insideLandlock() {
	dir := os.Args[1]
	in, out, drop := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "drop")
	already, err := os.OpenFile(out+"/f", os.O_RDWR, 0)
	must(err)
	threads(4, func() {
		must(NoNewPrivileges(), Landlock(Doors{Dirs: map[string]Access{in: Read | Write | List | Create | Remove, drop: Read | List | Remove}}))
	}, func() {
		own := fmt.Sprintf("%s/%d", in, unix.Gettid())
		must(os.WriteFile(own, []byte("y"), 0600), os.Remove(own))
		for _, name := range []string{in, drop} {
			_, err := os.ReadDir(name)
			_, rerr := os.ReadFile(name + "/f")
			must(err, rerr)
		}
		_, err := os.ReadFile(out + "/f")
		refused("read elsewhere", err, unix.EACCES)
		_, err = os.ReadDir(dir)
		refused("list above", err, unix.EACCES)
		refused("write where only reading is open", os.WriteFile(drop+"/f", nil, 0600), unix.EACCES)
		refused("create there", os.WriteFile(drop+"/g", nil, 0600), unix.EACCES)
		refused("make a directory", os.Mkdir(in+"/d", 0700), unix.EACCES)
		refused("link out", os.Link(in+"/f", out+"/g"), unix.EACCES, unix.EXDEV)
		refused("start a program", exec.Command("/bin/true").Run(), unix.EACCES)
		refused("signal the parent", unix.Kill(os.Getppid(), 0), unix.EPERM)
	})
	_, err = already.WriteAt([]byte("z"), 0) // what was open stays open
	must(err)
	must(os.Remove(drop + "/f"))
}

// A directory that cannot be opened at this moment is no reason to go on without it.
func TestLockedOut(t *testing.T) {
	needs(t, "Landlock")
	runInside(t, "locked out", t.TempDir())
}

func insideLockedOut() {
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}))
	var fds []int
	for { // no descriptor is left but one, for the rules
		fd, err := unix.Open("/", unix.O_PATH, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	unix.Close(fds[0])
	if err := Landlock(Doors{Dirs: map[string]Access{os.Args[1]: Read}}); !errors.Is(err, ErrLockedOut) || !errors.Is(err, unix.EMFILE) {
		complain("%v", err)
	}
}

func TestSeccomp(t *testing.T) {
	needs(t, "seccomp")
	runInside(t, "seccomp")
	runInside(t, "network")
}

func insideSeccomp() {
	threads(4, func() { must(NoNewPrivileges(), Seccomp(Doors{})) }, func() {
		for _, c := range []struct {
			what string
			err  error
			want error
		}{
			{"open", errOf(os.Open("/etc/passwd")), unix.EPERM},
			{"stat", errOf(os.Stat("/etc/passwd")), unix.EPERM},
			{"remove", os.Remove("/nothing"), unix.EPERM},
			{"rename", os.Rename("/nothing", "/nowhere"), unix.EPERM},
			{"start", exec.Command("/bin/true").Run(), unix.EPERM},
			{"socket", errOf(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)), unix.EPERM},
			{"unix socket", errOf(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)), unix.EPERM},
			{"accept", errOf2(unix.Accept(0)), unix.EPERM},
			{"listen", unix.Listen(0, 1), unix.EPERM},
			{"kill", unix.Kill(os.Getppid(), 0), unix.EPERM},
			{"kill all", unix.Kill(-1, 0), unix.EPERM},
			{"own signal", unix.Kill(os.Getpid(), 0), nil},
			{"tgkill", unix.Tgkill(os.Getppid(), os.Getppid(), 0), unix.EPERM},
			{"own limits", unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &unix.Rlimit{}), nil},
			{"limits of others", unix.Prlimit(os.Getppid(), unix.RLIMIT_NOFILE, nil, &unix.Rlimit{}), unix.EPERM},
			{"ptrace", unix.PtraceAttach(os.Getppid()), unix.EPERM},
			{"unshare", unix.Unshare(unix.CLONE_FS), unix.EPERM},
			{"memory file", errOf(unix.MemfdCreate("x", 0)), unix.EPERM},
			{"executable memory", errOf(unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)), unix.EPERM},
			{"memory", errOf(unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)), nil},
			{"dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0), unix.EPERM},
			{"bpf", errnoOf(unix.SYS_BPF), unix.EPERM},
			{"io_uring", errnoOf(unix.SYS_IO_URING_SETUP), unix.ENOSYS},
			{"clone3", errnoOf(unix.SYS_CLONE3), unix.ENOSYS},
			{"flock", unix.Flock(0, unix.LOCK_UN), unix.EPERM},
		} {
			if !errors.Is(c.err, c.want) {
				complain("%s: %v", c.what, c.err)
			}
		}
	})
}

func errOf[T any](_ T, err error) error          { return err }
func errOf2[T, U any](_ T, _ U, err error) error { return err }

func errnoOf(call uintptr) error {
	if _, _, e := unix.Syscall(call, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

func insideNetwork() {
	must(NoNewPrivileges(), Seccomp(Doors{Connect: true, Memory: true, Accept: true, Dirs: map[string]Access{"/": Read}}))
	for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX, unix.AF_NETLINK, unix.AF_PACKET, unix.AF_VSOCK} {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET} {
			for _, proto := range []int{0, unix.IPPROTO_ICMP, unix.IPPROTO_MPTCP, unix.IPPROTO_SCTP} {
				fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
				if err == nil {
					unix.Close(fd)
				}
				open := (family == unix.AF_INET || family == unix.AF_INET6) && (kind == unix.SOCK_STREAM || kind == unix.SOCK_DGRAM) && proto == 0
				if open != !errors.Is(err, unix.EPERM) {
					complain("socket %d, %d, %d: %v", family, kind, proto, err)
				}
			}
		}
	}
	_, err := unix.MemfdCreate("x", 0)
	must(err, errOf(os.ReadFile("/etc/passwd")))
}

// Go's runtime goes on in all of it: new threads, preemption, garbage, timers.
func TestRuntime(t *testing.T) {
	needs(t, "seccomp")
	needs(t, "Landlock")
	runInside(t, "runtime")
}

func insideRuntime() {
	must(Limits(true), NoTracing(), NoNewPrivileges(), Landlock(Doors{}), Seccomp(Doors{}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { // without a call: it must be preempted, by a signal
			for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
				for n := 0; n < 1e6; n++ {
					_ = n
				}
			}
		})
	}
	for range 40 {
		wg.Go(func() {
			runtime.LockOSThread()
			unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
		})
	}
	for range 3 {
		_ = make([]byte, 8<<20)
		runtime.GC()
	}
	wg.Wait()
	r, w, err := os.Pipe()
	must(err)
	go func() { w.Write([]byte("x")) }()
	_, err = r.Read(make([]byte, 1))
	must(err)
}

func TestLimits(t *testing.T) { runInside(t, "limits") }

func insideLimits() {
	must(Limits(true), NoTracing())
	for resource, want := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_MEMLOCK: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_NPROC: maxThreads} {
		var l unix.Rlimit
		must(unix.Getrlimit(resource, &l))
		if l.Cur > want || l.Max > want {
			complain("limit %d: %+v", resource, l)
		}
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); d != 0 || err != nil {
		complain("dumpable: %d, %v", d, err)
	}
}

// A kernel without Landlock and seccomp: both say so by kind, and nothing else fails.
func TestWithout(t *testing.T) {
	needs(t, "seccomp")
	runInside(t, "without")
}

func insideWithout() {
	must(NoNewPrivileges())
	must(install(never(unix.ENOSYS, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_SECCOMP)))
	refused("Landlock", Landlock(Doors{}), ErrUnavailable)
	refused("seccomp", Seccomp(Doors{}), ErrUnavailable)
	if m := Missing(); len(m) != 2 || !errors.Is(m[0], ErrUnavailable) || !errors.Is(m[1], ErrUnavailable) {
		complain("missing: %v", m)
	}
	must(Limits(false), NoTracing(), errOf(os.ReadFile("/etc/passwd")))
}

// Older kernels are asked for what they know, and no more.
func TestHandled(t *testing.T) {
	for abi, want := range map[int][3]uint64{
		1: {1<<13 - 1, 0, 0},
		2: {1<<14 - 1, 0, 0},
		3: {1<<15 - 1, 0, 0},
		4: {1<<15 - 1, 3, 0},
		5: {1<<16 - 1, 3, 0},
		6: {1<<16 - 1, 3, 1},
		9: {1<<16 - 1, 3, 1},
	} {
		a := handled(Doors{}, abi, 0)
		if got := [3]uint64{a.Handled_access_fs, a.Handled_access_net, a.Scoped}; got != want {
			t.Errorf("version %d: %x, not %x", abi, got, want)
		}
	}
	if a := handled(Doors{Connect: true}, 7, sameProcess); a.Handled_access_net != unix.LANDLOCK_ACCESS_NET_BIND_TCP || a.Scoped != 3 {
		t.Errorf("%+v", a)
	}
}
