//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var ours = flag.String("ours", "", "loads to run on ours alone, with commas between them: kept20, new20, large, kept200")

// loads are those that can be named.
var loads = map[string]load{"kept20": kept20, "new20": new20, "large": large, "kept200": kept200}

// TestOurs runs loads on ours and the floor alone and says what a message costs each
// program, in processor time and in switches from one process to another. It is for
// comparing two trees: run in one and the other, in turns (bench/pairs).
func TestOurs(t *testing.T) {
	if *ours == "" {
		t.Skip("no -ours: see bench/pairs")
	}
	floor := startCounter(t)
	sink := startCounter(t)
	s := startPostrider(t, setting{dir: scratch(t, *work), relay: sink.relay()})
	for name := range strings.SplitSeq(*ours, ",") {
		l, ok := loads[name]
		if !ok {
			t.Fatalf("no load %q", name)
		}
		l.run(t, s.addr(), sink, l.n/8)
		for range *rounds {
			straight, _ := l.run(t, floor.addr(), floor, l.n)
			before, switches := used(s.pid()), switched(s.pid())
			rate, _ := l.run(t, s.addr(), sink, l.n)
			u := used(s.pid()).minus(before)
			text := fmt.Sprintf("%-8s %6.0f/s %.2f of the floor %6.1f µs, switches", name, rate, rate/straight, u.total/float64(l.n))
			sum, each := 0.0, ""
			programs := []string{"smtpd", "cleanup", "qmgr", "smtp"}
			now := switched(s.pid())
			for _, p := range programs {
				n := (now[p] - switches[p]) / float64(l.n)
				sum += n
				each += fmt.Sprintf("  %s %.1f µs %.2f", p, u.byName[p]/float64(l.n), n)
			}
			fmt.Printf("%s %.2f:%s\n", text, sum, each)
		}
	}
	s.stop()
}

// switched is how often the threads of each program of a process tree have given the
// processor up, or lost it.
func switched(root int) map[string]float64 {
	n := map[string]float64{}
	for _, p := range tree(root) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
		for _, name := range tasks {
			b, _ := os.ReadFile(name)
			for l := range strings.Lines(string(b)) {
				var k float64
				if _, value, ok := strings.Cut(l, "voluntary_ctxt_switches:"); ok {
					fmt.Sscan(value, &k)
					n[p.name] += k
				}
			}
		}
	}
	return n
}
