package spool

import (
	"errors"
	"testing"
	"time"

	"postrider/lib/mail"
)

func TestFirstAttempt(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(2)
	ms := r.tail()
	r.expect("tail", ms, a, b)
	for _, m := range ms {
		c, _, err := r.q.ReadContent(m, nil)
		if err != nil || string(c) != "content of "+string(m.Envelope.ID) {
			t.Errorf("content %q, %v", c, err)
		}
	}
	if it := r.items(); it[a] == nil || it[a].Queue != InActive || len(it[b].Recipients) != 2 {
		t.Errorf("listing: %+v", it)
	}
	r.q.Finish(ms[0])
	r.q.Done(ms[1].Ref, 1)
	r.sync()
	r.powerCut()
	ms = r.tail()
	r.expect("after a power cut", ms, b)
	if !ms[0].State.Done.Has(1) || ms[0].State.Done.Has(0) {
		t.Errorf("done: %v", ms[0].State.Done)
	}
	r.q.Finish(ms[0])
	r.sync()
	r.kill()
	r.expect("all is done", r.tail())
	if len(r.items()) != 0 {
		t.Errorf("listing: %v", r.items())
	}
	r.settle()
	r.sync()
	r.settle()
	r.sync()
	r.settle()
	if len(r.freed) == 0 {
		t.Error("the content file is not given back")
	}
	if len(r.corrupt()) != 0 {
		t.Errorf("corrupt/: %v", r.corrupt())
	}
	if err := r.q.Close(); err != nil {
		t.Error(err)
	}
}

func TestDefer(t *testing.T) {
	r := newRig(t, 1)
	a, b, c := r.send(1), r.send(2), r.send(1)
	for i, m := range r.tail() {
		r.deferAll(m, []time.Duration{10 * time.Minute, 5 * time.Minute, 5 * time.Hour}[i])
	}
	r.expect("at once", r.due())
	if at, ok := r.q.NextDue(); !ok || at.Sub(r.q.Now()) != 5*time.Minute {
		t.Errorf("next due %v, %v", at, ok)
	}
	it := r.items()
	if it[b].Queue != InDeferred || it[b].Recipients[1].Status.Text != "no answer from "+b || it[b].Recipients[1].Address != "r1@example.net" {
		t.Errorf("listing: %+v", it[b])
	}
	r.pass(6 * time.Minute)
	ms := r.due()
	r.expect("after 6 minutes", ms, b)
	g := ms[0].State.Groups[0]
	if g.Attempts != 1 || len(g.Recipients) != 2 || g.Status.DSN != "4.4.1" || ms[0].Envelope.Recipients[1].Address != "r1@example.net" {
		t.Errorf("state: %+v", ms[0].State)
	}
	r.deferAll(ms[0], time.Minute)
	r.sync()
	for range 3 {
		r.powerCut()
		r.expect("tail after a cut", r.tail())
	}
	r.pass(6 * time.Minute)
	ms = r.due()
	r.expect("12 minutes", ms, a, b)
	for _, m := range ms {
		r.q.Finish(m)
	}
	r.sync()
	r.checkpoint()
	r.kill()
	for range 10 {
		r.expect("nothing", r.due())
		r.pass(25 * time.Minute)
		r.checkpoint()
	}
	r.pass(time.Hour)
	ms = r.due()
	r.expect("5 hours", ms, c)
	r.q.Finish(ms[0])
	r.sync()
	r.settle()
	r.checkpoint()
	r.checkpoint()
	if s := r.q.Stats(); s.Runs != 0 || s.Deferred != 0 || s.Open != 0 {
		t.Errorf("left over: %+v", s)
	}
	r.q.Close()
}

func TestVersion(t *testing.T) {
	r := newRig(t, 1)
	r.q.Close()
	f, err := r.q.create(versionFile)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("postrider spool 7\n"), 0)
	if _, err := Open(r.o); !errors.Is(err, ErrVersion) {
		t.Errorf("version 7: %v", err)
	}
}

func TestHold(t *testing.T) {
	r := newRig(t, 1)
	a, b, c := r.send(1), r.send(1), r.send(1)
	ms := r.tail()
	r.deferAll(ms[0], 5*time.Minute)
	r.deferAll(ms[1], 5*time.Minute)
	if n := r.q.Hold(r.targets(a, c)); n != 2 {
		t.Errorf("held %d", n)
	}
	r.sync()
	r.powerCut()
	ms = r.tail()
	r.expect("tail", ms, c)
	if !ms[0].Held {
		t.Error("the hold of an active message is lost")
	}
	r.deferAll(ms[0], time.Minute)
	r.pass(6 * time.Minute)
	r.expect("due", r.due(), b)
	if it := r.items(); it[a].Queue != InHold || it[c].Queue != InHold {
		t.Errorf("listing: %+v", it)
	}
	r.sync()
	r.kill()
	r.pass(time.Minute)
	r.tail()
	r.expect("still held", r.due(), b)
	if n := r.q.Release(r.targets(a)); n != 1 {
		t.Errorf("released %d", n)
	}
	r.sync()
	r.powerCut() // between the release and the sweep
	r.settle()
	r.expect("released", r.due(), a, b)
	r.q.Delete(r.targets(a, c))
	r.sync()
	r.powerCut()
	r.settle()
	r.expect("deleted", r.due(), b)
	if it := r.items(); len(it) != 1 {
		t.Errorf("listing: %+v", it)
	}
	r.checkpoint()
	r.checkpoint()
	if s := r.q.Stats(); s.Held != 0 {
		t.Errorf("%+v", s)
	}
	r.q.Close()
}

