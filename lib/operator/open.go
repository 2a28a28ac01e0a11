package operator

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"postrider/lib/config"
)

// takeLock takes the lock that all writers of a spool share.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "pid", "spool.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the spool: %w (has the mail system ever been started?)", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked and the queue manager does not answer; try again", ErrRunning, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// Open reaches the queue of the instance that cfg describes: through qmgr, or, when
// the mail system is down and mayDirect, on the spool itself. As root it becomes
// mail_owner first, so that no file of the spool ever belongs to root.
func Open(cfg *config.Config, mayDirect bool) (q Queue, down bool, err error) {
	dir := cfg.String("queue_directory")
	q, err = Dial(dir)
	if !errors.Is(err, ErrDown) || !mayDirect {
		return q, false, err
	}
	q, err = Direct(dir, cfg.String("data_directory"), func() error {
		if os.Getuid() != 0 {
			return nil
		}
		return become(cfg.String("mail_owner"))
	})
	return q, true, err
}

// become gives up root for the owner of the mail system, for good.
func become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("mail_owner: %w (make accounts makes it)", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("mail_owner %s: %w", name, err)
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("become %s: %w", name, err)
	}
	return nil
}
