package attempt

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// What can be done with descriptors that were handed over.
var descriptors = slicesOf("Descriptors that were handed over", []Attempt{
	{Name: "hold a message's memory file", Try: func(*Target) string {
		return holds(func(fd int, _ string) bool { return memoryFile(fd) && message(fd) })
	}},
	{Name: "hold a message's file", Try: func(t *Target) string {
		return holds(func(fd int, _ string) bool { return sameFile(fd, t.ContentInode) })
	}},
	{Name: "change a message's memory file", Try: func(*Target) string {
		return holds(func(fd int, link string) bool { return memoryFile(fd) && message(fd) && change(fd, link) })
	}},
	{Name: "change a table", Try: func(*Target) string {
		return holds(func(fd int, link string) bool { return memoryFile(fd) && !message(fd) && change(fd, link) })
	}},
	{Name: "change a message's file", Try: func(t *Target) string {
		return holds(func(fd int, link string) bool { return sameFile(fd, t.ContentInode) && change(fd, link) })
	}},
	{Name: "open the log for reading or cutting", Try: func(t *Target) string {
		return holds(func(fd int, link string) bool { return sameFile(fd, t.LogInode) && open(link, unix.O_RDWR, nil) == nil })
	}},
})

// holds says whether a descriptor of the process is one that f wants. link is its
// name.
func holds(f func(fd int, link string) bool) string {
	for fd := range 1024 {
		if f(fd, fmt.Sprintf("/proc/self/fd/%d", fd)) {
			return yes
		}
	}
	return ""
}

// sameFile says whether a descriptor is that of the file with this number.
func sameFile(fd int, inode uint64) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Ino == inode
}

func memoryFile(fd int) bool {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	var fs unix.Statfs_t
	if err != nil || unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
		return false
	}
	return seals >= 0
}

// message tells a memory file with a message from one with a table: its lines end in
// CRLF, as on the wire.
func message(fd int) bool {
	b := make([]byte, 1000)
	n, _ := unix.Pread(fd, b, 0)
	return bytes.Contains(b[:max(n, 0)], []byte("\r\n"))
}

// change writes one byte to a file: by the descriptor, by opening it again, by its
// length, by mapping it, or after taking the seals off.
func change(fd int, link string) bool {
	try := func(fd int) bool {
		unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, 0)
		if n, _ := unix.Pwrite(fd, []byte("X"), 0); n > 0 {
			return true
		}
		if unix.Ftruncate(fd, 1) == nil {
			return true
		}
		_, err := unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err == nil
	}
	return try(fd) || open(link, unix.O_RDWR, func(again int) error {
		if try(again) {
			return nil
		}
		return unix.EPERM
	}) == nil
}
