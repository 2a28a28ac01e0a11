//go:build bench

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// xfs mounts a new XFS, in a file below the work directory.
func xfs(t *testing.T) string {
	t.Helper()
	mkfs := tool("mkfs.xfs")
	if mkfs == "" {
		t.Skip("mkfs.xfs is not installed (Debian: apt-get install xfsprogs)")
	}
	image := filepath.Join(scratch(t, *work), "xfs.img")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(4 << 30)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.xfs: %v\n%s", err, out)
	}
	return mount(t, "-o", "loop", image)
}

// inMemory mounts a file system that has no disk.
func inMemory(t *testing.T) string {
	t.Helper()
	return mount(t, "-t", "tmpfs", "-o", "size=3g", "tmpfs")
}

func mount(t *testing.T, args ...string) string {
	t.Helper()
	dir := scratch(t, *work)
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", dir, err, out)
		}
	})
	if err := os.Chmod(dir, 0755|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}
