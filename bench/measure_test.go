//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// proc is a process as /proc shows it.
type proc struct {
	pid, parent int
	name        string
	own         float64 // user and system time, microseconds
	ended       float64 // that of its ended children
}

// tree returns the process and all below it.
func tree(root int) (all []proc) {
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	below := map[int][]proc{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		s := string(b)
		open, shut := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
		if open < 0 || shut < 0 {
			continue
		}
		f := strings.Fields(s[shut+1:])
		if len(f) < 15 {
			continue
		}
		p := proc{name: s[open+1 : shut]}
		p.pid, _ = strconv.Atoi(strings.TrimSpace(s[:open]))
		p.parent, _ = strconv.Atoi(f[1])
		ticks := func(k int) float64 { v, _ := strconv.ParseFloat(f[k], 64); return v * 1e4 } // of 10 ms
		p.own, p.ended = ticks(11)+ticks(12), ticks(13)+ticks(14)
		if p.pid == root {
			all = append(all, p)
		}
		below[p.parent] = append(below[p.parent], p)
	}
	for n := 0; n < len(all); n++ {
		all = append(all, below[all[n].pid]...)
	}
	return all
}

// usage is processor time in microseconds.
type usage struct {
	total  float64 // with processes that have ended
	byName map[string]float64
}

func used(root int) usage {
	u := usage{byName: map[string]float64{}}
	for _, p := range tree(root) {
		u.total += p.own + p.ended
		u.byName[p.name] += p.own
	}
	return u
}

// minus is what was used since before.
func (u usage) minus(before usage) usage {
	d := usage{total: u.total - before.total, byName: map[string]float64{}}
	for name, v := range u.byName {
		if v -= before.byName[name]; v > 0 {
			d.byName[name] = v
		}
	}
	return d
}

// pss is the memory of a process tree in MB: what it shares with others counts in part.
func pss(root int) (mb float64) {
	for _, of := range pssByName(root) {
		mb += of
	}
	return mb
}

func pssByName(root int) map[string]float64 {
	mb := map[string]float64{}
	for _, p := range tree(root) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(b)) {
			if f := strings.Fields(l); len(f) > 1 && f[0] == "Pss:" {
				kb, _ := strconv.ParseFloat(f[1], 64)
				mb[p.name] += kb / 1024
			}
		}
	}
	return mb
}

// peak samples the memory of a process tree until it is asked.
func peak(root int) (stop func() float64) {
	var (
		most float64
		wg   sync.WaitGroup
		end  = make(chan struct{})
	)
	wg.Go(func() {
		for {
			most = max(most, pss(root))
			select {
			case <-end:
				return
			case <-time.After(time.Second):
			}
		}
	})
	return func() float64 { close(end); wg.Wait(); return most }
}

// largest is the highest resident set of any process of a name, in MB.
func largest(root int, name string) (mb float64) {
	for _, p := range tree(root) {
		if p.name == name {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
			_, after, _ := strings.Cut(string(b), "VmHWM:")
			var kb float64
			fmt.Sscan(after, &kb)
			mb = max(mb, kb/1024)
		}
	}
	return mb
}

// syncCalls are the system calls that make something durable.
var syncCalls = []string{"fsync", "fdatasync", "syncfs", "sync_file_range", "msync"}

// countSyncs counts those of a process tree until it is asked: by the kernel's trace
// points, which cost the system next to nothing, or else -1.
func countSyncs(t *testing.T, root int) (stop func() float64) {
	t.Helper()
	var events, pids []string
	for _, c := range syncCalls {
		if _, err := os.Stat("/sys/kernel/tracing/events/syscalls/sys_enter_" + c); err == nil {
			events = append(events, "syscalls:sys_enter_"+c)
		}
	}
	for _, p := range tree(root) {
		pids = append(pids, strconv.Itoa(p.pid))
	}
	none := func() float64 { return -1 }
	if events == nil || tool("perf") == "" {
		return none
	}
	var text bytes.Buffer
	cmd := exec.Command("perf", "stat", "-x", ",", "-e", strings.Join(events, ","), "-p", strings.Join(pids, ","))
	cmd.Stderr = &text
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if cmd.Start() != nil {
		return none
	}
	time.Sleep(300 * time.Millisecond) // perf says nothing when it has begun
	return func() float64 {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		sum := 0.0
		for l := range strings.Lines(text.String()) {
			value, _, _ := strings.Cut(l, ",")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return -1
			}
			sum += n
		}
		return sum
	}
}
