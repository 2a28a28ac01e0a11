package block

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"postrider/test/ledger"
)

// Environment variables of a campaign; see the comment of the package.
const (
	envStates  = "POSTRIDER_BLOCK_STATES"
	envStarts  = "POSTRIDER_BLOCK_STARTS"
	envPulls   = "POSTRIDER_BLOCK_PULLS"
	envLimit   = "POSTRIDER_BLOCK_LIMIT"
	envSeconds = "POSTRIDER_BLOCK_SECONDS"
	envSeed    = "POSTRIDER_BLOCK_SEED"
	envKeep    = "POSTRIDER_BLOCK_KEEP"
	envBtrfs   = "POSTRIDER_BLOCK_BTRFS"
)

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// each runs a test on each file system.
func each(t *testing.T, f func(t *testing.T, kind filesystem)) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	for _, kind := range filesystems {
		if kind.name == "btrfs" && os.Getenv(envBtrfs) == "" {
			continue
		}
		t.Run(kind.name, func(t *testing.T) { t.Parallel(); f(t, kind) })
	}
}

// After a power cut anywhere in a recording of the system at work, with any part of what
// was not flushed on the disk, the file system mounts, and everything is in its place.
func TestPowerCut(t *testing.T) {
	states, starts := number(t, envStates, 2000), number(t, envStarts, 1)
	limit := time.Duration(number(t, envLimit, 3)) * time.Second
	seconds, seed := number(t, envSeconds, 2), uint64(number(t, envSeed, int(time.Now().Unix()%1_000_000)))
	each(t, func(t *testing.T, kind filesystem) {
		w := newWorld(t, newDisk(t, kind))
		h, r := w.recorded(seed, time.Duration(seconds)*time.Second)
		var sum tally
		begun := time.Now()
		for round := uint64(0); sum.states < states && (round == 0 || time.Since(begun) < limit); round++ {
			cuts := r.cuts(min(25, states-sum.states), seed+round)
			if err := r.states(cuts, func(c cut, m image) error { return w.listed(h, r, c, m, &sum) }); err != nil {
				t.Fatalf("%s=%d: %v", envSeed, seed, err)
			}
		}
		t.Logf("%s=%d: %d states, %.1f ms each; in %d of them %d deliveries will be repeated, the oldest %v before the cut", envSeed, seed,
			sum.states, float64(time.Since(begun).Milliseconds())/float64(sum.states), sum.repeating, sum.again, sum.oldest.Round(time.Millisecond))
		if err := r.states(r.cuts(starts, seed-1), func(c cut, m image) error { return w.restarted(h, r, c, m) }); err != nil {
			t.Fatalf("%s=%d, by the programs: %v", envSeed, seed, err)
		}
	})
}

// tally is what many states come to.
type tally struct {
	states, repeating, again int
	oldest                   time.Duration
}

// listed mounts a state of the disk, starts the spool, lists what is there, and judges.
func (w *world) listed(h *history, r *recording, c cut, m image, sum *tally) error {
	was := slices.Clone(m) // before recovery
	if err := w.disk.remount(m); err != nil {
		return fmt.Errorf("mount: %w%s", err, keep(was))
	}
	var l ledger.Ledger
	deleted, held := h.at(c.pos, &l)
	x, err := look(w.disk.dir, &l, func() { w.disk.pull(shutNoLogFlush) })
	w.disk.unmount()
	again, age := 0, time.Duration(0)
	if err == nil {
		again, age, err = x.judge(h, c.pos, r.at(c.pos), deleted, held)
	}
	if err != nil {
		return fmt.Errorf("%w; recovery said %q%s", err, x.logs, keep(was))
	}
	sum.states++
	sum.again += again
	if again > 0 {
		sum.repeating++
	}
	sum.oldest = max(sum.oldest, age)
	return nil
}

// keep writes a disk that failed to where envKeep says.
func keep(m image) string {
	name := os.Getenv(envKeep)
	if name == "" {
		return ""
	}
	f, err := os.Create(name)
	if err != nil {
		return "; " + err.Error()
	}
	defer f.Close()
	for n, p := range m {
		if p != nil {
			f.WriteAt(p, int64(n)*page)
		}
	}
	f.Truncate(m.size())
	return "; the disk is in " + name
}

// recorded runs the system for a while and returns what happened to whom and to the disk.
func (w *world) recorded(seed uint64, long time.Duration) (*history, *recording) {
	w.t.Helper()
	d := w.disk
	h := newHistory(d.device)
	w.listen(h.deliver, h.report)
	w.down.Refuse()
	w.create()
	d.unmount()
	start := slices.Clone(d.now)
	d.record(true)
	if err := d.mount(); err != nil {
		w.t.Fatal(err)
	}
	w.Start()
	w.work(h, seed, long)
	d.record(false)
	stores := 0 // numbers of store files are never used again
	for name := range w.Files("store") {
		n, _ := strconv.Atoi(filepath.Base(name))
		stores = max(stores, n)
	}
	w.Kill()
	d.unmount()
	r := newRecording(start, d.log)
	bytes := 0
	for i := range r.log {
		bytes += len(r.log[i].data)
	}
	if len(h.verbs) < 3 || len(h.found) < 100 {
		w.t.Fatalf("too little to judge: %d commands, %d deliveries", len(h.verbs), len(h.found))
	}
	refused := 0
	for _, s := range h.sent {
		refused += min(len(s.refused), 1)
	}
	w.t.Logf("recorded %v: %d messages, %d of them refused, %d deliveries and reports, %d commands, %d compactions; %d writes of %.1f MiB, %d flushes",
		long, len(h.sent), refused, len(h.found), len(h.verbs), stores, len(r.log)-len(r.flushes)+1, float64(bytes)/(1<<20), len(r.flushes)-1)
	return h, r
}
