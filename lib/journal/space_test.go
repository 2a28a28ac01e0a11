package journal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
)

func TestFull(t *testing.T) {
	m := newDisk(t, 1)
	c := &clock{t: time.Unix(1e9, 0)}
	j := open(t, m, func(o *Options) { o.SizeLimit = 3 * fileSize; o.Now = c.now })
	n := 0
	for ; n < 1000; n++ {
		if _, err := submit(j, message(fmt.Sprintf("I%d", n), 3000)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if n < 30 || n > 100 {
		t.Errorf("full after %d messages", n)
	}
	if _, err := j.NewLarge("L"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if used, limit := j.Usage(); used < limit {
		t.Errorf("%d of %d", used, limit)
	}
	report := message("R1", 1000)
	report.Envelope.Replaces.ID = "I1"
	if _, err := submit(j, report); err != nil {
		t.Errorf("a report that takes a recipient over: %v", err)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Now = c.now; o.MinFree = 1 << 62 }) // the reserve is touched
	c.add(2 * time.Second)
	if _, err := submit(j, message("V", 1)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	report.Envelope.ID = "R2"
	if _, err := submit(j, report); err != nil {
		t.Errorf("a report that takes a recipient over: %v", err)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Now = c.now })
	m.SetCapacity(1) // the reserve is gone
	c.add(2 * time.Second)
	if _, err := submit(j, message("X", 1)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	report.Envelope.ID = "R3"
	if _, err := submit(j, report); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	m.SetCapacity(0)
	c.add(2 * time.Second)
	if _, err := submit(j, message("Y", 1)); err != nil {
		t.Error(err)
	}
	j.Close()
}

// A full disk in the middle of a batch refuses it and loses nothing.
func TestNoSpaceLeft(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, nil)
	m.Fail(disk.Fault{Op: disk.OpWrite, Prefix: "incoming/", Err: syscall.ENOSPC})
	wait(t, "a message is refused", func() bool {
		_, err := submit(j, message("A", 10))
		return errors.Is(err, ErrSync) || m.Calls(disk.OpWrite) > 30
	})
	if _, err := submit(j, message("B", 10)); err != nil {
		t.Error(err)
	}
	j.Close()
}

// What is made in advance leaves the reserve alone: a disk that has little more than that
// takes mail as long as it can.
func TestSparesLeaveTheReserve(t *testing.T) {
	m := newDisk(t, 1)
	c := &clock{t: time.Unix(1e9, 0)}
	m.SetCapacity((reserveFiles + 1) * fileSize)
	j := open(t, m, func(o *Options) { o.Now = c.now })
	defer j.Close()
	wait(t, "the keeper to ask for room", func() bool { return m.Calls(disk.OpFree) > 0 })
	for n := range 20 {
		c.add(2 * time.Second)
		if _, err := submit(j, message(fmt.Sprintf("M%d", n), 10)); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		time.Sleep(time.Millisecond) // for what should not be made
	}
}
