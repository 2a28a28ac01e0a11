package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What fuse.h of the kernel says, as far as one file needs it.
const (
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42
	opFallocate   = 43

	headIn, headOut = 40, 16
	maxWrite        = 1 << 20
	wantFlags       = 1<<0 | 1<<5 | 1<<15 | 1<<22 // ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES
	directIO        = 1
)

// storage is what a FUSE file is made of. Any goroutine calls it.
type storage interface {
	size() int64
	read(b []byte, off int64)
	write(b []byte, off int64)
	flush()
}

// serve mounts a file at path, an empty regular file, that consists of s. The kernel is
// told to keep nothing of it in its cache. It is unmounted when the test ends.
func serve(t testing.TB, path string, s storage) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("/dev/fuse: %v", err)
	}
	if err := unix.Mount("postrider-block", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=100600,user_id=0,group_id=0", fd)); err != nil {
		t.Fatalf("mount fuse: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { requests(fd, s) })
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
		wg.Wait()
		unix.Close(fd)
	})
}

// requests answers until the file is unmounted.
func requests(fd int, s storage) {
	in := make([]byte, maxWrite+4096)
	out := make([]byte, headOut+maxWrite)
	for {
		n, err := unix.Read(fd, in)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT):
			continue
		case err != nil || n < headIn:
			return // ENODEV: unmounted
		}
		op := binary.LittleEndian.Uint32(in[4:])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue
		}
		clear(out[:headOut+128])
		length, errno := answer(op, in[headIn:n], out[headOut:], s)
		if errno != 0 {
			length = 0
		}
		binary.LittleEndian.PutUint32(out, uint32(headOut+length))
		binary.LittleEndian.PutUint32(out[4:], uint32(-int32(errno)))
		copy(out[8:16], in[8:16]) // which request
		if _, err := unix.Write(fd, out[:headOut+length]); err != nil && !errors.Is(err, unix.ENOENT) {
			fmt.Fprintf(os.Stderr, "fuse: answer to request of kind %d: %v\n", op, err)
		}
	}
}

// answer does what a request asks, and returns the length of what it put into out.
func answer(op uint32, in, out []byte, s storage) (int, unix.Errno) {
	le := binary.LittleEndian
	switch op {
	case opInit:
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[8:], le.Uint32(in[8:])) // read-ahead
		le.PutUint32(out[12:], le.Uint32(in[12:])&wantFlags)
		le.PutUint16(out[16:], 64) // requests at once
		le.PutUint16(out[18:], 48)
		le.PutUint32(out[20:], maxWrite)
		le.PutUint32(out[24:], 1)
		le.PutUint16(out[28:], maxWrite/4096)
		return 64, 0
	case opGetattr, opSetattr:
		le.PutUint64(out, 3600) // seconds that this is good for
		a := out[16:]
		le.PutUint64(a, 1)
		le.PutUint64(a[8:], uint64(s.size()))
		le.PutUint64(a[16:], uint64(s.size()/512))
		le.PutUint32(a[60:], unix.S_IFREG|0600)
		le.PutUint32(a[64:], 1)
		le.PutUint32(a[80:], 4096)
		return 104, 0
	case opOpen:
		le.PutUint32(out[8:], directIO)
		return 16, 0
	case opRead:
		n := min(int64(le.Uint32(in[16:])), maxWrite)
		off := int64(le.Uint64(in[8:]))
		n = max(min(n, s.size()-off), 0)
		s.read(out[:n], off)
		return int(n), 0
	case opWrite:
		n := le.Uint32(in[16:])
		s.write(in[40:40+n], int64(le.Uint64(in[8:])))
		le.PutUint32(out, n)
		return 8, 0
	case opFsync:
		s.flush()
		return 0, 0
	case opFlush, opRelease, opDestroy:
		return 0, 0
	case opStatfs:
		return 80, 0
	case opFallocate: // no holes are made: everything is a write
		return 0, unix.EOPNOTSUPP
	}
	return 0, unix.ENOSYS
}
