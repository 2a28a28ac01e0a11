package supervisor

import "golang.org/x/sys/unix"

// What the arguments of a call name.
const (
	byDescriptor = iota // the first is a descriptor
	byPath              // the first is a path
	byPathAt            // the first two are a directory and a path in it
	noName
)

type watching struct {
	op    string
	names int
}

// changes are the kinds of calls that a file system that is read-only refuses. openat says
// it by its flags.
var changes = map[string]bool{"write": true, "sync": true, "truncate": true, "remove": true, "rename": true, "link": true,
	"mkdir": true, "chmod": true, "chown": true, "utimes": true}

// watched are the calls that the supervisor sees: all by which a program of Go touches
// files and sockets, but for waiting and for setting options.
var watched = map[uint32]watching{
	unix.SYS_OPENAT:     {"open", byPathAt},
	unix.SYS_OPENAT2:    {"open", byPathAt},
	unix.SYS_READ:       {"read", byDescriptor},
	unix.SYS_PREAD64:    {"read", byDescriptor},
	unix.SYS_READV:      {"read", byDescriptor},
	unix.SYS_WRITE:      {"write", byDescriptor},
	unix.SYS_PWRITE64:   {"write", byDescriptor},
	unix.SYS_WRITEV:     {"write", byDescriptor},
	unix.SYS_PWRITEV:    {"write", byDescriptor},
	unix.SYS_FSYNC:      {"sync", byDescriptor},
	unix.SYS_FDATASYNC:  {"sync", byDescriptor},
	unix.SYS_FTRUNCATE:  {"truncate", byDescriptor},
	unix.SYS_FALLOCATE:  {"truncate", byDescriptor},
	unix.SYS_UNLINKAT:   {"remove", byPathAt},
	unix.SYS_RENAMEAT:   {"rename", byPathAt},
	unix.SYS_RENAMEAT2:  {"rename", byPathAt},
	unix.SYS_LINKAT:     {"link", byPathAt},
	unix.SYS_MKDIRAT:    {"mkdir", byPathAt},
	unix.SYS_NEWFSTATAT: {"stat", byPathAt},
	unix.SYS_FSTAT:      {"stat", byDescriptor},
	unix.SYS_STATFS:     {"statfs", byPath},
	unix.SYS_FSTATFS:    {"statfs", byDescriptor},
	unix.SYS_GETDENTS64: {"readdir", byDescriptor},
	unix.SYS_FCHMODAT:   {"chmod", byPathAt},
	unix.SYS_FCHMOD:     {"chmod", byDescriptor},
	unix.SYS_FCHOWN:     {"chown", byDescriptor},
	unix.SYS_FCHOWNAT:   {"chown", byPathAt},
	unix.SYS_UTIMENSAT:  {"utimes", byPathAt},
	unix.SYS_CLOSE:      {"close", byDescriptor},
	unix.SYS_SOCKET:     {"socket", noName},
	unix.SYS_CONNECT:    {"connect", byDescriptor},
	unix.SYS_ACCEPT4:    {"accept", byDescriptor},
	unix.SYS_SENDMSG:    {"send", byDescriptor},
	unix.SYS_SENDTO:     {"send", byDescriptor},
	unix.SYS_RECVMSG:    {"receive", byDescriptor},
	unix.SYS_RECVFROM:   {"receive", byDescriptor},
	unix.SYS_SENDFILE:   {"send", byDescriptor},
	unix.SYS_SPLICE:     {"send", byDescriptor},

	unix.SYS_COPY_FILE_RANGE: {"read", byDescriptor},
}
