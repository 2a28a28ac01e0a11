package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/disk"
	"postrider/lib/lockdown"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/spool"
)

// supervise is the mail system: it returns when that has ended.
func (e environment) supervise() error {
	c, warnings, err := e.load(false)
	if err != nil {
		return err
	}
	unix.Umask(0077)
	// Whatever the caller left open is not for the daemons.
	unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	s := &supervisor{environment: e, sockets: map[string]*os.File{}, files: map[string]*watched{}, events: make(chan func(), 256), manager: theManager()}
	if e.notify == 0 {
		s.stderr = os.Stderr
	}
	if s.ids, err = ids(c); err != nil {
		return err
	}
	if s.plan, err = newPlan(c); err != nil {
		return err
	}
	if err := checkDaemons(s.plan); err != nil {
		return err
	}
	k, err := e.compile(c, s.ids)
	if err != nil {
		sayLines(err)
		return errSaid
	}
	s.plan.withPolicy(k)
	var refused []string
	var wrong []string // what the log should say
	for _, p := range warnings {
		if p.Severity != config.NoEffect {
			wrong = append(wrong, p.String())
		}
	}
	wrong = append(wrong, k.warnings...)
	for _, d := range directories(c, s.ids) {
		if err := d.make(); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		faults, warnings := d.check()
		if s.ids != nil {
			refused = append(refused, faults...)
		} else {
			wrong = append(wrong, faults...)
		}
		wrong = append(wrong, warnings...)
	}
	if refused != nil {
		for _, l := range refused {
			say("fatal: %s", l)
		}
		return errSaid
	}
	queue := c.String("queue_directory")
	pid, err := takePID(queue)
	if err != nil {
		return err
	}
	defer pid.Close()
	data, err := takeData(c.String("data_directory"))
	if err != nil {
		return err
	}
	defer data.Close()

	s.log = maillog.New(c.String("syslog_name")+"/master", logOptions(c))
	defer s.log.Close()
	s.openLogFile()
	s.keepLog()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	if err := s.begin(signals, wrong); err != nil {
		if !errors.Is(err, context.Canceled) {
			s.log.Fatalf("%v", err)
			return err
		}
		s.log.Infof("terminating on signal %d", <-signals)
		return nil
	}
	if e.notify != 0 {
		detach(e.notify)
	}
	s.manager.ready()
	s.run(signals)
	return nil
}

