package block

import (
	"fmt"
	"os"
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
	envSeconds = "POSTRIDER_BLOCK_SECONDS"
	envSeed    = "POSTRIDER_BLOCK_SEED"
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
	states, starts := number(t, envStates, 150), number(t, envStarts, 1)
	seconds, seed := number(t, envSeconds, 3), uint64(number(t, envSeed, int(time.Now().Unix()%1_000_000)))
	each(t, func(t *testing.T, kind filesystem) {
		d := newDisk(t, kind)
		w := newWorld(t, d)
		h, r := w.recorded(seed, time.Duration(seconds)*time.Second)
		var tm [3]time.Duration
		begun, again, oldest, lossy := time.Now(), 0, time.Duration(0), 0
		err := r.states(r.cuts(states, seed), func(c cut, what string, m image) error {
			t0 := time.Now()
			if err := d.remount(m); err != nil {
				return fmt.Errorf("mount: %w", err)
			}
			t1 := time.Now()
			var l ledger.Ledger
			deleted, held := h.at(c.pos, &l)
			x, err := look(d.dir, &l, func() { d.pull(shutNoLogFlush) })
			t2 := time.Now()
			d.unmount()
			t3 := time.Now()
			tm[0] += t1.Sub(t0); tm[1] += t2.Sub(t1); tm[2] += t3.Sub(t2)
			if err != nil {
				return err
			}
			n, age, err := x.judge(h, c.pos, r.at(c.pos), deleted, held)
			if again += n; n > 0 {
				lossy++
			}
			oldest = max(oldest, age)
			return err
		})
		if err != nil {
			t.Fatalf("%s=%d: %v", envSeed, seed, err)
		}
		t.Logf("%s=%d: %d states, %.1f ms each; in %d of them %d deliveries will be repeated, the oldest %v before the cut",
			envSeed, seed, states, float64(time.Since(begun).Milliseconds())/float64(states), lossy, again, oldest.Round(time.Millisecond))
		t.Log(tm)
		if err := r.states(r.cuts(starts, seed+1), func(c cut, what string, m image) error { return w.restarted(h, r, c, m) }); err != nil {
			t.Fatalf("%s=%d, by the programs: %v", envSeed, seed, err)
		}
	})
}

// recorded runs the system for a while and returns what happened to whom and to the disk.
func (w *world) recorded(seed uint64, long time.Duration) (*history, *recording) {
	w.t.Helper()
	d := w.disk
	h := newHistory(d.device)
	w.listen(h.deliver, h.report)
	w.down.Refuse()
	w.create()
	d.pull(shutLogFlush) // what is made here is no part of the story
	d.unmount()
	start := slices.Clone(d.now)
	if err := d.mount(); err != nil {
		w.t.Fatal(err)
	}
	d.record(true)
	w.Start()
	w.work(h, seed, long)
	d.record(false)
	w.Kill()
	seals := w.Grep("compact|clock|warning|error:|fatal|panic")
	d.unmount()
	r := newRecording(start, d.log)
	bytes := 0
	for i := range r.log {
		bytes += len(r.log[i].data)
	}
	if len(h.verbs) < 8 || len(h.found) < 100 {
		w.t.Fatalf("too little to judge: %d commands, %d deliveries", len(h.verbs), len(h.found))
	}
	w.t.Logf("recorded %v: %d messages, %d deliveries and reports, %d commands; %d writes of %.1f MiB, %d flushes",
		long, len(h.sent), len(h.found), len(h.verbs), len(r.log)-len(r.flushes)+1, float64(bytes)/(1<<20), len(r.flushes)-1)
	for _, l := range seals[:min(len(seals), 5)] {
		w.t.Log(l)
	}
	return h, r
}
