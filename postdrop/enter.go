package postdrop

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
)

// enter cleans what a caller can leave behind for a set-gid program: environment,
// umask, timers, descriptors, signals. The runtime has put /dev/null on closed
// descriptors 0 to 2, and makes no dumps of a set-gid program.
func enter() *env {
	mailConfig := os.Getenv("MAIL_CONFIG")
	os.Clearenv()
	os.Setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
	unix.Umask(0o022)
	for _, which := range []unix.ItimerWhich{unix.ItimerReal, unix.ItimerVirtual, unix.ItimerProf} {
		unix.Setitimer(which, unix.Itimerval{}) // alarms survive exec
	}
	runtime.GOMAXPROCS(1) // also ends the runtime's reading of cgroup files
	closeInherited()

	e := &env{
		mailConfig: mailConfig, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		uid: os.Getuid(), setgid: os.Getegid() != os.Getgid() || os.Geteuid() != os.Getuid(),
		defaultConfig: config.DefaultDir, now: time.Now,
	}
	if len(os.Args) > 0 {
		e.args = os.Args[1:]
	}
	e.onSignal = watchSignals()
	return e
}

// closeInherited closes the descriptors from 3 on, but for those of the runtime's
// own poller, which exist already when standard input is not blocking.
func closeInherited() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < 3 {
			continue
		}
		to, err := os.Readlink(filepath.Join("/proc/self/fd", name))
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") {
			continue
		}
		unix.Close(fd)
	}
}

// watchSignals ends the process at HUP, INT, QUIT and TERM after removing the
// unfinished file, which the returned function names. A signal that the caller
// ignores stays ignored. A full disk quota or a closed pipe is an error of a
// write, no signal.
func watchSignals() func(string) {
	signal.Ignore(unix.SIGPIPE, unix.SIGXFSZ, unix.SIGALRM)
	c := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	var mu sync.Mutex
	var file string
	go func() {
		s := <-c
		mu.Lock() // and keep it: nothing new is begun
		if file != "" {
			os.Remove(file)
		}
		n, _ := s.(unix.Signal)
		os.Exit(128 + int(n))
	}()
	return func(remove string) {
		mu.Lock()
		file = remove
		mu.Unlock()
	}
}
