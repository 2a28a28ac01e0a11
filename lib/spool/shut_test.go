package spool

import (
	"syscall"
	"testing"

	"postrider/lib/disk"
)

// What cannot be opened after a start, for a moment, is given out by the next call, and
// holds up no mail in other files meanwhile.
//
// Red with: ForgetShut.
func TestOldFileDoesNotOpen(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	r.w.fresh()
	b := r.send(1)
	r.expect("new", r.tail(), a, b)
	r.sync()
	r.kill()
	c := r.send(1)
	r.disk.Fail(disk.Fault{Op: disk.OpOpen, Prefix: "incoming/", Err: syscall.EMFILE})
	ms, err := r.q.Tail(10)
	if err == nil {
		t.Error("nobody hears that a file could not be opened")
	}
	r.expect("the others", ms, b, c)
	r.expect("the next time", r.tail(), a)
	r.q.Close()
}