// begin takes the lock, binds, opens, and starts the daemons. A signal to stop
// ends it with context.Canceled.
func (s *supervisor) begin(signals chan os.Signal, wrong []string) error {
	c := s.plan.config
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for {
			select {
			case sig := <-signals:
				if sig != syscall.SIGHUP { // what it asks for is being done
					defer func() { signals <- sig }() // run wants it, too
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-heard }()

	var owner account
	if s.ids != nil {
		owner = s.ids.owner
	}
	var err error
	s.lock, err = takeLock(ctx, c.String("queue_directory"), owner, func(who string) {
		s.log.Warnf("waiting for the lock of the queue, held by %s", who)
		fmt.Fprintf(os.Stderr, "master: waiting for the lock of the queue, held by %s\n", who)
	})
	if err != nil {
		return err
	}
	if err := spool.CheckVersion(disk.OS(c.String("queue_directory"))); err != nil { // or cleanup would write into it
		return fmt.Errorf("queue directory %s: %w", c.String("queue_directory"), err)
	}
	if err := s.bindPatiently(ctx); err != nil {
		return err
	}
	s.log.Infof("daemon started -- version %s, configuration %s", c.String("mail_version"), s.dir)
	for _, l := range wrong {
		s.log.Warnf("%s", l)
	}
	if layers := c.List("daemon_lockdown"); len(layers) > 0 {
		for _, err := range lockdown.Missing() {
			s.log.Warnf("%v: daemons are held by their user ids and what else there is", err)
		}
	}
	info, warnings := notes(c)
	for _, l := range info {
		s.log.Infof("%s", l)
	}
	for _, l := range warnings {
		s.log.Warnf("%s", l)
	}
	s.startNotifier()
	s.starved.last = oomKills()
	s.openFiles()
	if err := s.serveProfiles(); err != nil {
		s.log.Warnf("profiles: %v", err)
	}
	for _, i := range s.plan.instances {
		s.slots = append(s.slots, &slot{instance: i, wanted: true})
	}
	for _, x := range s.slots {
		s.start(x)
	}
	return nil
}

// run is the supervisor's loop. It ends when a stop is complete.
func (s *supervisor) run(signals chan os.Signal) {
	grace, orphans := time.NewTimer(time.Hour), mourners()
	grace.Stop()
	for {
		select {
		case f := <-s.events:
			f()
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				if !s.stopping {
					s.manager.reloading()
					s.reload()
					s.manager.ready()
				}
			case sig == syscall.SIGQUIT || s.stopping:
				s.log.Infof("terminating on signal %d", sig)
				s.manager.stopping()
				s.stop(0)
				grace.Reset(time.Second)
			default:
				s.log.Infof("terminating on signal %d", sig)
				s.manager.stopping()
				d := s.plan.config.Duration("stop_grace")
				s.stop(d)
				grace.Reset(d + time.Second)
			}
		case <-orphans:
			s.buryOrphans()
		case <-grace.C:
			s.kill()
		}
		if s.stopping && s.living() == nil {
			if s.profiles != nil {
				s.profiles.Close()
			}
			s.notifier.close()
			for _, l := range s.plan.listens {
				if l.path != "" {
					os.Remove(l.path)
				}
			}
			return
		}
	}
}

// stop tells all daemons to finish: first those that feed cleanup and those
// that deliver, and cleanup when nobody is left who could give it mail. qmgr
// stays until its agents have reported.
func (s *supervisor) stop(grace time.Duration) {
	s.stopping = true
	s.until = time.Now().Add(grace)
	for _, x := range s.slots {
		if x.timer != nil {
			x.timer.Stop()
		}
		if x.child != nil && (x.name != "cleanup" || grace == 0) {
			x.child.leaving = true
			x.child.send(proto.TypeStop, &proto.Stop{Grace: uint64(grace.Milliseconds())}, -1)
		}
	}
	s.stopRest()
}

// stopRest tells cleanup to finish when its clients are gone.
func (s *supervisor) stopRest() {
	if s.late {
		return
	}
	for _, x := range s.living() {
		if x.name != "cleanup" && x.name != "qmgr" && talk(x.name, "cleanup") {
			return
		}
	}
	s.late = true
	left := max(time.Until(s.until), 0)
	for _, x := range s.living() {
		if x.name == "cleanup" {
			x.child.leaving = true
			x.child.send(proto.TypeStop, &proto.Stop{Grace: uint64(left.Milliseconds())}, -1)
		}
	}
}

func (s *supervisor) living() []*slot {
	var alive []*slot
	for _, x := range s.slots {
		if x.child != nil {
			alive = append(alive, x)
		}
	}
	return alive
}

// kill ends what did not end by itself.
func (s *supervisor) kill() {
	for _, x := range s.living() {
		s.log.Warnf("%s pid %d did not stop in time: killed", x.child.path, x.child.process.Pid)
		x.child.process.Kill()
	}
}

// checkDaemons says which program is missing.
func checkDaemons(p *plan) error {
	dir := daemonDirectory(p.config)
	var missing []string
	for _, i := range p.instances {
		path := filepath.Join(dir, i.name)
		if err := unix.Access(path, unix.X_OK); err != nil && i.number == 0 {
			missing = append(missing, path)
		}
	}
	if missing != nil {
		return fmt.Errorf("no program %s (set daemon_directory, or install it)", strings.Join(missing, ", "))
	}
	return nil
}

// takeData locks data_directory, which no two instances may share.
func takeData(dir string) (*os.File, error) {
	name := filepath.Join(dir, "master.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data_directory %s is in use by another instance: %w", dir, err)
	}
	return f, nil
}

// detach lets go of the terminal and of whoever waits for the start.
func detach(notify int) {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			unix.Dup3(int(null.Fd()), fd, 0)
		}
		null.Close()
	}
	unix.Write(notify, []byte("up\n"))
	unix.Close(notify)
}
