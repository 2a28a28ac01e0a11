package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Status is a number of /proc/PID/status, by the name in front of it: VmHWM and VmRSS
// in KiB, Threads. 0 when there is none.
func Status(pid int, name string) int64 {
	return number(fmt.Sprintf("/proc/%d/status", pid), name)
}

func number(file, name string) int64 {
	b, _ := os.ReadFile(file)
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n
		}
	}
	return 0
}

// Peak is the most memory a process has had resident, in MB.
func Peak(pid int) int64 { return Status(pid, "VmHWM") >> 10 }

// Effort is what a process has cost so far.
type Effort struct {
	CPU      time.Duration // user and system, to 10 ms
	Switches int64         // context switches of all its threads
}

// EffortOf reads it.
func EffortOf(pid int) (e Effort) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return e
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	e.CPU = time.Duration(user+system) * 10 * time.Millisecond
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, t := range tasks {
		e.Switches += number(t, "voluntary_ctxt_switches") + number(t, "nonvoluntary_ctxt_switches")
	}
	return e
}

// Since is what it cost after an earlier look.
func (e Effort) Since(earlier Effort) Effort {
	return Effort{e.CPU - earlier.CPU, e.Switches - earlier.Switches}
}

// OnCPU is how long the threads of a process that live have run, to the nanosecond.
func OnCPU(pid int) (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		if f := strings.Fields(string(b)); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
