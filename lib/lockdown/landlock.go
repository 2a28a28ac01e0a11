package lockdown

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The versions of Landlock's interface that brought something we use
// (Documentation/userspace-api/landlock.rst). What a kernel does not know is
// left to the other layers.
const (
	abiRefer    = 2 // linking and renaming between directories
	abiTruncate = 3
	abiTCP      = 4 // bind and connect, by port
	abiIoctl    = 5 // ioctl on devices
	abiScope    = 6 // abstract sockets and signals
)

// sameProcess is the bit of Landlock's errata that says that threads of one
// process may signal each other whatever their domains; Go's scheduler must.
const sameProcess = 1 << 1

// ruleNetPort and netPortAttr are struct landlock_net_port_attr's.
const ruleNetPort = 2

type netPortAttr struct{ allowed, port uint64 }

// rights are Landlock's names for Access.
var rights = map[Access]uint64{
	Read:   unix.LANDLOCK_ACCESS_FS_READ_FILE,
	Write:  unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE,
	List:   unix.LANDLOCK_ACCESS_FS_READ_DIR,
	Create: unix.LANDLOCK_ACCESS_FS_MAKE_REG,
	Remove: unix.LANDLOCK_ACCESS_FS_REMOVE_FILE,
}

// version returns the version of the kernel's Landlock and the bits of its
// repaired errata.
func version() (abi int, errata uintptr, err error) {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0, 0, fmt.Errorf("Landlock: %w: %w", ErrUnavailable, e)
	}
	errata, _, e = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	if e != 0 {
		errata = 0
	}
	return int(v), errata, nil
}

// handled is all that a kernel of this version can refuse, but what the doors
// leave open everywhere.
func handled(d Doors, abi int, errata uintptr) unix.LandlockRulesetAttr {
	a := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	if abi >= abiRefer {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= abiTruncate {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= abiTCP {
		a.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		if !d.Connect {
			a.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= abiIoctl {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= abiScope {
		a.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		if errata&sameProcess != 0 {
			a.Scoped |= unix.LANDLOCK_SCOPE_SIGNAL
		}
	}
	return a
}

// Landlock lets the process reach by name only what d says. A directory that
// cannot be opened is ErrLockedOut, and stays shut; the rest of d holds.
func Landlock(d Doors) error {
	abi, errata, err := version()
	if err != nil {
		return err
	}
	attr := handled(d, abi, errata)
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return fmt.Errorf("Landlock: ruleset: %w", e)
	}
	defer unix.Close(int(fd))
	var errs []error
	for dir, access := range d.Dirs {
		if err := addDir(int(fd), dir, access, attr.Handled_access_fs); err != nil {
			errs = append(errs, fmt.Errorf("Landlock: %w of %s: %w", ErrLockedOut, dir, err))
		}
	}
	if d.Connect && attr.Handled_access_net != 0 {
		// Port 0: a source address without a chosen port (smtp_bind_address).
		rule := netPortAttr{allowed: unix.LANDLOCK_ACCESS_NET_BIND_TCP}
		if err := addRule(int(fd), ruleNetPort, unsafe.Pointer(&rule)); err != nil {
			errs = append(errs, fmt.Errorf("Landlock: port 0: %w", err))
		}
	}
	return errors.Join(append(errs, allThreads("Landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0, 0, 0))...)
}

func addDir(ruleset int, dir string, access Access, handled uint64) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Parent_fd: int32(fd)}
	for a, r := range rights {
		if access&a != 0 {
			rule.Allowed_access |= r & handled
		}
	}
	return addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule))
}

func addRule(ruleset int, kind uintptr, rule unsafe.Pointer) error {
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(rule), 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
