//go:build bench

package bench

import (
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"postrider/test/sink"
)

var idleMemory = newTable("Memory of an idle suite", "Proportional set size after 100 messages.", "program", "memory")

// TestIdle looks at a system that has had some mail and has nothing to do.
func TestIdle(t *testing.T) {
	root(t) // to read the memory of processes that cannot be traced
	c := startCounter(t)
	s := startPostrider(t, setting{dir: scratch(t, *work), relay: c.relay()})
	kept20.run(t, s.addr(), c, 100)
	time.Sleep(3 * time.Second)
	const span = 10 * time.Second
	before := used(s.pid())
	time.Sleep(span)
	spent := used(s.pid()).minus(before).total / 1000 // ms
	var mb float64
	of := pssByName(s.pid())
	for _, name := range slices.Sorted(maps.Keys(of)) {
		idleMemory.row(name, number(of[name])+" MB")
		mb += of[name]
	}
	figure("idle: memory of the whole suite", "under 40 MB", mb, " MB", mb > 0 && mb < 40)
	figure("idle: processor time in 10 s", "none", spent, " ms", spent <= 10) // a tick
	s.stop()
}

var idleLatency = newTable("Latency of one message", "4 KB, one kept session, 20 ms between messages, end of DATA to arrival.",
	"machine", "system", "median", "99 %")

// TestLatency measures one message at a time, on an idle machine and with a busy loop
// for each processor beside it.
func TestLatency(t *testing.T) {
	one := load{name: "one message at a time", size: 4096, sessions: 1, kept: true}
	type player struct {
		kind
		system
		sink *sink.Sink
	}
	var players []player
	for _, k := range kinds[:2] {
		if !k.missing() {
			s := sink.New(t, nil)
			p := player{k, k.start(t, setting{dir: scratch(t, *work), relay: s.NextHop()}), s}
			one.ledgered(t, p.addr(), s, 50, 0)
			players = append(players, p)
		}
	}
	measure := func(machine string) (p50, p99 []float64) {
		for _, p := range players {
			a, b := one.ledgered(t, p.addr(), p.sink, 300, 20*time.Millisecond).quantiles()
			idleLatency.row(machine, p.name, number(a)+" ms", number(b)+" ms")
			p50, p99 = append(p50, a), append(p99, b)
		}
		return p50, p99
	}
	p50, p99 := measure("idle")
	figure("latency on an idle system, median", "1.5 ms", p50[0], " ms", p50[0] < 1.5)
	figure("latency on an idle system, 99 %", "6 ms", p99[0], " ms", p99[0] < 6)
	for range runtime.NumCPU() {
		hog := exec.Command("sh", "-c", "while :; do :; done")
		hog.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := hog.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { hog.Process.Kill(); hog.Wait() }()
	}
	p50, p99 = measure("a busy loop for each processor")
	if len(p50) == 2 {
		figure("latency beside busy loops, median, to Postfix's", "1 or less", p50[0]/p50[1], "", p50[0] <= p50[1])
		figure("latency beside busy loops, 99 %, to Postfix's", "1 or less", p99[0]/p99[1], "", p99[0] <= p99[1])
	}
	for _, p := range players {
		p.stop()
	}
}
