package master

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/progress"
)

// letGo is how long logrotate waits until every process writes to the new log. Postfix
// waits for a second, whatever happens.
const letGo = 30 * time.Second

// logrotate moves maillog_file away, has master open a new one, and compresses the old one
// when nobody writes to it any more (Postfix: "postfix logrotate"). No line is lost: what
// is written meanwhile goes to the old file. It works while the system is down, too.
func (e environment) logrotate() error {
	c, _ := config.Load(e.dir)
	name, err := rotatable(c)
	if err != nil {
		return err
	}
	failed := func(err error) error { return fmt.Errorf("logfile '%s' rotation failed: %w", name, err) }
	suffix, err := exec.Command("date", "+"+c.String("maillog_file_rotate_suffix")).Output()
	if err != nil {
		return failed(fmt.Errorf("maillog_file_rotate_suffix = %s: %w", c.String("maillog_file_rotate_suffix"), complaint(err)))
	}
	old := name + "." + strings.TrimSpace(string(suffix))
	if filepath.Dir(old) != filepath.Dir(name) {
		return failed(fmt.Errorf("maillog_file_rotate_suffix = %s has a slash", c.String("maillog_file_rotate_suffix")))
	}
	// An older log of that name, perhaps of this second, stays.
	if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, old, unix.RENAME_NOREPLACE); err != nil {
		return failed(&os.LinkError{Op: "rename", Old: name, New: old, Err: err})
	}
	switch pid, err := running(c.String("queue_directory")); {
	case err != nil:
		return failed(err)
	case pid != 0:
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			return failed(fmt.Errorf("signal PID %d: %w", pid, err))
		}
	}
	if err := quiet(old); err != nil {
		return failed(err)
	}
	if out, err := exec.Command(c.String("maillog_file_compressor"), old).CombinedOutput(); err != nil {
		return failed(fmt.Errorf("%s %s: %w: %s", c.String("maillog_file_compressor"), old, err, strings.TrimSpace(string(out))))
	}
	return nil
}

// rotatable returns maillog_file where there is one that can be rotated.
func rotatable(c *config.Config) (string, error) {
	for _, name := range []string{"maillog_file", "maillog_file_compressor", "maillog_file_rotate_suffix"} {
		if c.String(name) == "" {
			return "", fmt.Errorf("empty '%s' parameter value - logfile rotation failed", name)
		}
	}
	name := c.String("maillog_file")
	if strings.HasPrefix(name, "/dev/") {
		return "", fmt.Errorf("not rotating '%s'", name)
	}
	st, err := os.Lstat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return "", fmt.Errorf("logfile '%s' rotation failed: %w", name, err)
	}
	return name, nil
}

// quiet waits until no process has the file open for writing: only then the kernel gives
// a read lease for it. Where it gives none at all (network file systems), a second has to do.
func quiet(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	line := progress.Start(os.Stderr, "waiting for the daemons to open the new log")
	defer line.Stop()
	for end := time.Now().Add(letGo); ; time.Sleep(10 * time.Millisecond) {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EAGAIN):
			time.Sleep(time.Second)
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s is still being written: it is not compressed (is every daemon alive? see postrider status and the log)", name)
		}
	}
}

// complaint is what a command wrote before it failed.
func complaint(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
