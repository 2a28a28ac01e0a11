package qmgr

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openVolatile makes a file without a name in a directory: it goes away with us.
func openVolatile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "parked")), nil
	}
	// Not every file system has such files.
	f, err := os.CreateTemp(dir, "parked.*")
	if err != nil {
		return nil, fmt.Errorf("a file for what waits: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("a file for what waits: %w", err)
	}
	return f, nil
}
