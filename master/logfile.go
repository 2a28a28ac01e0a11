package master

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

// devLog is where a syslog daemon listens.
const devLog = "/dev/log"

// logFile is the open log.
type logFile struct {
	file *os.File
	kind maillog.Kind
	id   identity // of devLog, which a restarted syslog daemon makes anew
}

// openLog opens what maillog_file says, or syslog.
func openLog(c *config.Config) (*logFile, error) {
	name := c.String("maillog_file")
	switch name {
	case "":
		return openSyslog()
	case "/dev/stdout":
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("maillog_file = /dev/stdout: %w", err)
		}
		return &logFile{file: os.NewFile(uintptr(fd), name), kind: maillog.Stdout}, nil
	}
	f, kind, err := maillog.OpenFile(name, os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("maillog_file: %w", err)
	}
	return &logFile{file: f, kind: kind}, nil
}

func openSyslog() (*logFile, error) {
	st, err := os.Stat(devLog)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w (is a syslog daemon running? else set maillog_file)", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", os.NewSyscallError("socket", err))
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: devLog}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("syslog: %s: %w (is a syslog daemon running? else set maillog_file)", devLog, err)
	}
	return &logFile{os.NewFile(uintptr(fd), devLog), maillog.Syslog, identify(st)}, nil
}

// stale says whether nobody can read any more what is written: the syslog daemon was
// restarted, or the file removed. One that was renamed is somebody's, who will say when
// he wants a new one (postrider reload), as with Postfix.
func (l *logFile) stale() bool {
	switch l.kind {
	case maillog.File:
		var st unix.Stat_t
		return unix.Fstat(int(l.file.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 0
	case maillog.Stdout:
		return false
	}
	st, err := os.Stat(devLog)
	return err == nil && identify(st) != l.id
}

// dup returns a copy for master's own Logger.
func (l *logFile) dup() (*os.File, error) {
	fd, err := dup(l.file)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.file.Name()), nil
}

// dup copies a descriptor; the copy is not inherited.
func dup(f *os.File) (int, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("dup %s: %w", f.Name(), err)
	}
	return fd, nil
}

// giveOrder grants the memory by which the lines of all daemons come into the log in
// order, and a place in it that stays the slot's.
func (s *supervisor) giveOrder(x *slot) {
	if s.order == nil {
		var err error
		if s.order, err = maillog.NewOrder(); err != nil {
			s.log.Warnf("%v; lines about a message may come in another order", err)
			return
		}
	}
	for place := 1; x.place == 0 && place <= maillog.Places; place++ {
		if !slices.ContainsFunc(s.slots, func(y *slot) bool { return y.place == place }) {
			x.place = place
		}
	}
	if x.place > 0 {
		s.give(x.child, proto.GrantOrder, strconv.Itoa(x.place-1), s.order)
	}
}
