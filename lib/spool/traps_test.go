package spool

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// The traps of spool.md that concern this half of the spool. "Red without" says
// what was taken away to see the test fail.

// Red without: rewriting the pending batches in logWriter.begun.
func TestLogSyncFails(t *testing.T) {
	for _, op := range []disk.Op{disk.OpSync, disk.OpWrite} {
		for after := range 4 {
			t.Run(fmt.Sprint(op, after), func(t *testing.T) {
				r := newRig(t, uint64(after))
				a, b, c := r.send(1), r.send(1), r.send(1)
				ms := r.tail()
				r.sync()
				r.settle()
				r.disk.Fail(disk.Fault{Op: op, Prefix: "log/0", After: after, Err: syscall.EIO})
				r.q.Finish(ms[0])
				r.sync()
				r.deferAll(ms[1], time.Minute)
				r.q.Hold(r.targets(c))
				r.sync() // S8: what was answered holds
				r.disk.Evict()
				r.powerCut()
				r.expect("active", r.tail(), c)
				r.pass(time.Hour)
				r.expect("due", r.due(), b)
				if it := r.items(); it[c].Queue != InHold || it[a] != nil {
					t.Errorf("listing %+v", it)
				}
				if len(r.corrupt()) != 0 {
					t.Errorf("corrupt/: %v", r.corrupt())
				}
				r.q.Close()
			})
		}
	}
}

// Red without: bad in checkpointed.
func TestFailedLogIsNotUsedAgain(t *testing.T) {
	r := newRig(t, 1)
	r.settle()
	bad := r.q.log.file.name
	r.disk.Fail(disk.Fault{Op: disk.OpSync, Prefix: bad, Err: syscall.EIO})
	r.send(1)
	r.q.Finish(r.tail()[0])
	r.sync()
	r.settle()
	if r.q.log.file.name == bad {
		t.Fatal("the log did not fail")
	}
	for range 6 {
		r.pass(2 * retryDelay)
		r.checkpoint()
		if r.q.log.file.name == bad {
			t.Error("what failed once is synced again")
		}
	}
	if _, err := r.disk.Stat(bad); err == nil {
		t.Error("it stays for ever")
	}
	r.q.Close()
}

// Red without: the test of unsure in Reserve.
func TestNoAttemptBeforeTheLogIsCertain(t *testing.T) {
	r := newRig(t, 1)
	r.send(1)
	r.send(1)
	ms := r.tail()
	r.settle()
	if !r.q.Reserve(ms[0], 1) {
		t.Fatal("no space in an empty log")
	}
	r.disk.Fail(disk.Fault{Op: disk.OpWrite, Prefix: "log/", Forever: true, Err: syscall.EIO})
	r.q.Finish(ms[0])
	synced := false
	r.q.Sync(func(err error) { synced = err == nil })
	r.q.Commit()
	r.q.wait(func() bool { return r.q.log.failed })
	if r.q.Reserve(ms[1], 1) {
		t.Error("an attempt starts while the log cannot be written")
	}
	if synced {
		t.Error("synced without a log")
	}
	r.disk.Heal()
	r.pass(2 * retryDelay)
	r.settle()
	r.q.wait(func() bool { return synced })
	if !r.q.Reserve(ms[1], 1) {
		t.Error("no attempt starts after the log was healed")
	}
	r.q.Close()
}

// Red without: the comparison in Reserve.
func TestNoSpaceOnTheLog(t *testing.T) {
	r := newRig(t, 1)
	m := 0
	for range 400 {
		r.w.add(r.envelope(1), nil)
	}
	r.w.sync()
	ms := r.tail()
	r.sync()
	// No file can be made: the log in use and its reserve are all there is.
	r.settle()
	r.disk.Fail(disk.Fault{Op: disk.OpOpen, Prefix: "log/", Forever: true, Err: syscall.ENOSPC})
	r.disk.Fail(disk.Fault{Op: disk.OpSync, Prefix: "deferred/", Forever: true, Err: syscall.ENOSPC})
	for m < len(ms) && r.q.Reserve(ms[m], 1) {
		m++
	}
	if m == 0 || m == len(ms) {
		t.Fatalf("%d of %d attempts may start", m, len(ms))
	}
	for _, x := range ms[:m] { // what was allowed fits
		r.deferAll(x, time.Hour)
		r.q.Commit()
	}
	r.sync()
	if f := r.q.log.file; f.end > r.o.LogSize {
		t.Errorf("the log grew to %d of %d bytes", f.end, r.o.LogSize)
	}
	r.disk.Heal()
	r.pass(time.Minute)
	r.settle()
	r.checkpoint()
	if !r.q.Reserve(ms[m], 1) {
		t.Error("no attempt may start after a checkpoint")
	}
	r.q.Close()
}

