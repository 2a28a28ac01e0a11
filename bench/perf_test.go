//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func perfCPU(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	_ = b
	tot := 0.0
	ds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, d := range ds {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, d.Name()))
		f := strings.Fields(string(b))
		if len(f) > 0 {
			n, _ := strconv.ParseFloat(f[0], 64)
			tot += n
		}
	}
	return tot / 1000
}

func TestPerf(t *testing.T) {
	sink := startCounter(t)
	s := startPostrider(t, setting{dir: scratch(t, *work), relay: sink.relay()}).(*postrider)
	size := 4096
	if v := os.Getenv("SIZE"); v != "" {
		size, _ = strconv.Atoi(v)
	}
	n := 60000
	if v := os.Getenv("N"); v != "" {
		n, _ = strconv.Atoi(v)
	}
	l := kept20
	l.size = size
	l.run(t, s.addr(), sink, 2000)
	daemons := []string{"smtpd", "cleanup", "qmgr", "smtp"}
	pids := map[string][]int{}
	for _, d := range daemons {
		pids[d] = s.PIDs(d)
	}
	var ps []*exec.Cmd
	before := map[int]float64{}
	for _, name := range daemons {
		for k, pid := range pids[name] {
			before[pid] = perfCPU(pid)
			if os.Getenv("PERF") != "" {
				c := exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-p", fmt.Sprint(pid), "-o", fmt.Sprintf("/tmp/fast1/%s.%d.data", name, k))
				c.Start()
				ps = append(ps, c)
			}
		}
	}
	start := time.Now()
	l.run(t, s.addr(), sink, n)
	rate := float64(n) / time.Since(start).Seconds()
	for _, c := range ps {
		c.Process.Signal(os.Interrupt)
		c.Wait()
	}
	sum := 0.0
	for _, name := range daemons {
		us := 0.0
		for _, pid := range pids[name] {
			us += (perfCPU(pid) - before[pid]) / float64(n)
		}
		sum += us
		fmt.Printf("%s %.1f ", name, us)
	}
	fmt.Printf("own %.0f rate %.0f\n", sum, rate)
	s.stop()
}
