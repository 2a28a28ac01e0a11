package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Files below queue_directory.
const (
	pidFile     = "pid/master.pid"
	lockFile    = "pid/spool.lock"
	writersFile = "pid/spool.writers"
)

// takePID makes this process the master of the queue directory: it holds a lock
// on pid/master.pid, which no child inherits, and writes its process id there.
func takePID(queue string) (*os.File, error) {
	name := filepath.Join(queue, pidFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 5; try++ { // running looks at it for a moment
		time.Sleep(20 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		pid := readPID(f)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the mail system is already running: PID: %d (it holds %s)", pid, name)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	err = f.Chmod(0644)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func readPID(f io.ReaderAt) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// running returns the process id of the master of the queue directory, or 0.
func running(queue string) (int, error) {
	f, err := os.Open(filepath.Join(queue, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for try := 0; ; try++ {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return 0, err
		}
		if pid := readPID(f); pid != 0 {
			return pid, nil
		}
		if try == 50 {
			return 0, fmt.Errorf("%s is locked and names no process", f.Name())
		}
		time.Sleep(20 * time.Millisecond) // it is just being written
	}
}

// takeLock takes the lock that all writers of the spool share (S6). Daemons of
// a master that died hold it until the last of them has finished; wait is told
// for whom we wait, at once and then every half minute.
func takeLock(ctx context.Context, queue string, owner account, wait func(who string)) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(queue, lockFile), os.O_RDWR|os.O_CREATE, 0600)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // postsuper takes it as mail_owner
		if err := f.Chown(int(owner.uid), int(owner.gid)); err != nil {
			f.Close()
			return nil, err
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var said time.Time
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if time.Since(said) > 30*time.Second {
			said = time.Now()
			wait(lingering(queue))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

// writeWriters notes which processes hold the lock, for lingering.
func writeWriters(queue string, writers map[int]string) error {
	var b strings.Builder
	for pid, name := range writers {
		fmt.Fprintf(&b, "%d %s\n", pid, name)
	}
	name := filepath.Join(queue, writersFile)
	if err := os.WriteFile(name+".new", []byte(b.String()), 0644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// lingering says who holds the lock: writers of an earlier master that are
// alive.
func lingering(queue string) string {
	b, _ := os.ReadFile(filepath.Join(queue, writersFile))
	var alive []string
	for l := range strings.Lines(string(b)) {
		pid, name, ok := strings.Cut(strings.TrimSpace(l), " ")
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if ok && err == nil && strings.HasPrefix(name, strings.TrimSpace(string(comm))) {
			alive = append(alive, name+" (pid "+pid+")")
		}
	}
	if alive == nil {
		return "another program (postsuper?)"
	}
	return strings.Join(alive, ", ")
}
