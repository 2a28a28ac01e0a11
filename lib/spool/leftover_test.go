package spool

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// large writes a file in content/, and its record when recorded.
func (r *rig) large(recorded bool) string {
	r.t.Helper()
	e := r.envelope(1)
	f, err := r.q.create(dirContent + "/" + string(e.ID))
	if err != nil {
		r.t.Fatal(err)
	}
	f.WriteAt([]byte("large"), 0)
	f.Sync()
	r.disk.SyncDir(dirContent)
	if recorded {
		if r.w.enc == nil {
			r.w.fresh()
		}
		r.w.enc.Append(&slot.Record{Type: slot.TypeMessage, Flags: slot.FlagLarge, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: slot.AppendLarge(nil, slot.Large{Size: 5, CRC: 7})})
		b, off := r.w.enc.Batch()
		r.w.f.WriteAt(b, off)
		r.w.enc.Written()
		r.w.sync()
	}
	return string(e.ID)
}

// A dead cleanup's content without a record goes, nothing else: not what a message
// that is active, deferred or on hold names, not what a living cleanup writes, and
// nothing while a state record is damaged. Red without: each condition of
// leftoverStep, of oldLarge, and strict.
func TestLeftovers(t *testing.T) {
	for how := range 4 {
		damage, passed := how&1 != 0, how&2 != 0
		t.Run(fmt.Sprintf("damage %v passed %v", damage, passed), func(t *testing.T) {
			r := newRig(t, 1)
			r.disk.Clock = func() time.Time { return r.wall }
			active, deferred, held, dead := r.large(true), r.large(true), r.large(true), r.large(false)
			touched := r.large(false)
			r.pass(20 * time.Hour)
			if f, err := r.disk.OpenFile(dirContent+"/"+touched, os.O_RDWR, 0); err == nil {
				f.WriteAt([]byte("more"), 5)
			}
			r.pass(-20 * time.Hour)
			r.tail()
			r.q.Hold(r.targets(held))
			for _, m := range r.q.open {
				if string(m.Envelope.ID) != active || !passed {
					r.deferAll(m, time.Hour)
				}
			}
			if passed { // what was active is read again
				r.w.fresh()
				r.w.sync()
				r.tail()
			}
			r.checkpoint()
			r.settle()
			r.stop()
			r.disk.Kill()
			if damage {
				es, _ := r.disk.ReadDir(dirDeferred)
				r.disk.Flip(dirDeferred+"/"+es[0].Name(), slot.DataStart+64, 8)
			}
			r.pass(2 * time.Hour)
			q, err := Open(r.o)
			if err != nil {
				t.Fatal(err)
			}
			r.q, r.w = q, &writer{r: r}
			r.w.fresh() // a cleanup begins
			early := r.large(false)
			r.pass(-9 * time.Hour) // a step back: the name tells
			stepped := r.large(false)
			r.pass(9 * time.Hour)
			late := r.large(true)
			if err := q.WriterGone(r.w.number); err != nil {
				t.Fatal(err)
			}
			r.pass(10 * time.Hour)
			r.settle()
			if _, err := r.disk.Stat(dirContent + "/" + dead); err != nil {
				t.Error("removed before the journal was tailed")
			}
			r.tail()
			r.settle()
			r.settle()
			for _, id := range []string{active, deferred, held, early, late, stepped, touched} {
				if _, err := r.disk.Stat(dirContent + "/" + id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			if _, err := r.disk.Stat(dirContent + "/" + dead); (err == nil) != damage {
				t.Errorf("the leftover: %v", err)
			}
			r.q.Close()
		})
	}
}

// A message whose state record cannot be written to its run keeps its content. Red
// without: Snapshot.short.
func TestLeftoversWhileRunsCannotBeWritten(t *testing.T) {
	r := newRig(t, 1)
	r.disk.Clock = func() time.Time { return r.wall }
	id := r.large(true)
	r.tail()
	r.sync()
	r.stop()
	r.disk.Kill()
	r.pass(2 * leftoverAge)
	q, err := Open(r.o)
	if err != nil {
		t.Fatal(err)
	}
	r.q, r.w = q, &writer{r: r}
	r.w.fresh() // a cleanup begins
	if err := q.WriterGone(r.w.number); err != nil {
		t.Fatal(err)
	}
	r.disk.Fail(disk.Fault{Op: disk.OpWrite, Prefix: dirDeferred, Forever: true, Err: syscall.EIO})
	ms := r.tail()
	r.expect("active", ms, id)
	r.deferAll(ms[0], time.Hour)
	r.settle()
	r.settle()
	if q.tail.cleared != r.w.number {
		t.Error("content/ was not looked through")
	}
	if _, err := r.disk.Stat(dirContent + "/" + id); err != nil {
		t.Error(err)
	}
	r.disk.Heal()
	r.q.Close()
}
