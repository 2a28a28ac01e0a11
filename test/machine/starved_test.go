package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postrider/test/source"
	"postrider/test/world"
)

// starvation takes something from a process that it has needed more of so far.
type starvation struct {
	name     string
	resource string               // as prlimit(1) calls it
	most     func(pid int) uint64 // what it may have from now on
	dies     bool                 // a Go program may end of it
}

var starvations = []starvation{
	{"no descriptor", "nofile", func(pid int) uint64 {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return uint64(len(fds))
	}, false},
	{"no thread", "nproc", func(int) uint64 { return 1 }, true},
	{"no memory", "as", func(pid int) uint64 { return memory(pid) + 1<<20 }, true},
	{"no file of a megabyte", "fsize", func(int) uint64 { return 1 << 20 }, false},
}

// limit sets a soft limit of another process, or, with most "", lifts it again, as far as
// its hard limit goes. It is done as the process's own user: root in a container may not.
func limit(pid int, resource, most string) error {
	prlimit := func(args ...string) (string, error) {
		c := exec.Command("prlimit", append([]string{"--pid", strconv.Itoa(pid)}, args...)...)
		if os.Geteuid() == 0 {
			nobody, err := user.Lookup("nobody")
			if err != nil {
				return "", err
			}
			uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
			gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		}
		out, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w: %s", c.Args, err, out)
		}
		return strings.TrimSpace(string(out)), err
	}
	if most == "" {
		hard, err := prlimit("--noheadings", "--output=HARD", "--"+resource)
		if err != nil {
			return err
		}
		most = hard
	}
	_, err := prlimit("--" + resource + "=" + most + ":")
	return err
}

// memory is the address space of a process, in bytes.
func memory(pid int) uint64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	pages, _ := strconv.ParseUint(strings.Fields(string(b) + " 0")[0], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// Each daemon under load gets no descriptor, no thread, no memory more, or can write no
// file to its end; a moment later it can again, or another one has taken its place. Mail
// that was acknowledged arrives, and no more is repeated than a kill may repeat.
func TestStarved(t *testing.T) {
	t.Parallel()
	for _, x := range starvations {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w := world.New(t)
			w.Crashes = x.dies
			w.Start()
			letters := world.NewLetters(8)
			letters.Sizes = []int{1000, 4000, 30_000, 300_000}
			for _, program := range []string{"cleanup", "qmgr", "smtpd", "smtp", "local", "bounce"} {
				ctx, stop := context.WithCancel(context.Background())
				var load sync.WaitGroup
				load.Go(func() { source.Load(ctx, w.Addr, 3, &w.Ledger, letters.Next) })
				load.Go(func() { w.Submit(ctx, letters.Next) })
				w.Sent(letters, 20)
				pid := w.PID(program)
				if err := limit(pid, x.resource, strconv.FormatUint(x.most(pid), 10)); err != nil {
					t.Fatal(err)
				}
				w.Sent(letters, 40)
				if err := limit(pid, x.resource, ""); err != nil && slices.Contains(w.PIDs(program), pid) {
					t.Error(err)
				}
				w.Sent(letters, 20)
				stop()
				load.Wait()
			}
			v := w.Drain()
			t.Log(v)
			most := 0
			if x.dies || x.resource == "nofile" { // an agent that cannot take a descriptor begins anew
				most = (world.Recipients + 1) * world.InHand
			}
			if n := len(w.Grep("lost connection with qmgr")); n > 0 {
				t.Logf("%d agents began anew", n)
			}
			if v.Err() != nil || len(v.Duplicates) > most || len(v.Both) > 0 || v.Acked == 0 {
				t.Errorf("%v; %v; %.1000v", v.Err(), v, v.Duplicates)
			}
			if f := w.Files("corrupt"); len(f) > 0 {
				t.Errorf("in corrupt/: %v", f)
			}
		})
	}
}
