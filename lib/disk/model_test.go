package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func create(t *testing.T, m *Model, name string) File {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f File, s string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(s), off); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, m *Model, name string) ([]byte, error) {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	n, _ := f.Size()
	b := make([]byte, n)
	if n > 0 {
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b, nil
}

// Over many seeds: what was synced is always there, what was not is sometimes
// there and sometimes not, sector by sector.
func TestPowerCut(t *testing.T) {
	var named, unnamed, torn, whole, none, gone, back int
	for seed := range uint64(400) {
		m := NewModel(seed)
		if err := errors.Join(m.Mkdir("d", 0o700), m.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		f := create(t, m, "d/synced")
		put(t, f, "old", 0)
		r := create(t, m, "d/removed")
		if err := errors.Join(r.Sync(), f.Sync(), m.SyncDir("d")); err != nil {
			t.Fatal(err)
		}
		put(t, f, string(bytes.Repeat([]byte("x"), 8192)), 4096)
		put(t, create(t, m, "d/new"), "data", 0)
		if err := m.Remove("d/removed"); err != nil {
			t.Fatal(err)
		}
		m.PowerCut()
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("a handle outlived the machine: %v", err)
		}
		b, err := content(t, m, "d/synced")
		if err != nil || !bytes.HasPrefix(b, []byte("old")) {
			t.Fatalf("seed %d: synced data lost: %v", seed, err)
		}
		switch n := bytes.Count(b, []byte("x")); n {
		case 0:
			none++
		case 8192:
			whole++
		default:
			torn++
			if n%512 != 0 {
				t.Fatalf("half a sector: %d", n)
			}
		}
		if _, err := content(t, m, "d/new"); err == nil {
			named++
		} else {
			unnamed++
		}
		if _, err := content(t, m, "d/removed"); err == nil {
			back++
		} else {
			gone++
		}
	}
	for i, n := range []int{named, unnamed, torn, whole, none, gone, back} {
		if n < 20 {
			t.Errorf("outcome %d came only %d times", i, n)
		}
	}
}

// A failed sync drops what it did not write; a later success does not tell.
func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		m := NewModel(seed)
		f := create(t, m, "f")
		m.SyncDir(".")
		put(t, f, "first", 0)
		m.Fail(Fault{Op: OpSync, Err: syscall.EIO})
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if b, _ := content(t, m, "f"); string(b) != "first" {
			t.Fatalf("no longer seen: %q", b)
		}
		put(t, f, "second", 512)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		m.Evict()
		seen, _ := content(t, m, "f")
		m.PowerCut()
		b, err := content(t, m, "f")
		if err != nil || !bytes.HasSuffix(b, []byte("second")) || !bytes.Equal(b, seen) {
			t.Fatalf("%q, %q, %v", b, seen, err)
		}
		if !bytes.HasPrefix(b, []byte("first")) {
			lost++
		}
	}
	if lost < 20 || lost > 80 {
		t.Errorf("lost %d times of 100", lost)
	}
}

func TestFaults(t *testing.T) {
	m := NewModel(1)
	f := create(t, m, "f")
	g := create(t, m, "g")
	m.Fail(Fault{Op: OpWrite, Prefix: "f", After: 1, Err: syscall.EIO})
	put(t, f, "a", 0)
	put(t, g, "a", 0)
	if n, err := f.WriteAt([]byte("bbbb"), 0); !errors.Is(err, syscall.EIO) || n == 4 {
		t.Errorf("%d, %v", n, err)
	}
	put(t, f, "c", 0)
	m.Fail(Fault{Op: OpSync, Forever: true, Err: syscall.ENOSPC})
	for range 3 {
		if err := f.Sync(); !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
	}
	m.Heal()
	m.Capacity = 100
	if _, err := f.WriteAt(make([]byte, 200), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := f.Truncate(0); err != nil {
		t.Error(err)
	}
	if n, err := m.Free("."); n != 99 || err != nil {
		t.Errorf("free %d, %v", n, err)
	}
	m.StopAfter(1)
	put(t, f, "d", 0)
	if err := f.Sync(); !errors.Is(err, ErrOff) || !m.Stopped() {
		t.Error(err)
	}
	if _, err := m.ReadDir("."); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	m.Kill()
	if b, err := content(t, m, "f"); string(b) != "d" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := m.OpenFile("none/x", os.O_RDWR|os.O_CREATE, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	m.Flip("f", 0, 1)
	if b, _ := content(t, m, "f"); b[0] != 'd'^0xff {
		t.Errorf("%q", b)
	}
	if m.Calls(OpSync) != 3 {
		t.Errorf("%d", m.Calls(OpSync))
	}
}
