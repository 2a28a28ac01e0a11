package spool

import (
	"strings"
	"testing"
	"time"

	"postrider/lib/slot"
)

// fill leaves no byte free.
func (r *rig) fill() {
	used := int64(1)
	r.disk.SetCapacity(1 << 40)
	if free, err := r.disk.Free("."); err == nil {
		used = 1<<40 - free
	}
	r.disk.SetCapacity(used)
}

// qmgr starts on a disk without a free byte, and with the log that was made in
// advance it goes on crossing off and deferring. Red without: noSpace in takeOver,
// empty in replay (no attempt may start), the test of writeRuns before snapshot.
func TestStartOnAFullDisk(t *testing.T) {
	for _, spare := range []bool{true, false} {
		name := "with a spare log"
		if !spare {
			name = "without"
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			var ids []string
			for range 30 {
				ids = append(ids, r.send(1))
			}
			ms := r.tail()
			r.q.Hold(r.targets(ids[19]))
			for _, m := range ms[:20] {
				r.deferAll(m, 5*time.Minute)
			}
			r.sync()
			r.settle()
			r.disk.Kill()
			r.stop()
			if !spare {
				es, _ := r.disk.ReadDir(dirLog)
				for _, e := range es {
					f, err := r.disk.OpenFile(dirLog+"/"+e.Name(), 0, 0)
					if err != nil {
						t.Fatal(err)
					}
					h, err := slot.ReadHeader(f)
					if err == nil && h.Kind == slot.Log {
						if _, _, err = slot.ReadRecord(f, h, slot.DataStart, nil); err != nil {
							r.disk.Remove(dirLog + "/" + e.Name())
						}
					}
				}
			}
			for round := range 3 {
				r.fill()
				r.start()
				ms := r.tail()
				r.expect("tail", ms, ids[20+2*round:]...)
				may := r.q.Reserve(ms[0], 1)
				if round == 0 && may != spare { // that takes the spare
					t.Errorf("round %d: an attempt may start: %v\n%q", round, may, r.logs)
				}
				if !may {
					r.disk.SetCapacity(0)
					r.pass(time.Minute)
					r.q.Commit()
					deadline := time.Now().Add(10 * time.Second)
					for !r.q.Reserve(ms[0], 1) && time.Now().Before(deadline) {
						select {
						case f := <-r.q.Events():
							f()
							r.q.Commit()
						case <-time.After(time.Millisecond):
							r.pass(20 * time.Millisecond)
							r.q.Sync(func(error) {})
							r.q.Commit()
						}
					}
				}
				r.q.Finish(ms[0])
				r.deferAll(ms[1], 4*time.Hour)
				r.sync()
				for _, e := range r.corrupt() {
					t.Errorf("corrupt/%s", e)
				}
				r.disk.Kill()
				r.stop()
			}
			r.disk.SetCapacity(0)
			r.start()
			r.expect("tail", r.tail(), ids[26:]...)
			r.pass(6 * time.Minute)
			r.expect("due", r.due(), ids[:19]...)
			r.pass(5 * time.Hour)
			r.expect("due later", r.due(), ids[21], ids[23], ids[25])
			r.q.Release(r.targets(ids[19]))
			r.settle()
			ms = r.due()
			r.expect("released", ms, ids[19])
			if g := ms[0].State.Groups; g[0].Attempts != 1 {
				t.Errorf("its state is lost: %+v", g)
			}
			if strings.Contains(strings.Join(r.logs, " "), "rebuilt") {
				t.Error("rebuilt")
			}
			r.q.Close()
		})
	}
}

// What is on hold and only in the log and in memory, since there is no space for a run,
// is neither lost nor forgotten. Red without: the error of seal in sweepHold.
func TestHoldOnAFullDisk(t *testing.T) {
	r := newRig(t, 1)
	var ids []string
	for range 60 {
		ids = append(ids, r.send(1))
	}
	ms := r.tail()
	ts := r.targets(ids...)
	r.q.Hold(ts)
	r.sync()
	for _, m := range ms[:50] {
		r.deferAll(m, 5*time.Minute)
	}
	r.sync()
	r.disk.Kill()
	r.stop()
	r.fill()
	r.start()
	kept := 0
	for _, run := range r.q.runs {
		if run.hold && run.enc != nil {
			kept += int(run.slots)
		}
	}
	if kept < 50 {
		t.Fatalf("%d records are in memory", kept)
	}
	r.settle()
	r.q.Release(ts[:50])
	r.settle()
	r.disk.SetCapacity(0)
	r.pass(6 * time.Minute)
	for range 3 {
		r.settle()
	}
	if strings.Contains(strings.Join(r.logs, " "), "lost") {
		t.Errorf("%q", r.logs)
	}
	due := r.due()
	r.expect("released", due, ids[:50]...)
	for _, m := range due {
		if m.State.Groups[0].Attempts != 1 {
			t.Errorf("the state of %s is lost: %+v", m.Envelope.ID, m.State)
		}
	}
	r.q.Close()
}
