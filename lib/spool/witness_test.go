package spool

import (
	"os"
	"strings"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Yesterday's copy of a spool is put on hold, with what its journal has besides, and stays
// there over a kill; what is released goes, and the next start finds nothing strange.
func TestRestored(t *testing.T) {
	for name, later := range map[string]func(*rig){
		"minutes later":       func(*rig) {},
		"one log later":       func(r *rig) { r.checkpoint() },
		"many logs later":     func(r *rig) { r.checkpoint(); r.checkpoint(); r.checkpoint(); r.checkpoint() },
		"after another start": func(r *rig) { r.kill() },
		"after a power cut":   func(r *rig) { r.powerCut() },
		"a new queue later": func(r *rig) {
			r.stop()
			r.disk, r.seen = disk.NewModel(9), nil
			r.o.FS = r.disk
			r.start()
			r.send(1)
			r.tail()
			r.sync()
		},
		"after orderly an end": func(r *rig) { r.q.Close(); r.note(); r.start() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			deferred, over, new := r.send(1), r.send(1), ""
			ms := r.tail()
			r.deferAll(ms[0], time.Minute)
			r.q.Finish(ms[1])
			r.sync()
			active := r.send(2)
			opened := r.tail()
			r.sync()
			new = r.send(1)
			r.settle()
			old := r.disk.Clone(7)

			r.pass(24 * time.Hour)
			for _, m := range append(opened, append(r.due(), r.tail()...)...) { // all delivered
				r.q.Finish(m)
			}
			r.sync()
			later(r)
			r.settle()
			r.stop()

			r.disk, r.o.FS, r.logs, r.copy = old, old, nil, true
			r.start()
			if !r.q.restored.is || !strings.Contains(strings.Join(r.logs, "\n"), "brought back from an earlier time") {
				t.Fatalf("nobody noticed: %q; seen %+v, keys %v, logs %v, have %v, end %d", r.logs, *r.seen, r.q.ckpt.keys, r.q.ckpt.logs, r.q.ckpt.have, r.q.log.file.number)
			}
			check := func() {
				t.Helper()
				for _, m := range r.tail() {
					if !r.q.IsHeld(m.Ref) {
						t.Errorf("%s would be sent again", m.Envelope.ID)
					}
					r.deferAll(m, 0)
				}
				r.expect("due", r.due())
				it := r.items()
				for _, id := range []string{deferred, active, new} {
					if it[id] == nil || it[id].Queue != InHold {
						t.Errorf("%s: %+v", id, it[id])
					}
				}
				if len(it) != 3 || it[over] != nil {
					t.Errorf("in the queue: %v", it)
				}
			}
			check()
			r.sync()
			r.copy = false
			r.kill() // nothing strange any more
			check()
			r.q.Release(r.targets(deferred, active, new))
			r.sync()
			r.powerCut()
			r.settle() // hold/ is looked through
			r.pass(time.Hour)
			r.expect("due", r.due(), deferred, active, new)
			r.q.Close()
		})
	}
}

// What a power cut leaves is no copy from before, whatever was written when: rig.start
// looks at that in every test of this package. Here the moment is each write and sync.
func TestWitnessIsNeverAhead(t *testing.T) {
	for k := range 60 {
		r := newRig(t, uint64(k))
		r.disk.StopAfter(k)
		for n := range 12 {
			if r.disk.Stopped() {
				break
			}
			r.w.r = r
			if w, ok := r.q.Witness(); ok {
				r.seen = &w
			}
			if n%4 == 3 {
				r.q.ckpt.due = true
			}
			r.q.Now()
			r.q.logClock()
			r.q.log.wanted = true
			r.q.Commit()
			for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
				select {
				case f := <-r.q.Events():
					f()
				default:
				}
			}
			r.note()
		}
		r.powerCut()
		r.q.Close()
	}
}

// The file survives the loss of what is being written; who only reads makes none.
func TestWitnessFile(t *testing.T) {
	m := disk.NewModel(1)
	if w, err := ReadWitness(m); w != nil || err != nil {
		t.Fatalf("no file: %v, %v", w, err)
	}
	x, w, err := OpenWitness(m)
	if err != nil || w != nil {
		t.Fatalf("a new file: %v, %v", w, err)
	}
	m.SyncDir(".")
	a, b := Witness{1, 2, slot.NewKey(), 4096}, Witness{1, 3, slot.NewKey(), 8192}
	for _, w := range []Witness{a, a, b} {
		if err := x.Write(w); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadWitness(m); err != nil || *got != w {
			t.Fatalf("read: %+v, %v", got, err)
		}
	}
	f, err := m.OpenFile(witnessFile, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{0xff}, int64(x.generation)%2*witnessApart+20)
	if got, err := ReadWitness(m); err != nil || *got != a {
		t.Errorf("with the newest lost: %+v, %v", got, err)
	}
}
