package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"postrider/test/supervisor"
)

// diskSize is the least that mkfs.xfs takes, and a bit.
const diskSize = 320 << 20

// inNamespace is set for the test binary once it has a mount namespace of its own.
const inNamespace = "POSTRIDER_BLOCK_NAMESPACE"

// Everything is mounted in a mount namespace that this process and those it starts have
// for themselves: with their end, whatever its cause, the mounts and the loop devices
// are gone. The thread that leaves the old one becomes the new program.
func TestMain(m *testing.M) {
	supervisor.Main()
	if pid := os.Getenv(watching); pid != "" {
		watch(pid)
		os.Exit(0)
	}
	if os.Geteuid() == 0 {
		start := startWatch
		if os.Getenv(inNamespace) == "" {
			start = leave
		}
		if err := start(); err != nil {
			fmt.Fprintf(os.Stderr, "a mount namespace and who watches it: %v\n", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// filesystem is a kind of file system, and how it is made.
type filesystem struct {
	name    string
	mkfs    []string
	options string
	alone   bool // the kernel takes a copy for the same one
}

var filesystems = []filesystem{
	{name: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=8"}},
	{name: "xfs", mkfs: []string{"mkfs.xfs", "-q", "-f"}, options: "nouuid"},
	{name: "btrfs", mkfs: []string{"mkfs.btrfs", "-q", "-f"}, alone: true},
}

// disk is a device with a file system, and where it is mounted.
type disk struct {
	*device
	t    testing.TB
	fs   filesystem
	dir  string
	loop *os.File
}

// newDisk makes the file system. It is not mounted.
func newDisk(t testing.TB, kind filesystem) *disk {
	t.Helper()
	file := t.TempDir() + "/made"
	err := os.WriteFile(file, nil, 0600)
	if err == nil {
		err = os.Truncate(file, diskSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(kind.mkfs[0], append(kind.mkfs[1:], file)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", kind.mkfs[0], err, out)
	}
	d := blankDisk(t, kind)
	m, err := readImage(file)
	if err != nil {
		t.Fatal(err)
	}
	d.load(m)
	return d
}

// blankDisk has nothing on it yet, but a place to be mounted.
func blankDisk(t testing.TB, kind filesystem) *disk {
	t.Helper()
	d := &disk{t: t, fs: kind, dir: t.TempDir() + "/fs", device: &device{now: make(image, diskSize/page)}}
	if err := os.Mkdir(d.dir, 0755); err != nil {
		t.Fatal(err)
	}
	file := d.dir + ".img"
	serve(t, file, d.device)
	d.attach(file)
	t.Cleanup(func() {
		unix.Unmount(d.dir, unix.MNT_DETACH)
		d.loop.Close() // and so detached
	})
	return d
}

// attach makes a loop device of the file, with direct I/O: what the file system writes
// and flushes reaches the file as it is.
func (d *disk) attach(file string) {
	d.t.Helper()
	// Not by package os: its poller would ask the file, that is this process, and wait.
	back, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer unix.Close(back)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer control.Close()
	for range 100 { // others may take the free one meanwhile
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			d.t.Fatalf("a free loop device: %v", err)
		}
		name := fmt.Sprintf("/dev/loop%d", n)
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			unix.Mknod(name, unix.S_IFBLK|0600, int(unix.Mkdev(7, uint32(n))))
		}
		loop, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			d.t.Fatal(err)
		}
		c := unix.LoopConfig{Fd: uint32(back)}
		c.Info.Flags = unix.LO_FLAGS_DIRECT_IO | unix.LO_FLAGS_AUTOCLEAR
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &c); err == nil {
			info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
			if err != nil || info.Flags&unix.LO_FLAGS_DIRECT_IO == 0 {
				d.t.Fatalf("no direct I/O on %s: %v", name, err)
			}
			d.loop = loop
			return
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			d.t.Fatalf("%s: %v", name, err)
		}
	}
	d.t.Fatal("no free loop device")
}

// mount mounts what the device has now.
func (d *disk) mount() error {
	return unix.Mount(d.loop.Name(), d.dir, d.fs.name, unix.MS_NOATIME, d.fs.options)
}

// remount mounts another content.
func (d *disk) remount(m image) error {
	d.load(m)
	return d.mount()
}

// unmount is leave, which ends the test where it cannot.
func (d *disk) unmount() {
	d.t.Helper()
	if err := d.leave(); err != nil {
		d.t.Fatal(err)
	}
}

// leave unmounts the disk. It waits for processes that were just killed to let their
// files go; then the kernel forgets what it knew of the device.
func (d *disk) leave() error {
	err := unix.Unmount(d.dir, 0)
	for end := time.Now().Add(10 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(d.dir, 0)
	}
	if err != nil {
		var ours []string
		open, _ := filepath.Glob("/proc/self/fd/*")
		for _, f := range open {
			if to, _ := os.Readlink(f); strings.HasPrefix(to, d.dir) {
				ours = append(ours, to)
			}
		}
		return fmt.Errorf("unmount %s: %w; open here: %q", d.dir, err, ours)
	}
	// What the kernel keeps of the device goes to this content, not to the next.
	if err := ioctl(d.loop, unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("forget the buffers: %w", err)
	}
	return nil
}

// What is lost when the file system is shut down: FS_IOC_SHUTDOWN of ext4 and xfs.
const (
	shutLogFlush   = 1 // the file system's log is written before
	shutNoLogFlush = 2 // what was not synced is gone
	ioctlShutdown  = 0x8004587d
)

// pull pulls the plug: from now on every write fails. It is EOPNOTSUPP or ENOTTY on
// btrfs, which cannot do it.
func (d *disk) pull(how uint32) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return ioctl(f, ioctlShutdown, uintptr(unsafe.Pointer(&how)))
}

func ioctl(f *os.File, request uint, arg uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), arg); errno != 0 {
		return errno
	}
	return nil
}
