package spool

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
)

// all reads a snapshot to its end.
func all(s *Snapshot) (n int, err error) {
	defer s.Close()
	for {
		switch _, err = s.Next(); {
		case err == nil:
			n++
		case err == io.EOF:
			return n, nil
		default:
			return n, err
		}
	}
}

// A listing, and a search by id, of a queue of which a part cannot be read gives the rest
// and says that it is not all. Red without: skipped.
func TestUnreadable(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.send(1), r.send(1)
	for _, m := range r.tail() {
		r.deferAll(m, time.Hour)
	}
	r.sync()
	if n, err := all(r.q.Snapshot()); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	r.disk.Fail(disk.Fault{Op: disk.OpRead, Forever: true, Err: syscall.EIO})
	var bad *Unreadable
	if n, err := all(r.q.Snapshot()); n != 0 || !errors.As(err, &bad) || bad.Count != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("all: %d, %v", n, err)
	}
	if n, err := all(r.q.Find([]string{a, b})); n != 0 || !errors.As(err, &bad) {
		t.Errorf("by id: %d, %v", n, err)
	}
	r.disk.Heal()
	if n, err := all(r.q.Find([]string{a, "none"})); n != 1 || err != nil {
		t.Errorf("healed: %d, %v", n, err)
	}
	r.q.Close()
}
