package budget

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/strace"
)

//go:embed budget.txt
var budget string

// Margins: somewhat more than half of what one more call or allocation for each message
// adds. Of allocations the budget has another where batches, which are never the same,
// change them more.
const (
	callMargin        = 0.6
	instructionMargin = 1.15 // as a factor
)

// cost is a message's, of one program.
type cost struct{ calls, allocations, margin, instructions float64 }

// recorded reads the budget. A number that is not there is 0.
func recorded(t *testing.T) (names []string, of map[string]cost) {
	of = map[string]cost{}
	for l := range strings.Lines(budget) {
		f := strings.Fields(l)
		if len(f) != 5 || f[0] == "#" {
			continue
		}
		var n [4]float64
		for k := range n {
			if f[k+1] != "-" {
				var err error
				if n[k], err = strconv.ParseFloat(f[k+1], 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		names = append(names, f[0])
		of[f[0]] = cost{n[0], n[1], n[2], n[3]}
	}
	return names, of
}

// TestBudget measures the costs on a running system.
func TestBudget(t *testing.T) {
	strace.Need(t)
	var l ledger.Ledger
	s := sink.New(t, &l)
	i := instance.Started(t, "relayhost = "+s.NextHop(), "daemon_profile = yes", "default_process_count = 1")
	r := rig{t: t, i: i, l: &l}
	r.load(400, 20) // until sessions are kept and buffers have grown
	names, want := recorded(t)

	got := map[string]cost{}
	for range 4 { // noise only adds
		const n = 500
		before := r.allocations(names)
		r.load(n, 20)
		for name, a := range r.allocations(names) {
			c := got[name]
			if a = (a - before[name]) / n; c.allocations == 0 || a < c.allocations {
				c.allocations = a
			}
			got[name] = c
		}
	}
	r.calls(names, got)
	r.instructions(names, got)

	for _, name := range names {
		g, w := got[name], want[name]
		t.Logf("%-8s calls %5.2f of %5.2f   allocations %5.2f of %5.2f   thousand instructions %5.1f of %5.1f",
			name, g.calls, w.calls, g.allocations, w.allocations, g.instructions, w.instructions)
		if g.calls > w.calls+callMargin {
			t.Errorf("%s: %.2f system calls a message, the budget is %.2f", name, g.calls, w.calls)
		}
		if g.allocations > w.allocations+w.margin {
			t.Errorf("%s: %.2f allocations a message, the budget is %.2f", name, g.allocations, w.allocations)
		}
		if w.instructions > 0 && g.instructions > w.instructions*instructionMargin {
			t.Errorf("%s: %.1f thousand instructions a message, the budget is %.1f", name, g.instructions, w.instructions)
		}
		if g.calls < w.calls-1 || g.allocations < w.allocations-w.margin-1 {
			t.Logf("%s has become cheaper: lower test/budget/budget.txt", name)
		}
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v)
	}
}

// rig is the system that is measured.
type rig struct {
	t    *testing.T
	i    *instance.Instance
	l    *ledger.Ledger
	sent atomic.Int64
}

// load sends n messages and waits until all have arrived and the queue is empty.
func (r *rig) load(n, sessions int) {
	r.t.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	acked := source.Load(context.Background(), r.i.Addr, sessions, r.l, func() *source.Message {
		if left.Add(-1) < 0 {
			return nil
		}
		return source.New(fmt.Sprint("m", r.sent.Add(1)), "a@b.test", 4096, "r@example.net")
	})
	if acked != n {
		r.t.Fatalf("%d of %d accepted", acked, n)
	}
	r.i.Await("all mail at the sink", func() bool { return r.l.Open() == 0 && r.i.Drained() })
}

// allocations are those of each program so far.
func (r *rig) allocations(names []string) map[string]float64 {
	r.t.Helper()
	m := map[string]float64{}
	for _, name := range names {
		out := r.i.Must("master", "profile", name, "stats")
		var n float64
		if _, err := fmt.Sscanf(out, "mallocs %g", &n); err != nil {
			r.t.Fatalf("%s: %q", name, out)
		}
		m[name] = n
	}
	return m
}

// waiting are the calls that wake, wait, or belong to Go's scheduler: how many there are
// depends on the machine's other work.
var waiting = map[string]bool{"futex": true, "nanosleep": true, "epoll_pwait": true, "epoll_wait": true, "epoll_ctl": true,
	"sched_yield": true, "madvise": true, "rt_sigreturn": true, "rt_sigprocmask": true, "tgkill": true, "getpid": true,
	"restart_syscall": true, "clone": true, "sigaltstack": true, "mmap": true, "munmap": true, "gettid": true}

// calls counts the system calls that succeeded, by strace.
func (r *rig) calls(names []string, got map[string]cost) {
	r.t.Helper()
	const n = 800
	traces := map[string]*strace.Trace{}
	for _, name := range names {
		traces[name] = strace.Attach(r.t, r.i.PIDs(name), "-c", "-U", "calls,errors,name")
	}
	r.load(n, 20)
	for _, name := range names {
		c := got[name]
		text := ""
		for l := range strings.Lines(traces[name].Stop()) {
			f := strings.Fields(l)
			if len(f) < 2 || waiting[f[len(f)-1]] || f[len(f)-1] == "total" {
				continue
			}
			calls, err := strconv.Atoi(f[0])
			if err != nil {
				continue
			}
			if len(f) == 3 {
				errors, _ := strconv.Atoi(f[1])
				calls -= errors
			}
			each := float64(calls) / n
			c.calls += each
			if each >= 0.02 {
				text += fmt.Sprintf(" %s %.2f", f[len(f)-1], each)
			}
		}
		if c.calls == 0 {
			r.t.Errorf("strace saw nothing of %s", name)
		}
		r.t.Logf("%-8s%s", name, text)
		got[name] = c
	}
}

// instructions counts those in user mode, by perf, in thousands. Many machines cannot.
func (r *rig) instructions(names []string, got map[string]cost) {
	r.t.Helper()
	const n = 800
	probe, err := exec.Command("perf", "stat", "-x", ",", "-e", "instructions:u", "true").CombinedOutput()
	if err != nil || strings.HasPrefix(string(probe), "<") { // "<not supported>,..."
		return
	}
	running := map[string]*exec.Cmd{}
	out := map[string]*bytes.Buffer{}
	for _, name := range names {
		cmd := exec.Command("perf", "stat", "-x", ",", "-e", "instructions:u", "-p", fmt.Sprint(r.i.PID(name)))
		out[name] = &bytes.Buffer{}
		cmd.Stderr = out[name]
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
		if cmd.Start() == nil {
			running[name] = cmd
		}
	}
	r.load(n, 20)
	for name, cmd := range running {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		value, _, _ := strings.Cut(out[name].String(), ",")
		if count, err := strconv.ParseFloat(value, 64); err == nil {
			c := got[name]
			c.instructions = count / n / 1000
			got[name] = c
		}
	}
}
