package master

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
)

// installed is a file or directory of the installation: the configuration and the
// programs, which only root may write, or others could become root by them.
type installed struct {
	path string
	gid  uint32      // that it must have
	mode fs.FileMode // bits that it must have
	any  bool        // any group, as long as it has no write permission
}

// installation returns what is there of it. Not started by root, nothing has to be
// anybody's.
func installation(c *config.Config, a *accounts) []installed {
	if a == nil {
		return nil
	}
	files := []installed{{path: c.Dir(), any: true}}
	for _, name := range []string{"main.cf", "master.cf", "sched.cf"} {
		files = append(files, installed{path: filepath.Join(c.Dir(), name), any: true})
	}
	command := c.String("command_directory")
	files = append(files, installed{path: command, any: true}, installed{path: c.String("daemon_directory"), any: true})
	for _, name := range []string{"postrider", "sendmail", "postqueue", "postsuper", "postcat", "postconf", "postmap", "postsched"} {
		files = append(files, installed{path: filepath.Join(command, name), any: true})
	}
	// postdrop alone is set-gid: to write into maildrop/.
	files = append(files, installed{path: filepath.Join(command, "postdrop"), gid: a.postdrop, mode: fs.ModeSetgid | 0111})
	return slices.DeleteFunc(files, func(f installed) bool { // links are judged by what they lead to
		_, err := os.Stat(f.path)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// fault is what is wrong with an owner or a mode, and the command that mends it.
type fault struct {
	text, remedy string
}

func (f fault) String() string { return f.text + ": " + f.remedy }

// check returns what is wrong with the file.
func (f installed) check() []fault {
	st, err := os.Stat(f.path)
	if err != nil {
		return []fault{{err.Error(), "look at it"}}
	}
	var faults []fault
	sys := st.Sys().(*syscall.Stat_t)
	if sys.Uid != 0 {
		faults = append(faults, fault{f.path + " is not owned by root", "chown root " + f.path})
	}
	if !f.any && sys.Gid != f.gid {
		faults = append(faults, fault{fmt.Sprintf("%s has not the group %s", f.path, groupName(f.gid)), "chgrp " + groupName(f.gid) + " " + f.path})
	}
	if f.mode&fs.ModeSetgid != 0 && st.Mode()&(fs.ModeSetuid|f.mode) != f.mode {
		faults = append(faults, fault{fmt.Sprintf("%s has mode %s, not 2755", f.path, octal(st.Mode())), "chmod 2755 " + f.path})
	} else if st.Mode().Perm()&0022 != 0 && st.Mode()&fs.ModeSticky == 0 {
		faults = append(faults, fault{f.path + " can be written by others than root", "chmod go-w " + f.path})
	}
	return faults
}

// mend does what the faults' remedies say.
func (f installed) mend() error {
	file, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	gid := -1
	if !f.any {
		gid = int(f.gid)
	}
	if err := file.Chown(0, gid); err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	mode := st.Mode()&^0022 | f.mode&0777 // of a set-gid file chown has taken the bit
	if f.mode&fs.ModeSetgid != 0 {
		mode = fs.ModeSetgid | 0755
	}
	return file.Chmod(mode)
}

// setPermissions makes the directories and gives everything the owner and the mode that
// check wants, as Postfix's "postfix set-permissions". It says what it changes.
func (e environment) setPermissions() error {
	c, _, err := e.load(false)
	if err != nil {
		return err
	}
	a, err := ids(c)
	if err != nil {
		return err
	}
	for _, d := range directories(c, a) {
		if err := d.make(); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		faults, warnings := d.check()
		if len(faults)+len(warnings) == 0 {
			continue
		}
		for _, l := range slices.Concat(faults, warnings) {
			say("mending: %s", l)
		}
		if err := d.adjust(); err != nil {
			return err
		}
		if err := d.adopt(); err != nil {
			return err
		}
	}
	for _, f := range installation(c, a) {
		faults := f.check()
		if len(faults) == 0 {
			continue
		}
		for _, l := range faults {
			say("mending: %s", l)
		}
		if err := f.mend(); err != nil {
			return err
		}
	}
	return nil
}

// adopt gives the files of the directory that belong to nobody who may write there to
// the first who may. What is no regular file with one name is left alone and named: the
// name may have been put there by someone who would like to own the file.
func (d directory) adopt() error {
	if d.files == nil {
		return nil
	}
	var refused []string
	err := d.walk(func(path string) error {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return nil // finished meanwhile
		}
		if err != nil {
			return &fs.PathError{Op: "open", Path: path, Err: err}
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		kind := st.Mode & unix.S_IFMT
		switch {
		case slices.Contains(d.files, st.Uid):
		case kind == unix.S_IFDIR, kind == unix.S_IFREG && st.Nlink == 1:
			if err := unix.Fchownat(fd, "", int(d.files[0]), int(d.owner.gid), unix.AT_EMPTY_PATH); err != nil {
				return &fs.PathError{Op: "chown", Path: path, Err: err}
			}
		default:
			refused = append(refused, path)
		}
		return nil
	})
	if refused != nil {
		return errors.Join(err, fmt.Errorf("not touched, for it is no ordinary file or has several names: %s", strings.Join(refused, ", ")))
	}
	return err
}
