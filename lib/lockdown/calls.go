//go:build amd64 || arm64

package lockdown

import (
	"slices"

	"golang.org/x/sys/unix"
)

// rulesFor is what a process pid with these doors is refused.
func rulesFor(d Doors, pid uint32) []rule {
	rules := slices.Concat(
		never(unix.EPERM, programs...), never(unix.EPERM, tracing...), never(unix.EPERM, kernel...),
		never(unix.EPERM, mounts...), never(unix.EPERM, identity...), never(unix.EPERM, sharing...),
		never(unix.EPERM, meta...), never(unix.EPERM, oldMeta...), never(unix.EPERM, oldKernel...),
		never(unix.ENOSYS, notYet...), processes(pid))
	if len(d.Dirs) == 0 {
		rules = append(rules, never(unix.EPERM, names...)...)
		rules = append(rules, never(unix.EPERM, oldNames...)...)
	}
	if !d.Accept {
		rules = append(rules, never(unix.EPERM, unix.SYS_ACCEPT, unix.SYS_ACCEPT4)...)
	}
	if !d.Memory {
		rules = append(rules, never(unix.EPERM, unix.SYS_MEMFD_CREATE)...)
	}
	rules = append(rules, never(unix.EPERM, unix.SYS_LISTEN, unix.SYS_SOCKETPAIR)...)
	if d.Connect {
		families := []uint32{unix.AF_INET, unix.AF_INET6}
		if d.Unix {
			families = append(families, unix.AF_UNIX)
		}
		return append(rules, only(unix.EPERM, unix.SYS_SOCKET,
			test{arg: 0, values: families},
			test{arg: 1, mask: 0xf, values: []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM}},
			test{arg: 2, values: []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP}}))
	}
	return append(rules, never(unix.EPERM, unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND)...)
}

// processes keeps a process to itself: threads yes, children no; signals and
// limits for itself only; no memory that is made executable; no way back to
// being traced.
func processes(pid uint32) []rule {
	exec := test{arg: 2, mask: unix.PROT_EXEC, values: []uint32{0}}
	self := test{arg: 0, values: []uint32{pid}}
	return []rule{
		only(unix.EPERM, unix.SYS_CLONE, test{arg: 0, mask: unix.CLONE_THREAD, values: []uint32{unix.CLONE_THREAD}}),
		only(unix.EPERM, unix.SYS_KILL, self),
		only(unix.EPERM, unix.SYS_TGKILL, self),
		only(unix.EPERM, unix.SYS_PRLIMIT64, test{arg: 0, values: []uint32{0, pid}}),
		only(unix.EPERM, unix.SYS_MMAP, exec),
		only(unix.EPERM, unix.SYS_MPROTECT, exec),
		only(unix.EPERM, unix.SYS_PKEY_MPROTECT, exec),
		except(unix.EPERM, unix.SYS_PRCTL, test{arg: 0, values: []uint32{unix.PR_SET_DUMPABLE, unix.PR_SET_PTRACER}}),
	}
}

// programs start other programs.
var programs = []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}

// notYet are calls that programs try and do without: a runtime that gets ENOSYS
// falls back. clone3 has its flags where a filter cannot see them.
var notYet = []uint32{unix.SYS_CLONE3, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_IO_SETUP, unix.SYS_IO_SUBMIT}

// tracing looks into other processes, or signals them by other names.
var tracing = []uint32{unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
	unix.SYS_PROCESS_MRELEASE, unix.SYS_KCMP, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PERF_EVENT_OPEN, unix.SYS_BPF,
	unix.SYS_USERFAULTFD, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET,
	unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETAFFINITY,
	unix.SYS_LSM_SET_SELF_ATTR}

// kernel changes the machine, or asks for parts of the kernel where faults were
// found again and again.
var kernel = []uint32{unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
	unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_SYSLOG, unix.SYS_ACCT,
	unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_NFSSERVCTL, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_PERSONALITY,
	unix.SYS_VHANGUP, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_MEMFD_SECRET, unix.SYS_IOCTL, unix.SYS_VMSPLICE, unix.SYS_REMAP_FILE_PAGES, unix.SYS_MBIND,
	unix.SYS_FANOTIFY_INIT, unix.SYS_INOTIFY_INIT1}

// mounts changes what names mean.
var mounts = []uint32{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
	unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT}

// identity changes who the process is.
var identity = []uint32{unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID,
	unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_CAPSET, unix.SYS_SETPGID,
	unix.SYS_SETSID}

// sharing meets other processes without a descriptor, or, with the spool's lock,
// at one that all daemons have: whoever unlocks it, unlocks it for all.
var sharing = []uint32{unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_SEMCTL, unix.SYS_MSGGET, unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_MSGCTL, unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK,
	unix.SYS_FLOCK}

// meta changes what files are called or whose they are; no daemon but local does.
var meta = []uint32{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT,
	unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_SETXATTRAT,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_REMOVEXATTRAT, unix.SYS_FILE_SETATTR,
	unix.SYS_UTIMENSAT}

// names reach a file by its name, or tell whether there is one.
var names = []uint32{unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
	unix.SYS_FCHMODAT2, unix.SYS_TRUNCATE, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_NEWFSTATAT, unix.SYS_STATX,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_STATFS, unix.SYS_GETDENTS64, unix.SYS_GETXATTR,
	unix.SYS_LGETXATTR, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_GETXATTRAT, unix.SYS_LISTXATTRAT,
	unix.SYS_FILE_GETATTR, unix.SYS_LISTMOUNT, unix.SYS_STATMOUNT}
