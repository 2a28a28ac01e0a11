package attempt

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var files = slicesOf("Files",
	directory("incoming", func(t *Target) string { return t.Journal }),
	directory("content", func(t *Target) string { return t.Content }),
	directory("maildrop", func(t *Target) string { return t.Drop }),
	directory("log", func(t *Target) string { return t.Spool }),
	[]Attempt{
		{Name: "read main.cf", Try: func(t *Target) string { return done(read(t.Main)) }},
		{Name: "read a private key (root, 0600)", Try: func(t *Target) string { return done(read(t.Key)) }},
		{Name: "read /etc/shadow", Try: func(*Target) string { return done(read("/etc/shadow")) }},
		{Name: "read /etc/passwd", Try: func(*Target) string { return done(read("/etc/passwd")) }},
		{Name: "read the log", Try: func(t *Target) string { return done(read(t.Log)) }},
		{Name: "see whether a file exists", Try: func(*Target) string {
			var st unix.Stat_t
			return done(unix.Stat("/etc/passwd", &st))
		}},
		{Name: "create a file in /tmp", Try: func(*Target) string { return done(create("/tmp")) }},
	})

func slicesOf(group string, lists ...[]Attempt) (all []Attempt) {
	for _, l := range lists {
		for _, a := range l {
			a.Group = group
			all = append(all, a)
		}
	}
	return all
}

// directory is what may be done in a directory of the queue, at a file that is there.
func directory(name string, file func(*Target) string) []Attempt {
	dir := func(t *Target) string { return filepath.Join(t.Queue, name) }
	return []Attempt{
		{Name: "list " + name + "/", Try: func(t *Target) string { return done(list(dir(t))) }},
		{Name: "read in " + name + "/", Try: func(t *Target) string { return done(read(file(t))) }},
		{Name: "write in " + name + "/", Try: func(t *Target) string { return done(open(file(t), unix.O_WRONLY, nil)) }},
		{Name: "create in " + name + "/", Try: func(t *Target) string { return done(create(dir(t))) }},
	}
}

func open(path string, flags int, use func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if use == nil {
		return nil
	}
	return use(fd)
}

func read(path string) error {
	return open(path, unix.O_RDONLY, func(fd int) error {
		_, err := unix.Read(fd, make([]byte, 1))
		return err
	})
}

func list(path string) error {
	return open(path, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) error {
		_, err := unix.Getdents(fd, make([]byte, 4096))
		return err
	})
}

// create makes a file and removes it.
func create(dir string) error {
	path := fmt.Sprintf("%s/.doors-%d", dir, os.Getpid())
	if err := open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, nil); err != nil {
		return err
	}
	unix.Unlink(path)
	return nil
}