// Red without: the test of f.seq in freeStep.
func TestFreeAfterFinishIsDurable(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	m := r.tail()[0]
	r.sync()
	r.w.fresh() // so that the first file is passed
	r.w.sync()
	r.tail()
	r.sync()
	r.q.Finish(m)
	r.settle() // written, not synced
	r.settle()
	if len(r.freed) != 0 {
		t.Fatal("freed while a power cut could bring the message back")
	}
	r.disk.Evict()
	r.powerCut()
	ms := r.tail()
	if len(ms) == 1 { // the FINISH was not on the disk
		r.expect("again", ms, a)
		r.q.Finish(ms[0])
	}
	for range 4 {
		r.sync()
		r.settle()
	}
	if len(r.freed) == 0 {
		t.Error("never freed")
	}
	r.q.Close()
}

// Red without: the heap (note in file).
func TestRetryIntoTheMinuteThatIsRead(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	for _, m := range r.tail() {
		r.deferAll(m, time.Minute)
	}
	r.pass(time.Minute + time.Second)
	ms := r.due()
	r.expect("due", ms, a, b)
	r.deferAll(ms[0], 5*time.Second) // the same minute, whose run is now read and half dead
	r.q.Finish(ms[1])
	r.sync()
	r.settle()
	r.pass(10 * time.Second)
	r.expect("again", r.due(), string(ms[0].Envelope.ID))
	r.powerCut()
	r.tail()
	r.expect("after a power cut", r.due(), string(ms[0].Envelope.ID))
	r.q.Close()
}

// Red without: over, the runs that the heap has no room for.
func TestMoreLateThanTheHeapHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("needs more than maxLate messages")
	}
	r := newRig(t, 1)
	r.o.RunSlots, r.o.LogSize = 4096, 32<<20
	r.q.Close()
	r.start()
	r.due() // this minute is read now
	n := maxLate + 500
	for range n {
		r.w.add(r.envelope(1), nil)
	}
	r.w.sync()
	for _, m := range r.tail() {
		r.deferAll(m, -time.Second)
	}
	if ms := r.due(); len(ms) != n {
		t.Errorf("%d of %d came back", len(ms), n)
	}
	r.q.Close()
}

// Red without: taking the least due of all groups in State.Due.
func TestTwoGroups(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(2)
	m := r.tail()[0]
	now := r.q.Now()
	s := m.State
	s.Groups = []Group{{Recipients: []uint32{0}, Due: now.Add(30 * time.Minute), Attempts: 3}, {Recipients: []uint32{1}, Due: now.Add(10 * time.Minute), Attempts: 1}}
	r.q.Put(m, s)
	r.sync()
	r.powerCut()
	r.tail()
	r.expect("too early", r.due())
	r.pass(11 * time.Minute)
	ms := r.due()
	r.expect("first group", ms, a)
	g := ms[0].State.Groups
	if len(g) != 2 || g[0].Attempts != 3 || g[0].Due.Sub(now) != 30*time.Minute || g[1].Attempts != 1 {
		t.Fatalf("groups %+v", g)
	}
	r.q.Done(ms[0].Ref, 1)
	s = ms[0].State
	s.Groups = s.Groups[:1]
	s.Done.Add(1)
	r.q.Put(ms[0], s)
	r.pass(10 * time.Minute)
	r.expect("between", r.due())
	r.pass(10 * time.Minute)
	r.expect("second group", r.due(), a)
	r.q.Close()
}

