package logs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
)

func mkfifo(t *testing.T, name string) {
	t.Helper()
	if err := unix.Mkfifo(name, 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(name, 0o666)
}

// TestContainer: the system as the first process of a container (postrider start-fg, the
// log on standard output): it buries what commands of users leave behind, and ends when it
// is told to.
func TestContainer(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a namespace of processes")
	}
	i := instance.New(t, "alias_maps = inline:{ {u = \"|setsid -f sleep 0.1\"} }", "default_privs = nobody")
	r := stdout(t, i)
	i.Private = "mount -t proc proc /proc"
	i.Wrap = func(cmd *exec.Cmd) { cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID }
	i.Start()
	i.Wrap = nil
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := r.Read(b); err != nil {
				return
			}
		}
	}()
	const n = 20
	mail(t, i, "orphan", n)
	i.Await("an empty queue", i.Drained)
	i.Await("no orphans", func() bool {
		states, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, s := range states {
			b, _ := os.ReadFile(s)
			if strings.Contains(string(b), fmt.Sprintf("\nPPid:\t%d\n", i.Master())) && strings.HasPrefix(string(b), "Name:\tsleep") {
				return false
			}
		}
		return true
	})
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}
