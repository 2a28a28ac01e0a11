// Package disk is the few file calls that the spool uses, behind an interface,
// so that the spool's tests can run on a model disk that loses power, tears
// writes and fails calls at will. Names are relative to the queue directory
// and use "/". It imports nothing of ours and touches files only.
//
// What the spool may rely on, and what Model enforces:
//
//   - Data is durable when Sync of its file returned nil, never before.
//   - A name is durable (or durably gone) when SyncDir of its directory
//     returned nil; syncing a file says nothing of its name.
//   - After a power cut, of what was not synced any subset of 512-byte sectors
//     may be there.
//   - A failed Sync may have dropped what was to be written: a later Sync that
//     succeeds says nothing of it.
package disk

import (
	"io"
	"io/fs"
)

// FS is a queue directory. Errors are *fs.PathError, so that errors.Is with
// fs.ErrNotExist, fs.ErrExist or a syscall.Errno decides. Safe for concurrent
// use.
type FS interface {
	// OpenFile opens a regular file with the flags of package os. The last
	// part of name is never followed when it is a symbolic link. With
	// os.O_CREATE and os.O_EXCL together the file gets exactly perm, whatever
	// the umask.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Remove unlinks a file; durable after SyncDir.
	Remove(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Mkdir makes a directory with exactly perm.
	Mkdir(name string, perm fs.FileMode) error
	// SyncDir makes the names in a directory durable as they are now.
	SyncDir(name string) error
	// Stat describes what name is, without following a symbolic link.
	Stat(name string) (fs.FileInfo, error)
	// Free returns how many bytes an unprivileged process can still write to
	// the file system that holds name.
	Free(name string) (int64, error)
}

// File is an open regular file. All calls but Close are safe for concurrent
// use; Close must not run beside another call.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Truncate sets the size in bytes.
	Truncate(size int64) error
	// Sync makes the data and the size durable (fdatasync). After an error
	// nothing is known of what was written since the last success, and no
	// later success tells: the caller gives the file up.
	Sync() error
	// Size returns the size in bytes.
	Size() (int64, error)
	// Close may report that an earlier write failed.
	Close() error
	// Name returns the name the file was opened by.
	Name() string
}
