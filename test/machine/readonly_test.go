package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/test/source"
	"postrider/test/supervisor"
	"postrider/test/world"
)

// The file system of the queue becomes read-only as a whole under load, as ext4 does of
// itself after an error (errors=remount-ro), and stays so until it was checked and mounted
// anew: nothing is accepted meanwhile, and afterwards nothing is lost.
func TestFileSystemReadOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts an ext4")
	}
	w := world.New(t)
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 1<<30))
	command(t, "mkfs.ext4", "-q", "-F", image)
	owner := ownerOf(t, w.Queue)
	mount := func() string {
		command(t, "mount", "-o", "loop,errors=remount-ro", image, w.Queue)
		return filepath.Base(strings.TrimSpace(command(t, "findmnt", "-no", "SOURCE", w.Queue)))
	}
	device := mount()
	t.Cleanup(func() { w.Kill(); syscall.Unmount(w.Queue, syscall.MNT_DETACH) })
	must(t, os.RemoveAll(w.Queue+"/lost+found"))
	must(t, os.Chown(w.Queue, int(owner.Uid), int(owner.Gid)))
	w.Start()
	x, stop := burden(w, 6)
	w.Sent(x, 200)
	must(t, os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("a test"), 0))
	w.Sent(x, 20)
	if s, err := source.Dial(w.Addr); err == nil {
		if o, _ := s.Send(x.Next(), &w.Ledger); len(o.Acked) > 0 {
			t.Errorf("accepted on a file system that cannot be written: %s", o.Reply)
		}
		s.Abort()
	}
	stop()
	w.Kill()
	command(t, "umount", w.Queue)
	exec.Command("e2fsck", "-f", "-y", image).Run() // exit code 1: mended
	mount()
	w.Start()
	v := w.Drain()
	t.Log(v)
	if v.Err() != nil || v.Acked < 100 || len(v.Duplicates) > (world.Recipients+1)*world.InHand {
		t.Errorf("%v; %v", v.Err(), v)
	}
	if f := w.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
}

// For a while nothing below the queue directory can be changed, as on a file system that
// is remounted read-only and back (which the kernel does not do while files are open for
// writing; so a supervisor lets each such call fail with EROFS). Then all goes on by
// itself, and nothing was lost or repeated.
func TestReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a seccomp supervisor reads the memory of other users' processes")
	}
	w := world.New(t)
	var readOnly, met atomic.Int64
	s := supervisor.New(t, func(c supervisor.Call) supervisor.Answer {
		if readOnly.Load() == 0 || !c.Changes || !strings.HasPrefix(c.Path, w.Queue+"/") {
			return supervisor.Answer{}
		}
		met.Add(1)
		return supervisor.Answer{Err: unix.EROFS}
	})
	t.Cleanup(w.Kill) // before the supervisor waits for them
	w.Wrap = func(cmd *exec.Cmd) {
		if name := filepath.Base(cmd.Path); name == "master" || name == "sendmail" {
			s.Wrap(cmd)
		}
	}
	w.Start()
	x, stop := burden(w, 7)
	w.Sent(x, 100)
	readOnly.Store(1)
	end := time.Now().Add(3 * time.Second)
	w.Await("calls that fail", func() bool { return met.Load() >= 50 && time.Now().After(end) })
	readOnly.Store(0)
	acked := w.Ledger.Judge().Acked
	w.Await("mail to be accepted again", func() bool { return w.Ledger.Judge().Acked > acked+50 })
	stop()
	v := w.Drain()
	t.Logf("%d calls failed; %v", met.Load(), v)
	if v.Err() != nil || len(v.Duplicates) > 0 {
		t.Errorf("%v; %v", v.Err(), v)
	}
	if f := w.Files("corrupt"); len(f) > 0 {
		t.Errorf("in corrupt/: %v", f)
	}
}

// burden sends mail by SMTP and by sendmail until it is stopped.
func burden(w *world.World, seed uint64) (x *world.Letters, stop func()) {
	x = world.NewLetters(seed)
	x.Sizes = []int{1000, 4000, 30_000}
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() { source.Load(ctx, w.Addr, 4, &w.Ledger, x.Next) })
	load.Go(func() { w.Submit(ctx, x.Next) })
	return x, func() { cancel(); load.Wait() }
}

// command runs a command of the system's that has to succeed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