// Red without: the end that Durable gives (readable).
func TestOnlyWhatIsDurableIsTailed(t *testing.T) {
	for seed := range uint64(20) {
		r := newRig(t, seed)
		a := r.send(1)
		e := r.envelope(1)
		r.w.add(e, make([]byte, 3000)) // written, not synced
		ms := r.tail()
		r.expect("tail", ms, a)
		r.q.Finish(ms[0])
		r.sync()
		r.powerCut()
		// A writer that starts again, and a good record behind the torn batch.
		b := r.send(1)
		var got []string
		for _, id := range ids(r.tail()) {
			if id != string(e.ID) {
				got = append(got, id)
			}
		}
		if !slices.Equal(got, []string{b}) {
			t.Fatalf("seed %d: %v after the cut, want %s", seed, got, b)
		}
		if c := r.corrupt(); len(c) != 0 {
			t.Fatalf("seed %d: a torn batch went to corrupt/: %v", seed, c)
		}
		r.q.Close()
	}
}

// Red without: readSeals, by which what got 451 is never delivered.
func TestSealedByTheNextFile(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	end := r.w.enc.End()
	e := r.envelope(1)
	r.w.add(e, nil) // its sync failed: 451
	old := slot.Seal{File: r.w.number, Length: end}
	r.w.enc, r.w.number = nil, 0
	r.w.fresh()
	rec := slot.Record{Type: slot.TypeSeal, Envelope: slot.AppendSeals(nil, []slot.Seal{old})}
	r.w.enc.Append(&rec)
	b := r.send(1)
	r.expect("tail", r.tail(), a, b)
	r.q.Close()

	r = newRig(t, 2)
	a = r.send(1)
	end = r.w.enc.End()
	r.w.add(r.envelope(1), nil)
	old = slot.Seal{File: r.w.number, Length: end}
	r.w.enc, r.w.number = nil, 0
	r.w.fresh()
	r.w.enc.Append(&slot.Record{Type: slot.TypeSeal, Envelope: slot.AppendSeals(nil, []slot.Seal{old})})
	b = r.send(1)
	r.kill() // before anything was tailed
	r.expect("tail after a kill", r.tail(), a, b)
	r.q.Close()
}

// Red without: the offset in clock.now and the cap in clock.start.
func TestClockTenYearsAhead(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	r.deferAll(r.tail()[0], 40*time.Hour)
	r.sync()
	const decade = 10 * 365 * 24 * time.Hour
	before := r.q.Now()
	r.wall = r.wall.Add(decade)
	r.expect("a step ahead", r.due())
	r.pass(time.Second)
	if d := r.q.Now().Sub(before); d != time.Second {
		t.Errorf("%v of spool time in a second", d)
	}
	if w := r.q.Wall(r.q.Now()); w.Sub(r.wall).Abs() > time.Second {
		t.Errorf("wall time is told as %v, being %v", w, r.wall)
	}
	r.wall = r.wall.Add(-2 * decade)
	r.expect("a step back", r.due())
	r.sync()
	r.powerCut()
	r.wall = r.wall.Add(decade) // while down
	r.q.Close()
	before = r.q.clock.spool
	r.wall = r.wall.Add(decade)
	r.start()
	if d := r.q.Now().Sub(before); d < 0 || d > clockGap {
		t.Errorf("a stop counts as %v", d)
	}
	r.expect("after the stop", r.due())
	r.pass(40 * time.Hour)
	r.expect("in its time", r.due(), a)
	r.q.Close()
}

// Red without: the sync of the old log in replay.log: a dead writer's bytes
// are relied on although a power cut may take them.
func TestReplayedIsSynced(t *testing.T) {
	for seed := range uint64(20) {
		r := newRig(t, seed)
		r.send(1)
		r.q.Finish(r.tail()[0])
		r.settle() // written, never synced
		r.disk.Kill()
		r.stop()
		r.disk.Fail(disk.Fault{Op: disk.OpWrite, Prefix: "log/ckpt", Forever: true, Err: syscall.EIO}) // only the log knows
		r.start()
		r.expect("the kill repeats nothing", r.tail())
		r.powerCut()
		r.expect("and what was relied on stays", r.tail())
		r.q.Close()
	}
}

