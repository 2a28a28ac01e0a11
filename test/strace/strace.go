// Package strace lets a test see the system calls of running processes, or make some of
// them fail, with Debian's strace. Daemons cannot be traced by their own user
// (lib/lockdown), so the test must run as root.
package strace

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Need skips the test where it cannot trace.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may trace the daemons")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed (Debian: apt-get install strace)")
	}
}

// Trace is a running strace. Make one with Attach.
type Trace struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  string
	errs said
	once sync.Once
}

// said is what strace says, readable while it goes on.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(b) }
func (s *said) String() string              { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// Attach starts strace with these options on the processes with all their threads, and
// returns when each is held.
func Attach(t testing.TB, pids []int, options ...string) *Trace {
	t.Helper()
	x := &Trace{t: t, out: filepath.Join(t.TempDir(), "strace")}
	args := append([]string{"-f", "-o", x.out}, options...)
	threads := 0
	for _, pid := range pids {
		args = append(args, "-p", fmt.Sprint(pid))
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		threads += len(tasks)
	}
	x.cmd = exec.Command("strace", args...)
	x.cmd.Stdout, x.cmd.Stderr = &x.errs, &x.errs
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.detach)
	for end := time.Now().Add(20 * time.Second); strings.Count(x.errs.String(), "attached") < len(pids) || !traced(pids); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("strace does not hold %d threads of %v: %s", threads, pids, x.errs.String())
		}
	}
	return x
}

// traced says whether every thread has a tracer.
func traced(pids []int) bool {
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, name := range tasks {
			if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte("TracerPid:\t0\n")) {
				return false
			}
		}
	}
	return true
}

func (x *Trace) detach() {
	x.once.Do(func() {
		x.cmd.Process.Signal(syscall.SIGINT) // lets go of the processes first
		x.cmd.Wait()
	})
}

// Stop lets the processes go and returns what strace wrote.
func (x *Trace) Stop() string {
	x.t.Helper()
	x.detach()
	b, err := os.ReadFile(x.out)
	if err != nil {
		x.t.Fatalf("%v: %s", err, x.errs.String())
	}
	return string(b)
}
