package spool

import (
	"errors"
	"testing"
	"time"

	"postrider/lib/mail"
)

// wish changes a message that is not open.
func (r *rig) wish(id string, a Ask) {
	r.t.Helper()
	ts := r.targets(id)
	m, err := r.q.Reach(ts[0])
	if err != nil || m == nil {
		r.t.Fatalf("%s: %v, %v", id, m, err)
	}
	r.q.Put(m, m.State.Wish(a, r.q))
}

// What an operator asked for is there after a power cut: of deferred, held and open
// mail. Requeued mail is due at once, expired mail when it was.
func TestWish(t *testing.T) {
	r := newRig(t, 1)
	a, b, c, d := r.send(2), r.send(1), r.send(2), r.send(1)
	var open *Message
	for _, m := range r.tail() {
		if m.Envelope.ID == mail.QueueID(c) {
			open = m
			continue
		}
		r.deferAll(m, time.Hour)
	}
	r.sync()
	r.q.Hold(r.targets(b, d))
	r.wish(a, Expire)
	r.wish(d, Requeue) // stays on hold until somebody releases it
	r.q.Release(r.targets(b))
	r.wish(b, Requeue)
	r.q.Done(open.Ref, 0)
	r.q.Save(open, r.q.Fresh(open).Wish(Requeue, r.q))
	r.sync()
	r.powerCut()
	if left := r.tail(); len(left) != 0 {
		t.Fatalf("tailed again: %v", ids(left))
	}
	due := r.due()
	r.expect("at once", due, b, c)
	for _, m := range due {
		if !m.State.Requeue || m.State.Expired || m.Held || m.Envelope.ID == mail.QueueID(c) && (!m.State.Done.Has(0) || m.State.Done.Has(1)) {
			t.Errorf("%s: %+v", m.Envelope.ID, m.State)
		}
		r.q.Finish(m)
	}
	r.pass(2 * time.Hour)
	due = r.due()
	r.expect("in an hour", due, a)
	if !due[0].State.Expired || due[0].State.Requeue || due[0].State.Groups[0].Attempts != 1 {
		t.Errorf("%+v", due[0].State)
	}
	r.q.Finish(due[0])
	r.q.Release(r.targets(d))
	r.settle()
	due = r.due()
	r.expect("released", due, d)
	r.q.Finish(due[0])
	if n := len(r.items()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// An open message that is saved is one message: later results and its end count, and
// no copy of it comes out of the wheel.
func TestSaved(t *testing.T) {
	r := newRig(t, 1)
	a := r.send(3)
	m := r.tail()[0]
	r.q.Save(m, r.q.Fresh(m).Wish(Expire, r.q))
	r.sync()
	r.expect("open", r.due())
	if it := r.items()[a]; it == nil || !it.Expired || len(it.Recipients) != 3 {
		t.Errorf("listed: %+v", it)
	}
	r.q.Done(m.Ref, 1)
	r.q.Save(m, m.State)
	r.sync()
	r.expect("still open", r.due())
	r.kill()
	due := r.due()
	r.expect("after a kill", due, a)
	if !due[0].State.Done.Has(1) || due[0].State.Done.Len() != 1 || !due[0].State.Expired {
		t.Errorf("%+v", due[0].State)
	}
	r.q.Finish(due[0])
	r.sync()
	r.kill()
	r.pass(time.Hour)
	r.expect("finished", append(r.tail(), r.due()...))
}

// Reach tells what moved since it was listed from what is gone or open.
func TestReach(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	for _, m := range r.tail() {
		r.deferAll(m, time.Minute)
	}
	old := r.targets(a, b)
	r.pass(2 * time.Minute)
	for _, m := range r.due() {
		if m.Envelope.ID == mail.QueueID(a) {
			r.deferAll(m, time.Hour)
		}
	}
	if m, err := r.q.Reach(old[0]); m != nil || !errors.Is(err, ErrMoved) {
		t.Errorf("moved: %v, %v", m, err)
	}
	if m, err := r.q.Reach(old[1]); m != nil || err != nil {
		t.Errorf("open: %v, %v", m, err)
	}
	r.q.Delete(old[:1])
	if m, err := r.q.Reach(old[0]); m != nil || err != nil {
		t.Errorf("deleted: %v, %v", m, err)
	}
}
