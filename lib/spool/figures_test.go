//go:build figures

package spool

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"postrider/lib/mail"
)

// TestFigures measures, with as many messages as POSTRIDER_FIGURES says, what
// doc/reliability.md records: bytes written for each deferral, disk use, the time
// that a start takes, and a rebuild without checkpoint and log.
func TestFigures(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("POSTRIDER_FIGURES"))
	if err != nil {
		t.Fatalf("POSTRIDER_FIGURES is to be a number of messages: %v", err)
	}
	q, o, ms := realRig(t, n)
	dir := fmt.Sprint(o.FS)
	start := time.Now()
	var mono time.Duration // of the simulation
	q.clock.mono = func() time.Duration { return time.Since(start) + mono }
	q.clock.wall = func() time.Time { return start.Add(time.Since(start) + mono) }
	st := mail.Status{DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}
	delay := []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 66 * time.Minute}
	put := func(m *Message, attempts int) {
		s := m.State
		in := delay[min(attempts, len(delay)-1)]
		s.Groups = []Group{{Recipients: []uint32{0}, Attempts: uint32(attempts + 1), Status: st, Due: q.Now().Add(in)}}
		q.Put(m, s)
	}
	var puts, peak int64
	for i, m := range ms {
		put(m, 0)
		if puts++; i%200 == 199 {
			turn(q)
		}
	}
	ms = nil
	hours, _ := strconv.Atoi(os.Getenv("POSTRIDER_FIGURES_HOURS"))
	if hours == 0 {
		hours = 120
	}
	for mono < time.Duration(hours)*time.Hour {
		out, err := q.Due(1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out {
			g := m.State.Groups[0]
			put(m, int(g.Attempts))
			puts++
		}
		turn(q)
		if len(out) > 0 {
			continue
		}
		if mono += time.Minute; mono%time.Hour == 0 {
			peak = max(peak, diskUse(t, dir))
		}
	}
	s := q.Stats()
	t.Logf("%d messages, %d deferrals in %d simulated hours, %v: %d bytes of log and %d of runs each", n, puts, hours, time.Since(start).Round(time.Second),
		s.LogBytes/puts, s.RunBytes/puts)
	living, _ := os.Stat(filepath.Join(dir, "incoming", "1"))
	states := s.RunBytes / puts * int64(n) // one living record each
	t.Logf("disk use at most %d MB, living content %d MB, living state %d MB", peak>>20, living.Size()>>20, states>>20)
	if limit := (living.Size()+states)*14/10 + 256<<20; peak > limit {
		t.Errorf("more than %d MB", limit>>20)
	}
	q.Sync(func(error) {})
	q.Commit()
	q.wait(func() bool { return !q.ckpt.busy && !q.ckpt.making })
	q.dead = true
	q.end()
	o.Now, o.Mono = q.clock.wall, q.clock.mono
	open := func(what string) *Queue {
		start := time.Now()
		q, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", what, time.Since(start).Round(time.Millisecond))
		return q
	}
	q = open("start after a kill")
	q.wait(func() bool { return !q.ckpt.busy && !q.ckpt.making })
	q.dead = true
	q.end()
	es, _ := os.ReadDir(filepath.Join(dir, "log"))
	for _, e := range es {
		os.Remove(filepath.Join(dir, "log", e.Name()))
	}
	begin := time.Now()
	q = open("rebuild without checkpoint and logs")
	if s := q.Stats(); s.Deferred != n {
		t.Errorf("%d of %d messages are rebuilt", s.Deferred, n)
	}
	if time.Since(begin) > 5*time.Minute {
		t.Error("more than five minutes")
	}
	q.dead = true
	q.end()
}

func diskUse(t *testing.T, dir string) (sum int64) {
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if i, err := e.Info(); err == nil {
				sum += i.Size()
			}
		}
		return nil
	})
	return sum
}
