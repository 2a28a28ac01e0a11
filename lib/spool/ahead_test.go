package spool

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/disk"
)

// slowDisk lets so many reads of deferred mail pass and has the others wait.
type slowDisk struct {
	disk.FS
	mu      sync.Mutex
	on      bool
	left    int
	waiting int
	gate    chan struct{}
}

type slowFile struct {
	disk.File
	d *slowDisk
}

func (d *slowDisk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err == nil && (strings.HasPrefix(name, dirDeferred) || strings.HasPrefix(name, dirHold) || strings.HasPrefix(name, dirIncoming)) {
		return &slowFile{f, d}, nil
	}
	return f, err
}

func (f *slowFile) ReadAt(b []byte, off int64) (int, error) {
	d := f.d
	d.mu.Lock()
	gate := d.gate
	wait := d.on && d.left == 0
	if d.on && !wait {
		d.left--
	}
	if wait {
		d.waiting++
	}
	d.mu.Unlock()
	if wait {
		<-gate
	}
	return f.File.ReadAt(b, off)
}

// stall has all reads but the next n wait until open.
func (d *slowDisk) stall(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on, d.left, d.waiting, d.gate = true, n, 0, make(chan struct{})
}

func (d *slowDisk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on {
		d.on = false
		close(d.gate)
	}
}

func (d *slowDisk) isWaiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting > 0
}

// slowly is a rig on a slow disk.
func slowly(t *testing.T) (*rig, *slowDisk) {
	r := newRig(t, 1)
	r.stop()
	d := &slowDisk{FS: r.disk}
	r.o.FS = d
	r.start()
	t.Cleanup(d.open)
	return r, d
}

// Whatever is wanted of deferred mail, the owner does not wait for the disk. Red when
// readRun, sendAsked, readSweep or the search for orphans reads in the owner's goroutine.
func TestOwnerDoesNotWait(t *testing.T) {
	r, d := slowly(t)
	var want []string
	for range 3 {
		want = append(want, r.send(1))
	}
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Minute)
	}
	held := r.targets(want[2])
	r.q.Hold(held)
	r.pass(6 * time.Minute)
	r.due() // files what is on hold
	for _, m := range r.q.open {
		r.deferAll(m, 5*time.Minute)
	}
	r.sync()
	r.settle()
	r.pass(6 * time.Minute)

	d.stall(0)
	late := time.AfterFunc(5*time.Second, func() {
		t.Error("the owner waits for the disk")
		d.open()
	})
	r.q.Release(held)
	r.q.space.orphans = true
	for range 3 {
		if ms, err := r.q.Due(10); len(ms) > 0 || err != nil {
			t.Errorf("due: %v, %v", ms, err)
		}
		r.q.Commit()
	}
	late.Stop()
	if r.q.space.search == nil || r.q.hold.sweep == nil || r.q.wheel.scanning == nil {
		t.Error("nothing is read")
	}
	d.open()
	r.settle()
	r.expect("due", r.due(), want...)
	r.q.Close()
}

// While the records of a message are read, at any of their reads, it is deleted, put on
// hold, put off, or wanted at once: what was read does not bring it back. Red without:
// the look at what is dead in takeRead, at open and held ones in takeRecord, flush in
// Flush.
func TestWhileItIsRead(t *testing.T) {
	for _, what := range []string{"nothing", "delete", "hold", "put off", "flush", "finish", "expedite"} {
		t.Run(what, func(t *testing.T) {
			n := 0
			for ; ; n++ {
				if !whileRead(t, what, n) {
					break
				}
			}
			if n < 3 { // the list, the state, the content
				t.Errorf("only %d reads", n)
			}
		})
	}
}

