package master

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// settle is how long after the last sign of a change a file is looked at: whoever writes
// it in several steps, or several files, is done then.
const settle = 200 * time.Millisecond

// notifier tells when files change, by the kernel's word (inotify): nothing polls. It
// watches directories, since an editor puts a new file in the place of the old one: all
// on the way to a file, links followed, so that a directory or a link that is replaced is
// noticed too. What the kernel cannot tell, such as a change by another machine on a
// network file system, is seen at a reload.
type notifier struct {
	file  *os.File
	fd    int                            // of file
	over  chan struct{}                  // closed when nothing is told any more
	dirs  map[int32]string               // by watch
	names map[string]map[string][]string // by directory and name: files that depend on it
}

// What is told of a directory. A file that is open for writing is not looked at before
// its writer has closed it.
const (
	onWay  = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	onFile = onWay | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
)

// newNotifier starts it. found is called, by a goroutine of its own, with the files for
// which there is a sign of change, nil meaning any.
func newNotifier(found func(n *notifier, dir int32, name string)) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify", err)
	}
	n := &notifier{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, over: make(chan struct{})}
	go func() {
		defer close(n.over)
		buf := make([]byte, 64<<10)
		for {
			k, err := n.file.Read(buf)
			if err != nil {
				return
			}
			for b := buf[:k]; len(b) >= unix.SizeofInotifyEvent; {
				e := *(*unix.InotifyEvent)(unsafe.Pointer(&b[0])) // the kernel keeps them aligned
				end := min(unix.SizeofInotifyEvent+int(e.Len), len(b))
				name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
				if e.Mask&unix.IN_Q_OVERFLOW != 0 {
					e.Wd, name = -1, ""
				}
				found(n, e.Wd, name)
				b = b[end:]
			}
		}
	}()
	return n, nil
}

// waypoint is a name in a directory that a path goes through.
type waypoint struct {
	dir, name string
	last      bool
}

// maxLinks bounds the symbolic links of a path, as the kernel does.
const maxLinks = 40

// waypoints returns what a path goes through, links followed as far as they lead.
func waypoints(path string) (all []waypoint) {
	cur, links := "/", 0
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for len(parts) > 0 {
		name := parts[0]
		parts = parts[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			cur = filepath.Dir(cur)
			continue
		}
		next := filepath.Join(cur, name)
		target, err := os.Readlink(next)
		all = append(all, waypoint{cur, name, len(parts) == 0 && err != nil})
		if err != nil {
			cur = next
			continue
		}
		if links++; links > maxLinks {
			return all
		}
		if filepath.IsAbs(target) {
			cur = "/"
		}
		parts = append(strings.Split(strings.Trim(target, "/"), "/"), parts...)
	}
	return all
}

// watch makes the files those that are watched. It is called before they are read. The
// error says which directory cannot be watched; the others are.
func (n *notifier) watch(paths []string) (err error) {
	masks := map[string]uint32{}
	n.names = map[string]map[string][]string{}
	for _, path := range paths {
		for _, p := range waypoints(path) {
			mask := uint32(onWay)
			if p.last {
				mask = onFile
			}
			masks[p.dir] |= mask
			if n.names[p.dir] == nil {
				n.names[p.dir] = map[string][]string{}
			}
			n.names[p.dir][p.name] = append(n.names[p.dir][p.name], path)
		}
	}
	old := n.dirs
	n.dirs = map[int32]string{}
	for dir, mask := range masks {
		wd, werr := unix.InotifyAddWatch(n.fd, dir, mask)
		switch {
		case werr == nil:
			n.dirs[int32(wd)] = dir
		case os.IsNotExist(werr): // the directory above it tells when it comes
		default:
			err = fmt.Errorf("cannot watch %s for changes: %w", dir, werr)
		}
	}
	for wd := range old {
		if _, ok := n.dirs[wd]; !ok {
			unix.InotifyRmWatch(n.fd, uint32(wd)) // gone already when its directory is
		}
	}
	return err
}

// affected returns the files that a sign of change is about.
func (n *notifier) affected(wd int32, name string) []string { return n.names[n.dirs[wd]][name] }

// close ends it. The kernel takes some milliseconds for that, which are not to be spent
// when others believe that this process has ended.
func (n *notifier) close() {
	if n != nil {
		n.file.Close()
		<-n.over
	}
}
