package block

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"postrider/test/instance"
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
	states, starts := instance.Number(t, envStates, 2000), instance.Number(t, envStarts, 1)
	limit := time.Duration(instance.Number(t, envLimit, 3)) * time.Second
	seconds, seed := instance.Number(t, envSeconds, 2), instance.Seed(t, envSeed)
	each(t, func(t *testing.T, kind filesystem) {
		w := newWorld(t, newDisk(t, kind))
		h, r := w.recorded(seed, time.Duration(seconds)*time.Second)
		c := campaign{h: h, r: r, seed: seed, states: states, until: time.Now().Add(limit)}
		begun := time.Now()
		if err := c.run(t, w.disk); err != nil {
			t.Fatalf("%s=%d: %v", envSeed, seed, err)
		}
		sum := &c.sum
		t.Logf("%s=%d: %d states, %.1f ms each; in %d of them %d deliveries will be repeated, the oldest %v before the cut", envSeed, seed,
			sum.states, float64(time.Since(begun).Milliseconds())/float64(sum.states), sum.repeating, sum.again, sum.oldest.Round(time.Millisecond))
		if err := r.states(r.cuts(starts, seed-1), func(c cut, m image) error { return w.restarted(h, r, c, m) }); err != nil {
			t.Fatalf("%s=%d, by the programs: %v", envSeed, seed, err)
		}
	})
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
	w.work(h, seed, long, h.judgeable)
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
	if !h.judgeable() {
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
