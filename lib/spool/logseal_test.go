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

// A log cannot be synced, the next one not be written as a whole, and then qmgr is
// killed: what was written, so that agents were told that it is, is known. Red without:
// writing the head record last.
func TestTwoLogsFailThenAKill(t *testing.T) {
	for seed := range uint64(12) {
		r := newRig(t, seed)
		const n = 200
		for range n {
			r.send(1)
		}
		ms := r.tail()
		r.sync()
		r.settle()
		q := r.q
		r.disk.Fail(disk.Fault{Op: disk.OpSync, Prefix: dirLog + "/0", Err: syscall.EIO, Forever: true})
		written := false
		for i, m := range ms {
			q.Finish(m)
			if i%10 == 9 {
				q.Commit()
			}
		}
		q.Written(func() { written = true })
		q.Commit()
		q.wait(func() bool { return written })
		r.disk.Fail(disk.Fault{Op: disk.OpWrite, Prefix: dirLog + "/0", Err: syscall.EIO, Forever: true})
		q.Sync(func(error) {})
		first := q.log.file.number
		q.Commit()
		q.wait(func() bool { return q.log.file.number > first && q.log.failed })
		r.disk.Kill()
		r.stop()
		r.disk.Heal()
		r.start()
		if again := r.tail(); len(again) > 0 {
			t.Fatalf("seed %d: %d messages are delivered again", seed, len(again))
		}
		if c := r.corrupt(); len(c) > 0 {
			t.Errorf("seed %d: corrupt/: %v", seed, c)
		}
		r.q.Close()
	}
}
