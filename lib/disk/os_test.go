package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOS(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root := t.TempDir()
	d := OS(root)
	if err := d.Mkdir("incoming", 0o770); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("incoming/1", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{"incoming", "incoming/1"} {
		want := fs.FileMode(0o770)
		if name != "incoming" {
			want = 0o660
		}
		if st, err := d.Stat(name); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, st.Mode(), err, want)
		}
	}
	if _, err := f.WriteAt([]byte("hello"), 10); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), d.SyncDir("incoming"), NoCOW(d, "incoming")); err != nil {
		t.Error(err)
	}
	b := make([]byte, 5)
	if _, err := f.ReadAt(b, 10); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Errorf("read %q, %v", b, err)
	}
	if n, err := f.Size(); n != 15 || err != nil || f.Name() != "incoming/1" {
		t.Errorf("size %d, %v, name %s", n, err, f.Name())
	}
	if n, err := d.Free("incoming"); n <= 0 || err != nil {
		t.Errorf("free %d, %v", n, err)
	}
	if _, err := d.OpenFile("incoming/1", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o660); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive: %v", err)
	}
	if err := os.Symlink("1", filepath.Join(root, "incoming", "2")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenFile("incoming/2", os.O_RDWR, 0); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a symbolic link was followed: %v", err)
	}
	if err := d.Remove("incoming"); err == nil {
		t.Error("a directory was removed")
	}
	if err := d.Remove("incoming/1"); err != nil {
		t.Error(err)
	}
	if _, err := d.Stat("incoming/1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if l, err := d.ReadDir("incoming"); err != nil || len(l) != 1 {
		t.Errorf("%v, %v", l, err)
	}
}

// On btrfs a directory of files written in advance is marked, or the caller hears that
// it cannot be: other file systems do not know the mark. Red without: the call in NoCOW.
func TestNoCOW(t *testing.T) {
	was := fileSystem
	defer func() { fileSystem = was }()
	fileSystem = func(*os.File) (int64, error) { return unix.BTRFS_SUPER_MAGIC, nil }
	dir := t.TempDir()
	if NoCOW(OS(dir), ".") != nil {
		return // it says so
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&fsNoCOW == 0 {
		t.Errorf("flags %x, %v: neither marked nor said", flags, err)
	}
}
