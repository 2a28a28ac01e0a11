package spool

import (
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
)

// A log that failed ends where it was durable, whatever later logs say and however
// soon they are begun. Red without: keeping that end in logWriter.begun.
func TestFailedLogStaysShort(t *testing.T) {
	r := newRig(t, 1)
	a, b, c := r.send(1), r.send(1), r.send(1)
	ms := r.tail()
	r.sync()
	r.settle()
	q := r.q
	failed := q.log.file.number
	r.disk.Fail(disk.Fault{Op: disk.OpWrite, Prefix: "log/0", Err: syscall.EIO})
	q.Finish(ms[0])
	r.deferAll(ms[1], time.Minute)
	q.Commit()
	q.wait(func() bool { return q.log.file.number > failed })
	// One more before the owner hears that the last one was synced.
	s, err := makeLog(q.fs, dirLog+"/00000099", q.nextLog(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	q.beginLog(s)
	r.sync()
	r.kill()
	if len(r.corrupt()) != 0 {
		t.Errorf("corrupt/: %v, log %q", r.corrupt(), r.logs)
	}
	r.expect("active", r.tail(), c)
	r.pass(time.Hour)
	r.expect("due", r.due(), b)
	if r.items()[a] != nil {
		t.Error("a finished message is back")
	}
	r.q.Close()
}
