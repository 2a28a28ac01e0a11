package block

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watching is set for the process that waits for the test's end, with the test's pid.
const watching = "POSTRIDER_BLOCK_WATCH"

// startWatch starts a process that outlives this one. A test that is killed while one of
// its threads waits in the kernel for a disk that it serves itself would never be gone,
// nor would its mounts; the watcher then cuts the kernel's connections to it.
func startWatch() error {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", watching, os.Getpid()))
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c.Start()
}

// watch is what that process does.
func watch(pid string) {
	for {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return // gone, and with it everything
		}
		_, after, _ := strings.Cut(string(b), ") ")
		if strings.HasPrefix(after, "Z") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	dir, err := os.MkdirTemp("", "postrider-block-")
	if err != nil || unix.Mount("fusectl", dir, "fusectl", 0, "") != nil {
		return
	}
	mounts, err := os.Open("/proc/self/mountinfo") // the test's: we are in its namespace
	if err == nil {
		for l := bufio.NewScanner(mounts); l.Scan(); {
			f := strings.Fields(l.Text())
			if _, minor, ok := strings.Cut(f[2], ":"); ok && strings.Contains(l.Text(), " fuse postrider-block ") {
				os.WriteFile(filepath.Join(dir, minor, "abort"), []byte("1"), 0)
			}
		}
		mounts.Close()
	}
	unix.Unmount(dir, unix.MNT_DETACH)
	os.Remove(dir)
}