func TestSuspectAndCorrupt(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	m := r.tail()[0]
	if n := r.q.Suspect(m); n != 1 {
		t.Errorf("strike %d", n)
	}
	r.sync()
	r.powerCut()
	m = r.tail()[0]
	if m.Strikes != 1 {
		t.Errorf("strikes %d after a power cut", m.Strikes)
	}
	r.q.Suspect(m)
	if err := r.q.Corrupt(m, "kills twice"); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.powerCut()
	r.expect("tail", r.tail())
	if c := r.corrupt(); !slices.Equal(c, []string{a, a + ".reason"}) {
		t.Errorf("corrupt/: %v", c)
	}
	r.q.Close()
}

// Red without: evacuate.
func TestRunSyncFails(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	for i, m := range r.tail() {
		r.deferAll(m, time.Duration(i+1)*5*time.Minute)
	}
	r.sync()
	r.settle()
	r.disk.Fail(disk.Fault{Op: disk.OpSync, Prefix: "deferred/", Err: syscall.EIO})
	r.q.ckpt.due = true
	r.settle()
	r.pass(2 * retryDelay)
	r.checkpoint()
	r.checkpoint()
	r.checkpoint()
	r.disk.Evict()
	r.powerCut()
	r.pass(time.Hour)
	r.tail()
	r.expect("due", r.due(), a, b)
	if len(r.corrupt()) != 0 {
		t.Errorf("corrupt/: %v", r.corrupt())
	}
	r.q.Close()
}

func TestLargeContent(t *testing.T) {
	r := newRig(t, 1)
	e := r.envelope(1)
	f, err := r.q.create(dirContent + "/" + string(e.ID))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("large"), 0)
	f.Sync()
	r.disk.SyncDir(dirContent)
	if r.w.enc == nil {
		r.w.fresh()
	}
	rec := slot.Record{Type: slot.TypeMessage, Flags: slot.FlagLarge, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: slot.AppendLarge(nil, slot.Large{Size: 5, CRC: 7})}
	r.w.enc.Append(&rec)
	b, off := r.w.enc.Batch()
	r.w.f.WriteAt(b, off)
	r.w.enc.Written()
	r.w.sync()
	m := r.tail()[0]
	if m.Large != string(e.ID) || m.Size != 5 || m.CRC != 7 {
		t.Errorf("%+v", m)
	}
	r.deferAll(m, time.Minute)
	r.sync()
	r.powerCut()
	r.pass(time.Hour)
	m = r.due()[0]
	if m.Large != string(e.ID) {
		t.Errorf("%+v", m)
	}
	r.q.Finish(m)
	r.sync()
	r.settle()
	if es, _ := r.disk.ReadDir(dirContent); len(es) != 0 {
		t.Error("content/ID stays behind")
	}
	r.q.Close()
}

// A disk that is away for most of a minute, however often it is asked meanwhile, costs no
// message. Red without: patience.
func TestReadErrorForAWhile(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(1)
	r.disk.Fail(disk.Fault{Op: disk.OpRead, Prefix: "incoming/", Forever: true, Err: syscall.EIO})
	for range 50 {
		if ms, err := r.q.Tail(10); len(ms) > 0 || err == nil {
			t.Fatalf("tailed %v, %v from a disk that cannot be read", ids(ms), err)
		}
		r.pass(patience / 60)
	}
	r.disk.Heal()
	r.expect("healed", r.tail(), a)
	if c := r.corrupt(); len(c) != 0 {
		t.Errorf("corrupt/: %v", c)
	}
	r.q.Close()
}

// Red without: maxTries.
func TestReadErrorForAMoment(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	for range 2 {
		r.disk.Fail(disk.Fault{Op: disk.OpRead, Prefix: "incoming/", Forever: true, Err: syscall.EIO})
		for range 2 {
			if ms, err := r.q.Tail(10); len(ms) > 0 || err == nil {
				t.Fatalf("tailed %v, %v from a disk that cannot be read", ids(ms), err)
			}
		}
		r.disk.Heal()
		r.expect("healed", r.tail(), a, b)
		r.sync()
		r.kill() // the second time they are read as what was active
	}
	if c := r.corrupt(); len(c) != 0 {
		t.Errorf("corrupt/: %v", c)
	}
	r.q.Close()
}