// whileRead reports whether the n-th read could be made to wait.
func whileRead(t *testing.T, what string, n int) bool {
	r, d := slowly(t)
	id, other := r.send(1), r.send(1)
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Minute)
	}
	r.sync()
	r.settle()
	ts := r.targets(id)
	r.pass(6 * time.Minute)
	d.stall(n)
	for end := time.Now().Add(5 * time.Second); !d.isWaiting(); {
		if _, err := r.q.Due(0); err != nil {
			t.Fatal(err)
		}
		if !r.q.Reading() {
			break
		}
		select {
		case f := <-r.q.Events():
			f()
		case <-time.After(time.Millisecond):
			if time.Now().After(end) {
				t.Fatal("nothing is read")
			}
		}
	}
	stalled := d.isWaiting()
	want, later := []string{id, other}, 0
	switch what {
	case "delete":
		r.q.Delete(ts)
		want, later = []string{other}, -1
	case "hold":
		r.q.Hold(ts)
		want = []string{other}
	case "put off", "finish":
		d.mu.Lock()
		d.on = false // the owner reads, too
		d.mu.Unlock()
		m, err := r.q.Reach(ts[0])
		if err != nil || m == nil {
			t.Fatalf("reach: %v, %v", m, err)
		}
		if want = []string{other}; what == "finish" {
			r.q.Finish(m)
			later = -1
		} else {
			r.deferAll(m, time.Hour)
		}
		d.mu.Lock()
		d.on = true
		d.mu.Unlock()
	case "flush":
		r.q.Flush()
	case "expedite":
		r.q.Expedite(ts)
	}
	d.open()
	got := r.due()
	for _, m := range got {
		if m.Flushed != (what == "flush" || what == "expedite" && string(m.Envelope.ID) == id && m.Flushed) {
			t.Errorf("%s: flushed is %v", m.Envelope.ID, m.Flushed)
		}
	}
	r.expect(fmt.Sprintf("%s at read %d", what, n), got, want...)
	for _, m := range got {
		r.q.Finish(m)
	}
	r.q.Release(ts)
	r.settle()
	r.pass(2 * time.Hour)
	if len(want) == 1 && later == 0 {
		r.expect("later", r.due(), id)
	} else {
		r.expect("later", r.due())
	}
	r.q.Close()
	return stalled
}

// A message that is first deferred while the search for lost ones goes on is not taken
// for one. Red without: name in put.
func TestSearchWhileMailIsPut(t *testing.T) {
	r, d := slowly(t)
	first, second := r.send(1), r.send(1)
	ms := r.tail()
	r.deferAll(ms[0], 5*time.Minute)
	r.sync()
	r.settle()
	d.stall(0)
	r.q.space.orphans = true
	r.q.Commit()
	r.deferAll(ms[1], 5*time.Minute)
	d.open()
	r.settle()
	r.pass(6 * time.Minute)
	r.expect("due", r.due(), first, second)
	r.q.Close()
}

// What is damaged in a run is saved once and searched for once, and then forgotten: the
// run is given back. Red without: lostSlotsOf in scanRun.
func TestDamageIsMetOnce(t *testing.T) {
	r := newRig(t, 1)
	for range 8 {
		r.send(1)
	}
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Minute)
	}
	r.checkpoint()
	r.settle()
	es, _ := r.disk.ReadDir(dirDeferred)
	r.disk.Flip(dirDeferred+"/"+es[0].Name(), 8192+512, 700)
	r.pass(6 * time.Minute)
	out := len(r.due())
	if out == 0 || out > 6 {
		t.Fatalf("%d of 8 come out", out)
	}
	r.settle()
	before := len(r.logs)
	for range 5 {
		r.settle()
	}
	if n := len(r.logs) - before; n > 0 {
		t.Errorf("again and again: %q", r.logs[before:])
	}
	if s := r.q.Stats(); s.Held != 8-out || s.Deferred != out {
		t.Errorf("%d on hold and %d open of the rest: %+v", s.Held, out, s)
	}
	for _, m := range r.q.open {
		r.q.Finish(m)
	}
	r.sync()
	for range 4 {
		r.settle()
		r.sync()
	}
	if es, _ := r.disk.ReadDir(dirDeferred); len(es) > 0 {
		t.Errorf("deferred/ is left with %v", es)
	}
	r.q.Close()
}

// A message that another takes over while it lies on hold is gone at once, and does not
// wait for its release. Red without: crossedOff, or the sweep that Tail asks for.
func TestCrossedOffOnHold(t *testing.T) {
	r := newRig(t, 1)
	old := r.send(2)
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Minute)
	}
	ts := r.targets(old)
	r.q.Hold(ts)
	r.pass(6 * time.Minute)
	r.due()
	r.sync()
	r.settle()
	if s := r.q.Stats(); s.Held != 1 {
		t.Fatalf("%+v", s)
	}
	e := r.envelope(2)
	e.Replaces.ID, e.Replaces.File, e.Replaces.Slot, e.Replaces.Recipients = ts[0].ID, ts[0].Ref.File, ts[0].Ref.Slot, []uint32{0, 1}
	r.w.add(e, nil)
	r.w.sync()
	r.expect("tail", r.tail(), string(e.ID))
	r.settle()
	if s := r.q.Stats(); s.Held != 0 {
		t.Errorf("still on hold: %+v", s)
	}
	r.powerCut()
	r.settle()
	if s := r.q.Stats(); s.Held != 0 {
		t.Errorf("on hold again: %+v", s)
	}
	r.q.Close()
}
