package root

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// status is /proc/PID/status, by field; of a thread with "PID/task/TID". It is nil for
// one that has ended.
func status(t *testing.T, pid string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for l := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(l, ":")
		m[name] = strings.Join(strings.Fields(value), " ")
	}
	return m
}

// threads are the "PID/task/TID" of a process.
func threads(t *testing.T, pid int) (all []string) {
	t.Helper()
	found, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(found) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, f := range found {
		all = append(all, strings.TrimPrefix(f, "/proc/"))
	}
	return all
}

// descriptor is an open file of a process.
type descriptor struct {
	path   string // in /proc, to open it again
	target string // what it is
	flags  int    // of open(2)
}

func (d descriptor) String() string {
	return fmt.Sprintf("%s -> %s (flags %#o)", d.path, d.target, d.flags)
}

func (d descriptor) access() int { return d.flags & syscall.O_ACCMODE }

// descriptors are the open files of a process.
func descriptors(t *testing.T, pid int) (all []descriptor) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	entries, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		d := descriptor{path: dir + "fd/" + e.Name()}
		info, err := os.ReadFile(dir + "fdinfo/" + e.Name())
		if err == nil {
			d.target, err = os.Readlink(d.path)
		}
		if err != nil {
			continue // closed meanwhile
		}
		_, flags, _ := strings.Cut(string(info), "flags:")
		flags, _, _ = strings.Cut(strings.TrimSpace(flags), "\n")
		n, err := strconv.ParseInt(flags, 8, 64)
		if err != nil {
			t.Fatalf("%s: flags %q: %v", d.path, flags, err)
		}
		d.flags = int(n)
		all = append(all, d)
	}
	return all
}
