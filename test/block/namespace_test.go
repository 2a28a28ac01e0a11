package block

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// leave starts this program anew in a mount namespace of its own. The process stays the
// same; what it mounts is seen by nobody else.
func leave() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return unix.Exec(exe, os.Args, append(os.Environ(), inNamespace+"=1"))
}
