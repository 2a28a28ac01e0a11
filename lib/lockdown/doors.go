package lockdown

import "errors"

// ErrUnavailable is the kind of error of a layer that this kernel, its
// configuration or this build does not have.
var ErrUnavailable = errors.New("not available here")

// ErrLockedOut is the kind of error of a door that was to stay open and is shut: the
// process cannot reach a directory that it needs, and never will.
var ErrLockedOut = errors.New("locked out")

// Doors are what a daemon leaves open. The zero Doors leaves nothing open but
// the descriptors that the process has and will be handed: it can open no file,
// make no socket and accept no connection.
type Doors struct {
	// Dirs are the directories that may be reached by name, with what is below
	// them. They must exist. With any of them the calls for files are allowed.
	Dirs map[string]Access
	// Accept allows to take connections of listeners that were handed over.
	Accept bool
	// Connect allows TCP and UDP over IPv4 and IPv6 to any address, from any
	// of ours with a port that the kernel chooses; not to listen.
	Connect bool
	// Unix allows, with Connect, to connect to Unix sockets with a name.
	Unix bool
	// Memory allows memory files.
	Memory bool
}

// Access is what may be done in a directory and with what is below it.
type Access uint64

// The kinds of access.
const (
	Read   Access = 1 << iota // the contents of files
	Write                     // the contents of files
	List                      // the names in directories
	Create                    // regular files
	Remove                    // files that are no directories
)
