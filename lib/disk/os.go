package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postrider/lib/mutant"
)

// OS returns the queue directory root on the real file system.
func OS(root string) FS { return osFS(root) }

type osFS string

func (d osFS) path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

func (d osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	// os.OpenFile adds O_CLOEXEC: no child inherits the spool by accident.
	f, err := os.OpenFile(d.path(name), flag|unix.O_NOFOLLOW, perm)
	if err != nil {
		return nil, err
	}
	if flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		if err := f.Chmod(perm); err != nil {
			f.Close()
			return nil, err
		}
	}
	return &osFile{File: f, fd: int(f.Fd()), name: name}, nil
}

func (d osFS) Remove(name string) error { return unlink(d.path(name)) }

// unlink removes a file; os.Remove would take an empty directory too.
func unlink(path string) error {
	for {
		switch err := unix.Unlink(path); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: "unlink", Path: path, Err: err}
		}
	}
}

func (d osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(d.path(name)) }

func (d osFS) Stat(name string) (fs.FileInfo, error) { return os.Lstat(d.path(name)) }

func (d osFS) Mkdir(name string, perm fs.FileMode) error {
	path := d.path(name)
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	return os.Chmod(path, perm)
}

func (d osFS) SyncDir(name string) error {
	f, err := os.OpenFile(d.path(name), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

func (d osFS) Free(name string) (int64, error) {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(d.path(name), &st); err {
		case nil:
			return int64(st.Bavail) * st.Bsize, nil
		case unix.EINTR:
		default:
			return 0, &fs.PathError{Op: "statfs", Path: d.path(name), Err: err}
		}
	}
}

// osFile keeps the descriptor's number, so that a sync allocates nothing.
type osFile struct {
	*os.File
	fd   int
	name string
}

func (f *osFile) Name() string { return f.name }

func (f *osFile) Sync() error {
	for {
		switch err := unix.Fdatasync(f.fd); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: "fdatasync", Path: f.File.Name(), Err: err}
		}
	}
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Descriptor returns the operating system's file behind f, for passing it to
// another process, or false when there is none (a model disk). It is closed
// with f.
func Descriptor(f File) (*os.File, bool) {
	o, ok := f.(*osFile)
	if !ok {
		return nil, false
	}
	return o.File, true
}

// NoCOW asks that files made in directory name from now on be overwritten in
// place, which btrfs does not do by itself: there, files written in advance
// would gain nothing. On other file systems it does nothing.
func NoCOW(fsys FS, name string) error {
	d, ok := fsys.(osFS)
	if !ok {
		return nil
	}
	f, err := os.OpenFile(d.path(name), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	kind, err := fileSystem(f)
	if err != nil {
		return &fs.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	if kind != unix.BTRFS_SUPER_MAGIC || mutant.On(mutant.CopyOnWrite) {
		return nil
	}
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|fsNoCOW))
	}
	if err != nil {
		return &fs.PathError{Op: "chattr +C", Path: f.Name(), Err: err}
	}
	return nil
}

// fileSystem says what kind of file system a file is on (statfs(2)); tests pretend.
var fileSystem = func(f *os.File) (int64, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(f.Fd()), &st)
	return int64(st.Type), err
}

const fsNoCOW = 0x00800000 // FS_NOCOW_FL in linux/fs.h
