package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"postrider/lib/disk"
)

// Names that stay in maildrop outlive any number of files and restarts, also
// of lives that wrote nothing.
func TestMaildropNames(t *testing.T) {
	m := newDisk(t, 1)
	for _, n := range []string{"D1", "D2"} {
		if _, err := m.OpenFile("maildrop/"+n, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
	msg := message("FIRST", 10)
	msg.Envelope.Replaces.Maildrop = "D1"
	want, err := submit(j, msg)
	if err != nil {
		t.Fatal(err)
	}
	for life := range 5 {
		for i := range 20 {
			if life == 2 {
				break
			}
			if _, err := submit(j, message(fmt.Sprintf("L%dx%d", life, i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		m.PowerCut()
		j.Close()
		for range 4 { // begun and cut at once
			j = open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
			if got, ok := j.SeenMaildrop("D1"); !ok || got != want {
				t.Fatalf("life %d: %v, %v", life, got, ok)
			}
			if _, ok := j.SeenMaildrop("D2"); ok {
				t.Fatal("a name nobody journaled")
			}
			if life < 4 {
				m.PowerCut()
				j.Close()
			}
		}
		if life < 4 {
			j = open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		}
	}
	if err := m.Remove("maildrop/D1"); err != nil {
		t.Fatal(err)
	}
	j.Forget("D1")
	if _, ok := j.SeenMaildrop("D1"); ok {
		t.Error("not forgotten")
	}
	j.Close()
	j = open(t, m, nil)
	if len(j.names.all) != 0 {
		t.Errorf("%v", j.names.all)
	}
	j.Close()
}

// A name that was removed, forgotten and left behind by two files does not come
// back with a power cut.
func TestMaildropRemovalIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.SyncDir("maildrop"); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		msg := message("FIRST", 10)
		msg.Envelope.Replaces.Maildrop = "D1"
		if _, err := submit(j, msg); err != nil {
			t.Fatal(err)
		}
		if err := m.Remove("maildrop/D1"); err != nil {
			t.Fatal(err)
		}
		j.Forget("D1")
		for i := range 20 {
			if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		m.PowerCut()
		j.Close()
		if _, err := m.Stat("maildrop/D1"); err == nil {
			t.Fatalf("seed %d: it is back", seed)
		}
	}
}

// A name whose file is removed while the file of the journal that has it ends, and is
// freed at once because its mail is delivered, does not come back with a power cut.
func TestMaildropNameOfFreedFile(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.SyncDir("maildrop"); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, func(o *Options) { o.FileSize = 20 << 10 })
		msg := message("FIRST", 10)
		msg.Envelope.Replaces.Maildrop = "D1"
		want, err := submit(j, msg)
		if err != nil {
			t.Fatal(err)
		}
		name := nameOf(t, m, want.File)
		for i := 0; j.Durable().File == want.File; i++ {
			if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Remove("maildrop/D1"); err != nil {
			t.Fatal(err)
		}
		j.Forget("D1")
		free(t, m, name)
		j.Recycle(strings.TrimPrefix(name, "incoming/"))
		m.PowerCut()
		j.Close()
		_, err = m.Stat("maildrop/D1")
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); err == nil && !ok {
			t.Fatalf("seed %d: it is back and nobody knows it", seed)
		}
		j.Close()
	}
}

// A name that a dead writer left in the cache counts only once it is durable.
func TestMaildropNameOfDeadWriter(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, nil)
		wait(t, "two spares", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return len(j.k.spares) == 2 })
		msg := message("FIRST", 3000)
		msg.Envelope.Replaces.Maildrop = "D1"
		m.StopAfter(1) // the write, not the sync
		if _, err := submit(j, msg); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		m.Kill()
		j.Close()
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); !ok {
			t.Fatal("written, read, but not seen")
		}
		m.PowerCut()
		j.Close()
		if _, ok := survivors(t, m)["FIRST"]; !ok {
			t.Fatalf("seed %d: the name was seen and the message is lost", seed)
		}
	}
}

// The same when the dead writer's sync had failed: a later sync makes nothing of
// that durable. Red without disk.Rewrite in names.read.
func TestMaildropNameAfterFailedSync(t *testing.T) {
	for seed := range uint64(20) {
		m := newDisk(t, seed)
		if _, err := m.OpenFile("maildrop/D1", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, m, nil)
		wait(t, "two spares", func() bool { j.k.mu.Lock(); defer j.k.mu.Unlock(); return len(j.k.spares) == 2 })
		msg := message("FIRST", 3000)
		msg.Envelope.Replaces.Maildrop = "D1"
		m.Fail(disk.Fault{Op: disk.OpSync, Prefix: "incoming/", Forever: true, Err: syscall.EIO})
		if _, err := submit(j, msg); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		m.Kill()
		j.Close()
		m.Heal()
		j = open(t, m, nil)
		if _, ok := j.SeenMaildrop("D1"); !ok {
			t.Fatal("written, read, but not seen")
		}
		m.PowerCut()
		j.Close()
		if _, ok := survivors(t, m)["FIRST"]; !ok {
			t.Fatalf("seed %d: the name was seen and the message is lost", seed)
		}
	}
}