func TestDeleteIsFinal(t *testing.T) {
	for seed := range uint64(8) { // of what is not synced, a power cut takes some
		r := newRig(t, seed)
		a := r.send(2)
		m := r.tail()[0]
		r.q.Delete(r.targets(a))
		r.q.Done(m.Ref, 0) // a result that comes later
		r.deferAll(m, time.Minute)
		r.sync()
		r.powerCut()
		r.pass(time.Hour)
		r.expect("tail", r.tail())
		r.expect("due", r.due())
		r.q.Close()
	}
}

func TestReplaces(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(3)
	m := r.tail()[0]
	r.deferAll(m, time.Minute)
	e := r.envelope(1)
	e.Replaces = mail.Replaces{ID: mail.QueueID(a), File: m.Ref.File, Slot: m.Ref.Slot, Recipients: []uint32{0, 2}}
	r.w.add(e, nil)
	r.w.sync()
	n := r.tail()
	if len(n) != 1 || !n[0].Replaced {
		t.Fatalf("tailed %+v", n)
	}
	r.sync()
	r.powerCut()
	r.expect("the bounce", r.tail(), string(e.ID))
	r.pass(time.Hour)
	ms := r.due()
	r.expect("due", ms, a)
	if g := ms[0].State.Groups; len(g) != 1 || len(g[0].Recipients) != 1 || g[0].Recipients[0] != 1 {
		t.Errorf("groups %+v", g)
	}
	r.q.Close()
}

// A message that was handed out and not looked at yet learns that another took over its
// recipients, or that an agent of an earlier qmgr had finished them.
func TestReplacedWhileOpen(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(3)
	m := r.tail()[0]
	e := r.envelope(1)
	e.Replaces = mail.Replaces{ID: mail.QueueID(a), File: m.Ref.File, Slot: m.Ref.Slot, Recipients: []uint32{2}}
	r.w.add(e, nil)
	r.w.sync()
	r.tail()
	r.q.Done(m.Ref, 0)
	if d := m.State.Done; !d.Has(0) || d.Has(1) || !d.Has(2) {
		t.Errorf("done %v", d)
	}
	r.q.Close()
}

func TestFlushEnds(t *testing.T) {
	r := newRig(t, 1)
	var want []string
	for range 200 {
		want = append(want, r.send(1))
	}
	for _, m := range r.tail() {
		r.deferAll(m, time.Hour)
	}
	r.q.Flush()
	n := 0
	for {
		ms, err := r.q.Due(10)
		if err != nil {
			t.Fatal(err)
		}
		if len(ms) == 0 && !r.read() {
			break
		}
		if n += len(ms); n > 200 {
			t.Fatal("the flush does not end")
		}
		for _, m := range ms {
			if !m.Flushed {
				t.Fatal("not marked as flushed")
			}
			r.deferAll(m, time.Duration(n%3)*time.Hour+time.Minute)
		}
	}
	if n != 200 {
		t.Errorf("flushed %d of 200", n)
	}
	if n := r.q.Expedite(r.targets(want[17])); n != 1 {
		t.Errorf("expedited %d", n)
	}
	r.expect("expedited", r.due(), want[17])
	r.q.Close()
}

// A message that was never deferred keeps its age over a start, whether the checkpoint
// or the log knows of it. Red without: taken in Tail and appendTailed, taken in replay.
func TestAgeOfWhatWasNeverDeferred(t *testing.T) {
	for _, what := range []string{"log", "checkpoint"} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, 1)
			r.stop()
			r.o.CheckpointEvery = 1000 * time.Hour
			r.start()
			since := make(map[string]time.Time)
			for range 3 {
				id := r.send(1)
				for _, m := range r.tail() {
					since[id] = m.State.Since
				}
				r.sync()
				r.settle()
				r.pass(time.Hour)
			}
			if what == "checkpoint" {
				r.checkpoint()
				r.checkpoint()
			}
			r.powerCut()
			ms := r.tail()
			if len(ms) != 3 {
				t.Fatalf("tailed %d", len(ms))
			}
			for _, m := range ms {
				if was := since[string(m.Envelope.ID)]; was.Sub(m.State.Since).Abs() > tailedEvery {
					t.Errorf("since %v, before the start %v", m.State.Since, was)
				}
			}
			r.q.Close()
		})
	}
}

// TestVerbBetweenResultAndMark: an operator's verb comes when the result of a recipient is
// known and nothing of it is on the disk yet. The verb is durable when the operator hears of
// it, and so is the mark before it: the power fails right then, and the first recipient is
// not tried again.
func TestVerbBetweenResultAndMark(t *testing.T) {
	for name, verb := range map[string]struct {
		do   func(*rig, []Target)
		left bool // whether the other recipient is left
		held bool
	}{
		"delete": {func(r *rig, ts []Target) { r.q.Delete(ts) }, false, false},
		"hold":   {func(r *rig, ts []Target) { r.q.Hold(ts) }, true, true},
		"flush":  {func(r *rig, ts []Target) { r.q.Expedite(ts) }, true, false},
	} {
		for seed := range uint64(16) { // of what is not synced, a power cut takes some
			r := newRig(t, seed)
			a := r.send(2)
			m := r.tail()[0]
			r.q.Done(m.Ref, 0) // the mark is in memory
			verb.do(r, r.targets(a))
			r.sync() // the operator hears of it
			r.powerCut()
			ms := append(r.tail(), r.due()...)
			if !verb.left {
				r.expect("deleted and there", ms)
			} else if len(ms) != 1 || !ms[0].State.Done.Has(0) || ms[0].State.Done.Has(1) || r.q.IsHeld(ms[0].Ref) != verb.held {
				t.Errorf("%s, seed %d: %+v", name, seed, ms)
			}
			r.q.Close()
		}
	}
}
