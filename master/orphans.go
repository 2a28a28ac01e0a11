package master

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mourners returns the channel that says that a process has ended, where master is the
// first process of its process id namespace (a container): there it inherits what the
// commands of users leave behind. Else it says nothing.
func mourners() chan os.Signal {
	if os.Getpid() != 1 {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCHLD)
	return c
}

// buryOrphans waits for the children that have ended and that master did not start. Those
// it did are left to the goroutine that waits for each.
func (s *supervisor) buryOrphans() {
	ours := map[int]bool{}
	for _, x := range s.slots {
		if x.child != nil {
			ours[x.child.process.Pid] = true
		}
	}
	for _, pid := range ended() {
		if !ours[pid] {
			unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// ended returns the children of process 1 that have ended and are still to be waited for.
func ended() (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		if strings.HasPrefix(rest, "Z 1 ") {
			pids = append(pids, pid)
		}
	}
	return pids
}
