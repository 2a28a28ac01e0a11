package spool

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// thinned is a spool with old files of which little is left, and what is.
func thinned(t *testing.T, seed uint64) (r *rig, left []string) {
	r = newRig(t, seed)
	r.w.limit = 24 << 10
	for i := range 200 {
		e := r.envelope(1)
		r.w.add(e, bytes.Repeat([]byte(e.ID), 60))
		if i%10 == 3 {
			left = append(left, string(e.ID))
		}
	}
	r.w.sync()
	for i, m := range r.tail() {
		if i%10 == 3 {
			r.deferAll(m, 5*time.Minute)
		} else {
			r.q.Finish(m)
		}
	}
	r.sync()
	r.settle()
	return r, left
}

// compact lets a compaction happen, as far as the disk does.
func (r *rig) compact() {
	r.pass(compactEvery)
	for range 3 {
		r.settle()
		r.sync()
	}
	r.settle()
}

// whole checks that exactly these messages come out when due, with their content.
func (r *rig) whole(want []string) {
	r.t.Helper()
	r.pass(6 * time.Minute)
	r.expect("tail", r.tail())
	ms := r.due()
	r.expect("due", ms, want...)
	for _, m := range ms {
		c, _, err := r.q.ReadContent(m, nil)
		if !bytes.Equal(c, bytes.Repeat([]byte(m.Envelope.ID), 60)) {
			r.t.Errorf("content of %s: %d bytes, %v", m.Envelope.ID, len(c), err)
		}
	}
	if c := r.corrupt(); len(c) > 0 {
		r.t.Errorf("corrupt/: %v", c)
	}
}

// Red without: compactStep (nothing is given back), the store in where, Cat and
// Snapshot, unstore (store/ is never given back).
func TestCompaction(t *testing.T) {
	r, left := thinned(t, 1)
	before := len(r.freed)
	listed := r.items()
	r.pass(compactEvery)
	r.settle() // written, not synced
	r.settle()
	if r.q.Stats().Compacted == 0 || len(r.freed) > before {
		t.Fatalf("%d files freed while a power cut could undo the SWAP", len(r.freed)-before)
	}
	r.compact()
	s := r.q.Stats()
	if s.StoreFiles == 0 || len(r.freed)-before < s.Compacted || s.Compacted < 8 {
		t.Fatalf("freed %d, %+v\nlog %q", len(r.freed)-before, s, r.logs)
	}
	read := func(it *Item) {
		rc, err := r.q.Cat(it)
		if err != nil {
			t.Fatalf("cat %s: %v", it.ID, err)
		}
		if b, _ := io.ReadAll(rc); !bytes.Equal(b, bytes.Repeat([]byte(it.ID), 60)) {
			t.Errorf("content of %s: %d bytes", it.ID, len(b))
		}
		rc.Close()
	}
	for _, it := range r.items() {
		read(it)
	}
	for _, it := range listed { // found before it was copied
		read(it)
	}
	stored := r.q.Stored()
	if b, err := disk.ReadAll(r.disk, storeName(1), 0); err != nil || stored < int64(len(b)) || stored > 2*s.Used || s.StoreBytes != stored {
		t.Errorf("%d bytes are said to be in store/, %d in the first file, %+v", stored, len(b), s)
	}
	for range 2 {
		r.powerCut()
	}
	if r.q.Stored() != stored {
		t.Errorf("%d bytes in store/, after a start %d", stored, r.q.Stored())
	}
	r.whole(left)
	for i, m := range r.tail() {
		_ = i
		r.q.Finish(m)
	}
	for _, m := range r.q.open {
		r.q.Finish(m)
	}
	for range 4 {
		r.sync()
		r.settle()
	}
	r.checkpoint()
	r.settle()
	if es, _ := r.disk.ReadDir(dirStore); len(es) > 0 {
		t.Errorf("store/ is left with %v", es)
	}
	if n := r.q.Stored(); n != 0 {
		t.Errorf("%d bytes are said to be in store/", n)
	}
	r.q.Close()
}

