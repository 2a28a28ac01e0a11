package master

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"postrider/lib/config"
)

// directory is one that master makes when it is missing.
type directory struct {
	path  string
	owner account
	mode  fs.FileMode
	files []uint32 // who may own what is in it; nil: anybody
	only  []string // if not nil: which of its files that is said of
}

// directories returns those of an instance, parents first. Not started by
// root, all are the caller's.
func directories(c *config.Config, a *accounts) []directory {
	root := account{uint32(os.Geteuid()), uint32(os.Getegid())}
	top, owner, shared, drop, private := root, root, root, root, root
	mode := fs.FileMode(0755)
	if a != nil {
		owner = a.owner
		shared = account{a.msg.uid, a.owner.gid}  // cleanup writes, qmgr reads and recycles
		drop = account{a.msg.uid, a.postdrop}     // postdrop writes and cannot list
		private = account{a.owner.uid, a.out.gid} // sockets of others, such as Dovecot's: for lmtp, and for master to connect smtpd
		// qmgr writes the spool's version and identity there, and touches nothing of others.
		top, mode = account{0, a.owner.gid}, fs.ModeSticky|0775
	}
	queue := c.String("queue_directory")
	in := func(name string, o account, mode fs.FileMode) directory {
		d := directory{path: filepath.Join(queue, name), owner: o, mode: mode}
		switch {
		case a == nil:
		case o == shared:
			d.files = []uint32{a.msg.uid, a.owner.uid}
		case o == owner:
			d.files = []uint32{a.owner.uid}
		}
		return d
	}
	above := directory{path: queue, owner: top, mode: mode}
	data := directory{path: c.String("data_directory"), owner: owner, mode: 0700}
	if a != nil {
		above.files, above.only = []uint32{a.owner.uid}, []string{"version", "identity"}
		data.files, data.only = above.files, []string{"qmgr.state.a", "qmgr.state.b", "queue.witness"}
	}
	return []directory{
		above,
		data,
		in("pid", root, 0755),
		in("public", root, 0755),
		in("private", private, 0710),
		in("incoming", shared, fs.ModeSetgid|0770),
		in("content", shared, fs.ModeSetgid|0770),
		in("maildrop", drop, 0730),
		in("deferred", owner, 0700),
		in("hold", owner, 0700),
		in("store", owner, 0700),
		in("log", owner, 0700),
		in("corrupt", owner, 0700),
	}
}

// make creates the directory, with its parents, when there is none, and makes
// its name durable.
func (d directory) make() error {
	_, err := os.Lstat(d.path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(d.path)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := (directory{path: parent, owner: account{uint32(os.Geteuid()), uint32(os.Getegid())}, mode: 0755}).make(); err != nil {
			return err
		}
	}
	if err := os.Mkdir(d.path, 0700); err != nil {
		return err
	}
	if err := d.adjust(); err != nil {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return nil // not ours to read; the name is durable soon anyway
	}
	defer f.Close()
	return f.Sync()
}

// adjust gives the directory its owner and mode, by descriptor: mail_owner, who
// may write to its parent, cannot put something else in its place meanwhile.
func (d directory) adjust() error {
	f, err := os.OpenFile(d.path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if os.Geteuid() == 0 {
		if err := f.Chown(int(d.owner.uid), int(d.owner.gid)); err != nil {
			return err
		}
	}
	return f.Chmod(d.mode)
}

// check returns what is wrong with the directory as it is, one line each, each
// with the command that mends it. What is in faults lets daemons fail later, so
// that a system started by root does not begin.
func (d directory) check() (faults, warnings []string) {
	st, err := os.Lstat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the start makes it
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	if !st.IsDir() {
		return []string{d.path + " is no directory: move it away"}, nil
	}
	const bits = fs.ModePerm | fs.ModeSetgid | fs.ModeSetuid | fs.ModeSticky
	if st.Mode()&bits != d.mode {
		warnings = append(warnings, fmt.Sprintf("%s has mode %s, not %s: chmod %s %s", d.path, octal(st.Mode()), octal(d.mode), octal(d.mode), d.path))
	}
	sys := st.Sys().(*syscall.Stat_t)
	if sys.Uid != d.owner.uid {
		faults = append(faults, fmt.Sprintf("%s is not owned by %s: chown %s %s", d.path, userName(d.owner.uid), userName(d.owner.uid), d.path))
	}
	if sys.Gid != d.owner.gid && os.Geteuid() == 0 {
		faults = append(faults, fmt.Sprintf("%s has not the group %s: chgrp %s %s", d.path, groupName(d.owner.gid), groupName(d.owner.gid), d.path))
	}
	if d.files == nil {
		return faults, warnings
	}
	if n, first := d.foreign(); n > 0 {
		faults = append(faults, fmt.Sprintf("%d of the files in %s, such as %s, are not owned by %s: chown -R %s %s",
			n, d.path, first, userName(d.files[0]), userName(d.files[0]), d.path))
	}
	return faults, warnings
}

// foreign counts the files in the directory that belong to nobody who may write
// there, and names one: restored by root from a backup, for example.
func (d directory) foreign() (n int, first string) {
	d.walk(func(path string) error {
		st, err := os.Lstat(path)
		if err != nil {
			return nil // gone meanwhile
		}
		if !slices.Contains(d.files, st.Sys().(*syscall.Stat_t).Uid) {
			if n++; n == 1 {
				first, _ = filepath.Rel(d.path, path)
			}
		}
		return nil
	})
	return n, first
}

// walk calls f with the path of everything in the directory that is said to be
// somebody's, until f fails.
func (d directory) walk(f func(path string) error) error {
	if d.only != nil {
		for _, name := range d.only {
			if err := f(filepath.Join(d.path, name)); err != nil {
				return err
			}
		}
		return nil
	}
	return filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == d.path {
			return nil // gone meanwhile, or the directory's own fault
		}
		return f(path)
	})
}

// octal writes a mode as chmod(1) takes it.
func octal(m fs.FileMode) string {
	n := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		n |= 01000
	}
	if m&fs.ModeSetgid != 0 {
		n |= 02000
	}
	if m&fs.ModeSetuid != 0 {
		n |= 04000
	}
	return fmt.Sprintf("%04o", n)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
