package spool

import (
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
)

// A deferred message of which another takes over everybody, here while nobody has it
// open, is finished then and not when it is due. Red without: crossed.
func TestCrossedOffWhileDeferred(t *testing.T) {
	r := newRig(t, 1)
	old := r.send(2)
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Hour)
	}
	r.sync()
	ts := r.targets(old)
	for n := range uint32(2) { // one after the other: with one left it stays
		e := r.envelope(1)
		e.Replaces.ID, e.Replaces.File, e.Replaces.Slot, e.Replaces.Recipients = ts[0].ID, ts[0].Ref.File, ts[0].Ref.Slot, []uint32{n}
		r.w.add(e, nil)
		r.w.sync()
		r.expect("tail", r.tail(), string(e.ID))
		r.settle()
		if s := r.q.Stats(); s.Deferred != 1-int(n) {
			t.Errorf("%d taken over: %+v", n+1, s)
		}
	}
	r.sync()
	r.powerCut()
	r.settle()
	if s := r.q.Stats(); s.Deferred != 0 {
		t.Errorf("deferred again: %+v", s)
	}
	r.q.Close()
}

// What is released while hold/ cannot be read for a moment comes out when it can.
func TestReleaseOnAnAilingDisk(t *testing.T) {
	r := newRig(t, 1)
	id := r.send(1)
	for _, m := range r.tail() {
		r.deferAll(m, 5*time.Minute)
	}
	r.q.Hold(r.targets(id))
	r.pass(6 * time.Minute)
	r.due()
	r.sync()
	r.settle()
	r.q.Release(r.targets(id))
	r.disk.Fail(disk.Fault{Op: disk.OpOpen, Prefix: dirHold, Err: syscall.EMFILE})
	r.settle()
	if s := r.q.Stats(); s.Held != 1 {
		t.Fatalf("the disk failed, and yet: %+v", s)
	}
	r.disk.Heal()
	r.pass(2 * afterError * time.Millisecond)
	r.q.Commit()
	r.settle()
	r.expect("released", r.due(), id)
	r.q.Close()
}
