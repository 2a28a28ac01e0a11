//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var behind = newTable("A backlog behind", "4 KB, 20 kept sessions, with so many messages deferred (1 KB, for another destination, not due).",
	"backlog", "messages/s", "processor time", "by program", "largest qmgr")

// withBacklog starts our system with n messages for a destination that is down.
func withBacklog(t *testing.T, n int) (*postrider, *counter) {
	t.Helper()
	sink := startCounter(t)
	dir := scratch(t, *work)
	table := writeTable(t, dir, "dead.example smtp:[127.0.0.1]:"+freePort(t)+"\n")
	s := startPostrider(t, setting{dir: dir, relay: sink.relay(), table: table,
		lines: []string{"minimal_backoff_time = 4h", "maximal_backoff_time = 4h"}}).(*postrider)
	if n > 0 {
		log := countLines(t, s.log(), "status=deferred")
		load{size: 1024, sessions: 20, kept: true, to: "r@dead.example"}.source(t, s.addr(), n)
		await(t, "the backlog", func() bool { return log.count() >= n })
	}
	return s, sink
}

// TestBacklog compares the rate with that of an empty queue, in turns.
func TestBacklog(t *testing.T) {
	sizes := []int{0, 20_000}
	if *all {
		sizes = []int{0, 100_000, 1_000_000}
	}
	type player struct {
		*postrider
		sink *counter
		res  result
	}
	var players []*player
	for _, n := range sizes {
		s, sink := withBacklog(t, n)
		kept20.run(t, s.addr(), sink, 500)
		players = append(players, &player{postrider: s, sink: sink})
	}
	for range max(3, *rounds) {
		for _, p := range players {
			before := used(p.pid())
			p.res.ran(kept20.run(t, p.addr(), p.sink, kept20.n))
			p.res.add(used(p.pid()).minus(before), kept20.n)
		}
	}
	for k, p := range players {
		mb := largest(p.pid(), "qmgr")
		behind.row(sizes[k], p.res.span(), number(p.res.cpu.total/float64(p.res.messages))+" µs", p.res.each(), number(mb)+" MB")
		if k > 0 {
			x := p.res.median() / players[0].res.median()
			figure(fmt.Sprintf("%d deferred behind: rate, of the empty queue's", sizes[k]), "0.9", x, "", x >= 0.9)
			figure(fmt.Sprintf("%d deferred behind: qmgr", sizes[k]), "under 128 MB", mb, " MB", mb < 128)
		}
		p.stop()
	}
}

// TestOperators times the operators' commands on 50,000 deferred messages.
func TestOperators(t *testing.T) {
	const n = 50_000
	s, _ := withBacklog(t, n)
	first, whole := listing(t, s.command("postqueue", "-p"), n)
	figure("postqueue -p of 50,000: first line", "0.2 s", first, " s", first <= 0.2)
	figure("postqueue -p of 50,000: all", "1 s", whole, " s", whole <= 1)
	for _, verb := range []string{"-h", "-H", "-d"} {
		cmd := s.command("postsuper", verb, "ALL")
		start := time.Now()
		out, err := cmd.CombinedOutput()
		took := time.Since(start).Seconds()
		if err != nil || !strings.Contains(string(out), fmt.Sprint(n)) {
			t.Errorf("postsuper %s ALL: %v: %s", verb, err, out)
		}
		figure("postsuper "+verb+" ALL of 50,000", "0.5 s", took, " s", took <= 0.5)
	}
	if left := s.queued(); left != 0 {
		t.Errorf("%d messages after postsuper -d ALL", left)
	}
	s.stop()
}

// listing runs postqueue and returns after how many seconds its first line and its last
// one came.
func listing(t *testing.T, cmd *exec.Cmd, n int) (first, whole float64) {
	t.Helper()
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := bufio.NewReaderSize(r, 1<<20)
	if _, err := b.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	first = time.Since(start).Seconds()
	rest, err := io.ReadAll(b)
	if err == nil {
		err = cmd.Wait()
	}
	whole = time.Since(start).Seconds()
	if err != nil || !strings.Contains(string(rest), fmt.Sprintf("in %d Requests", n)) {
		t.Errorf("postqueue -p: %v: %s", err, rest[max(0, len(rest)-100):])
	}
	return first, whole
}

// TestLinear compares the cost of a message in a long run with that in a short one.
func TestLinear(t *testing.T) {
	full(t)
	sink := startCounter(t)
	s := startPostrider(t, setting{dir: scratch(t, *work), relay: sink.relay()})
	each := func(n int) (us float64, by string) {
		var r result
		before := used(s.pid())
		kept20.run(t, s.addr(), sink, n)
		r.add(used(s.pid()).minus(before), n)
		return r.cpu.total / float64(n), r.each()
	}
	lasting := newTable("Cost of a message in long runs", "4 KB, 20 kept sessions.", "messages", "processor time", "by program")
	each(2000)
	short, by := each(10_000)
	lasting.row(10_000, number(short)+" µs", by)
	long, by := each(1_000_000)
	lasting.row(1_000_000, number(long)+" µs", by)
	figure("processor time at 1,000,000 messages a run, to that at 10,000", "0.9 to 1.1", long/short, "", long/short <= 1.1 && long/short >= 0.9)
	s.stop()
}