// The power fails at each call in turn that a compaction makes. Red without: the
// sync in run, the seq of what is retired in swap, tidyStore.
func TestCompactionCut(t *testing.T) {
	for i := 0; ; i++ {
		n := i / 4
		r, left := thinned(t, uint64(i))
		r.disk.StopAfter(n)
		r.compact()
		r.disk.Evict()
		stopped := r.disk.Stopped()
		r.disk.StopAfter(-1)
		r.powerCut()
		r.whole(left)
		for _, m := range r.q.open {
			r.q.Finish(m)
		}
		for range 4 {
			r.sync()
			r.settle()
		}
		if es, _ := r.disk.ReadDir(dirStore); len(es) > 0 {
			t.Errorf("cut after %d calls: store/ is left with %v", n, es)
		}
		es, _ := r.disk.ReadDir(dirIncoming)
		for _, e := range es {
			f, err := r.disk.OpenFile(dirIncoming+"/"+e.Name(), 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if h, err := slot.ReadHeader(f); err != nil || h.Kind != slot.Free {
				t.Errorf("cut after %d calls: %s is %v, %v", n, e.Name(), h.Kind, err)
			}
		}
		r.q.Close()
		if t.Failed() || !stopped {
			if n < 20 {
				t.Errorf("only %d calls", n)
			}
			return
		}
	}
}

// Red without: the test of inUse in freeStep.
func TestCompactionUnderAReader(t *testing.T) {
	r, left := thinned(t, 1)
	r.pass(6 * time.Minute)
	ms := r.due()
	r.expect("due", ms, left...)
	r.compact()
	if r.q.Stats().Compacted == 0 {
		t.Fatal("nothing was compacted")
	}
	es, _ := r.disk.ReadDir(dirIncoming)
	for _, e := range es { // cleanup begins anew in each file that is free
		f, err := r.disk.OpenFile(dirIncoming+"/"+e.Name(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := slot.ReadHeader(f); err == nil && h.Kind == slot.Free {
			i, _ := e.Info()
			f.WriteAt(make([]byte, i.Size()), 0)
		}
	}
	for _, m := range ms {
		c, _, err := r.q.ReadContent(m, nil)
		if !bytes.Equal(c, bytes.Repeat([]byte(m.Envelope.ID), 60)) {
			t.Errorf("content of %s: %d bytes, %v", m.Envelope.ID, len(c), err)
		}
	}
	n := len(r.freed)
	for _, m := range ms {
		r.deferAll(m, time.Hour)
	}
	r.sync()
	r.settle()
	if len(r.freed) == n {
		t.Error("nothing is given back when nobody reads it any more")
	}
	r.q.Close()
}

// A compaction that the disk does not let happen leaves everything as it was. Red
// without: the comparison of what was found with what lives.
func TestCompactionFails(t *testing.T) {
	for _, f := range []disk.Fault{
		{Op: disk.OpWrite, Prefix: dirStore, Err: syscall.ENOSPC, Forever: true},
		{Op: disk.OpSync, Prefix: dirStore, Err: syscall.EIO, Forever: true},
		{Op: disk.OpSyncDir, Prefix: dirStore, Err: syscall.EIO, Forever: true},
		{Op: disk.OpOpen, Prefix: dirStore, Err: syscall.EMFILE, Forever: true},
		{Op: disk.OpRead, Prefix: dirIncoming + "/00000002", Err: syscall.EIO, Forever: true},
	} {
		t.Run(fmt.Sprint(f.Op, f.Prefix), func(t *testing.T) {
			r, left := thinned(t, 1)
			r.disk.Fail(f)
			r.compact()
			if n := r.q.Stats().Compacted; (n > 0) != (f.Op == disk.OpRead) {
				t.Errorf("%d files compacted\n%q", n, r.logs)
			}
			r.disk.Heal()
			r.whole(left)
			r.q.Close()
		})
	}
}

// What store/ holds survives a rebuild. Red without: rebuild.stores, openStored.
func TestRebuildStore(t *testing.T) {
	r, left := thinned(t, 1)
	r.compact()
	r.checkpoint()
	r.settle()
	r.stop()
	r.disk.Kill()
	r.spoil(dirLog, "")
	es, _ := r.disk.ReadDir(dirDeferred) // and a few lose their state
	for _, e := range es {
		r.disk.Remove(dirDeferred + "/" + e.Name())
		break
	}
	r.start()
	got := r.out()
	for _, id := range left {
		m := got[id]
		if m == nil {
			t.Fatalf("%s is lost\n%q", id, r.logs)
		}
		if c, _, err := r.q.ReadContent(m, nil); !bytes.Equal(c, bytes.Repeat([]byte(mail.QueueID(id)), 60)) {
			t.Errorf("content of %s: %d bytes, %v", id, len(c), err)
		}
	}
	r.q.Close()
}
