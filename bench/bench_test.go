//go:build bench

package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postrider/test/instance"
)

// tool finds one of Debian's load programs.
func tool(t *testing.T, name string) string {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/libexec/postfix/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed (Debian: apt-get install postfix)", name)
	return ""
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// sink starts smtp-sink.
func sink(t *testing.T, port string) {
	args := []string{"127.0.0.1:" + port, "1000"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := exec.Command(tool(t, "smtp-sink"), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("smtp-sink does not listen")
}

// source sends n messages and returns how long that took.
func source(t *testing.T, addr string, n, size, sessions int, rcpt string, more ...string) time.Duration {
	args := append(more, "-s", strconv.Itoa(sessions), "-m", strconv.Itoa(n), "-l", strconv.Itoa(size),
		"-f", "sender@example.com", "-t", rcpt, addr)
	start := time.Now()
	if out, err := exec.Command(tool(t, "smtp-source"), args...).CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	return time.Since(start)
}

// cpu is the processor time a process has used, in microseconds.
func cpu(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) * 1e4 // clock ticks of 10 ms
}

// field is a number of /proc/PID/FILE, by the name in front of it.
func field(pid int, file, name string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n
		}
	}
	return 0
}

var daemons = []string{"smtpd", "cleanup", "qmgr", "smtp"}

// usage sums the processor time of each program.
func usage(i *instance.Instance) map[string]float64 {
	m := map[string]float64{}
	for _, name := range daemons {
		for _, pid := range i.PIDs(name) {
			m[name] += cpu(pid)
		}
	}
	return m
}

// report adds a line to RESULTS.md's raw material.
func report(t *testing.T, format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	t.Log(line)
	if path := os.Getenv("BENCH_OUT"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintln(f, line)
	}
}

// sent counts deliveries in the log.
func sent(i *instance.Instance) int { return strings.Count(i.Log(), "status=sent") }

func endToEnd(t *testing.T, what string, n, size, sessions int, more ...string) {
	port := freePort(t)
	sink(t, port)
	i := instance.Started(t, "relayhost = [127.0.0.1]:"+port, "message_size_limit = 0")
	defer i.Stop()
	source(t, i.Addr, 200, size, sessions, "r@example.net", more...) // warm up
	i.Await("the queue to drain", i.Drained)
	var rates []float64
	arrived := 200
	before := usage(i)
	for range 5 {
		start := time.Now()
		source(t, i.Addr, n, size, sessions, "r@example.net", more...)
		i.Await("the queue to drain", i.Drained)
		rates = append(rates, float64(n)/time.Since(start).Seconds())
		arrived += n
	}
	after := usage(i)
	i.Await("every message in the log", func() bool { return sent(i) >= arrived })
	if got := sent(i); got != arrived {
		t.Fatalf("%d deliveries of %d messages", got, arrived)
	}
	floor := float64(n) / source(t, "127.0.0.1:"+port, n, size, sessions, "r@example.net", more...).Seconds()
	slices.Sort(rates)
	var each []string
	sum := 0.0
	for _, name := range daemons {
		us := (after[name] - before[name]) / float64(5*n)
		sum += us
		each = append(each, fmt.Sprintf("%s %.0f", name, us))
	}
	report(t, "| %s | %.0f (%.0f to %.0f) | %.0f | %s, own %.0f |", what, rates[2], rates[0], rates[4], floor, strings.Join(each, ", "), sum)
}

func TestKept20(t *testing.T)  { endToEnd(t, "4 KB, 20 kept sessions", 20000, 4096, 20, "-d") }
func TestKept200(t *testing.T) { endToEnd(t, "4 KB, 200 kept sessions", 20000, 4096, 200, "-d") }
func TestKept1(t *testing.T)   { endToEnd(t, "4 KB, 1 kept session", 3000, 4096, 1, "-d") }
func TestNew20(t *testing.T) {
	endToEnd(t, "4 KB, 20 sessions, a new connection each", 10000, 4096, 20)
}
func TestLarge(t *testing.T) { endToEnd(t, "64 KB, 20 kept sessions", 5000, 64<<10, 20, "-d") }

// TestBacklog accepts and defers 100,000 messages for a dead destination, and starts
// again with that backlog.
func TestBacklog(t *testing.T) {
	const n = 100000
	i := instance.Started(t, "relayhost = [127.0.0.1]:"+freePort(t))
	start := time.Now()
	source(t, i.Addr, n, 4096, 20, "r@example.net", "-d")
	i.Await("everything deferred", func() bool { return strings.Count(i.Log(), "status=deferred") >= n })
	took := time.Since(start)
	peak := map[string]int64{}
	for _, name := range []string{"qmgr", "cleanup"} {
		peak[name] = field(i.PID(name), "status", "VmHWM") / 1024
	}
	report(t, "accepted and deferred, dead destination, 4 KB: %.0f/s; peak resident qmgr %d MB, cleanup %d MB", n/took.Seconds(), peak["qmgr"], peak["cleanup"])
	for name, mb := range peak {
		if mb >= 64 {
			t.Errorf("%s needed %d MB", name, mb)
		}
	}
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	i.Start()
	greeted := time.Since(start)
	report(t, "start with 100,000 deferred: greets after %v", greeted.Round(time.Millisecond))
	if greeted > time.Second {
		t.Errorf("greeted after %v", greeted)
	}
	start = time.Now()
	out := i.Must("postqueue", "-p")
	report(t, "postqueue -p of them: %v", time.Since(start).Round(time.Millisecond))
	if !strings.Contains(out, "in 100000 Requests") {
		t.Errorf("the listing ends with %q", out[max(0, len(out)-80):])
	}
	i.Stop()
}

// TestDeferralBytes measures what a deferral writes, with 64 KB messages.
func TestDeferralBytes(t *testing.T) {
	const n = 5000
	i := instance.Started(t, "relayhost = [127.0.0.1]:"+freePort(t))
	pid := i.PID("qmgr")
	source(t, i.Addr, 10, 64<<10, 1, "r@example.net", "-d")
	var before int64
	i.Await("files written in advance", func() bool { // only those change without mail
		last := before
		before = field(pid, "io", "wchar")
		time.Sleep(300 * time.Millisecond)
		return last == before
	})
	source(t, i.Addr, n, 64<<10, 20, "r@example.net", "-d")
	i.Await("everything deferred", func() bool { return strings.Count(i.Log(), "status=deferred") >= n+10 })
	wrote := field(pid, "io", "wchar") - before
	report(t, "bytes that qmgr wrote for each deferral of a 64 KB message (log lines and sockets included): %d", wrote/n)
	if wrote/n > 2048 {
		t.Errorf("%d bytes for each deferral", wrote/n)
	}
	i.Stop()
}
