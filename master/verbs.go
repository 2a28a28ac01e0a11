package master

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/proto"
)

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, filepath.Base(os.Args[0])+": "+format+"\n", args...)
}

// check says everything that is wrong with the configuration, the accounts, the
// directories, the tables and the programs.
func (e environment) check() error {
	c, _, err := e.load(true)
	if err != nil {
		return err
	}
	a, err := ids(c)
	if err != nil {
		return err
	}
	failed := false
	fail := func(format string, args ...any) {
		say("fatal: "+format, args...)
		failed = true
	}
	p, err := newPlan(c)
	if err != nil {
		return err
	}
	if k, err := e.compile(c, a); err != nil {
		sayLines(err)
		failed = true
	} else {
		p.withPolicy(k)
		for _, w := range k.warnings {
			say("%s", w)
		}
	}
	if err := checkDaemons(p); err != nil {
		fail("%v", err)
	}
	owners := false // something is wrong that set-permissions mends
	for _, d := range directories(c, a) {
		faults, warnings := d.check()
		for _, l := range faults {
			if a != nil {
				fail("%s", l)
				owners = true
			} else {
				say("warning: %s", l)
			}
		}
		for _, l := range warnings {
			say("warning: %s", l)
		}
	}
	for _, f := range installation(c, a) {
		for _, l := range f.check() {
			fail("%s", l)
			owners = true
		}
	}
	for _, l := range append(lookupFaults(c), p.checkTables()...) {
		fail("%s", l)
	}
	for _, l := range append(logFaults(c), p.checkSecrets()...) {
		say("warning: %s", l)
	}
	info, warnings := notes(c)
	for _, l := range info {
		say("%s", l)
	}
	for _, l := range warnings {
		say("warning: %s", l)
	}
	for _, s := range c.Services() {
		if s.Chroot {
			say("column chroot of master.cf has no effect: daemons lock themselves in without it")
			break
		}
	}
	if owners && os.Geteuid() == 0 {
		say("owners and modes are mended by: %s -c %s set-permissions", filepath.Base(os.Args[0]), e.dir)
	}
	if failed {
		return errSaid
	}
	return nil
}

// start runs the mail system in the background and returns when it is up.
func (e environment) start() error {
	c, _, err := e.load(false)
	if err != nil {
		return err
	}
	if pid, err := running(c.String("queue_directory")); err != nil {
		return err
	} else if pid != 0 {
		return fmt.Errorf("the mail system is already running: PID: %d", pid)
	}
	if c.String("maillog_file") == "/dev/stdout" {
		return errors.New("maillog_file = /dev/stdout goes with start-fg only")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-c", e.dir, "--notify=3", "run")
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	w.Close()
	if b, _ := io.ReadAll(r); len(b) == 0 {
		cmd.Wait() // it has said why
		return errSaid
	}
	return nil
}

// master returns the process id of the running master.
func (e environment) master() (*config.Config, int, error) {
	c, problems := config.Load(e.dir)
	queue := c.String("queue_directory")
	if queue == "" {
		return nil, 0, problems.Err()
	}
	pid, err := running(queue)
	if err == nil && pid == 0 {
		err = errors.New("the mail system is not running")
	}
	return c, pid, err
}

func (e environment) status() error {
	c, pid, err := e.master()
	if err != nil {
		say("%v", err)
		return errSaid
	}
	say("the %s mail system is running: PID: %d", c.String("mail_name"), pid)
	return nil
}

// stop waits for the end, which the master brings about in stop_grace.
func (e environment) stop() error {
	return e.end(syscall.SIGTERM, func(c *config.Config) time.Duration { return c.Duration("stop_grace") + 10*time.Second })
}

func (e environment) abort() error {
	return e.end(syscall.SIGQUIT, func(*config.Config) time.Duration { return 10 * time.Second })
}

func (e environment) end(sig syscall.Signal, patience func(*config.Config) time.Duration) error {
	c, pid, err := e.master()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal PID %d: %w", pid, err)
	}
	queue := c.String("queue_directory")
	for end := time.Now().Add(patience(c)); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now, err := running(queue); err != nil || now != pid {
			return err
		}
	}
	return fmt.Errorf("PID %d is still running; kill it by kill -9 %d", pid, pid)
}

// reload checks the configuration before it asks the master to take it.
func (e environment) reload() error {
	_, pid, err := e.master()
	if err != nil {
		return err
	}
	c, _, err := e.load(false)
	if err == nil {
		if _, perr := newPlan(c); perr != nil {
			say("fatal: %v", perr)
			err = errSaid
		}
	}
	if err == nil {
		var a *accounts
		if a, err = ids(c); err == nil {
			err = e.sayCompile(c, a)
		}
	}
	if err != nil {
		say("not reloaded: the mail system runs on with its old configuration")
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("signal PID %d: %w", pid, err)
	}
	return nil
}

// flush asks qmgr to try all deferred mail now.
func (e environment) flush() error {
	c, _, err := e.master()
	if err != nil {
		return err
	}
	sock, err := net.Dial("unix", filepath.Join(c.String("queue_directory"), proto.OperatorSocket))
	if err != nil {
		return fmt.Errorf("cannot reach the queue manager: %w", err)
	}
	conn := ipc.New(sock.(*net.UnixConn), 0)
	defer conn.Close()
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}); err != nil {
		return fmt.Errorf("queue manager: %w", err)
	}
	if err := conn.Send(proto.TypeVerb, &proto.Verb{Kind: proto.VerbFlush, All: true}); err != nil {
		return fmt.Errorf("queue manager: %w", err)
	}
	for {
		f, err := conn.Next()
		if err != nil {
			return fmt.Errorf("queue manager: %w", err)
		}
		f.CloseFDs()
		if f.Type != proto.TypeDone {
			continue
		}
		var d proto.Done
		if err := d.Decode(f.Payload); err != nil {
			return fmt.Errorf("queue manager: %w", err)
		}
		if d.Code != 0 {
			return fmt.Errorf("queue manager: %s", d.Text)
		}
		return nil
	}
}
