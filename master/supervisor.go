package master

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/daemon"
	"postrider/lib/maillog"
	"postrider/lib/mutant"
	"postrider/lib/proto"
)

// supervisor is the running master. Its fields belong to the goroutine in run;
// others post events to it.
type supervisor struct {
	environment
	manager  manager
	log      *maillog.Logger
	ids      *accounts // nil: everything runs as the caller
	stderr   *os.File  // of daemons; nil: none
	plan     *plan
	lock     *os.File
	logFile  *logFile            // nil: could not be opened
	order    *os.File            // of the log's lines, see giveOrder
	sockets  map[string]*os.File // by listen.key
	files    map[string]*watched // by path
	slots    []*slot
	profiles net.Listener // of private/profile; nil: daemon_profile is off
	events   chan func()
	starved  starvation

	notifier *notifier       // nil: changes are seen at a reload
	stirred  map[string]bool // files with signs of change that were not looked at
	calm     *time.Timer     // when they are

	stopping bool
	late     bool      // cleanup was told to stop, too
	until    time.Time // when the grace is over
}

// keepLog opens the log again whenever it is found to be gone.
func (s *supervisor) keepLog() {
	time.AfterFunc(logAgain, func() {
		s.post(func() {
			if s.stopping {
				return
			}
			if s.logFile == nil || s.logFile.stale() {
				s.openLogFile()
			}
			s.keepLog()
		})
	})
}

// openLogFile opens the log, again or for the first time, and hands it out. A
// log that cannot be opened is complained about and tried again later.
func (s *supervisor) openLogFile() {
	l, err := openLog(s.plan.config)
	if err != nil {
		if s.logFile == nil {
			fmt.Fprintf(os.Stderr, "master: warning: %v; going on without a log\n", err)
		}
		s.log.Warnf("%v", err) // to the old one
		return
	}
	if f, err := l.dup(); err == nil {
		s.log.Open(f, l.kind)
	}
	if s.logFile != nil {
		s.logFile.file.Close()
	}
	s.logFile = l
	for _, x := range s.slots {
		if x.child != nil {
			s.give(x.child, proto.GrantLog, string(l.kind), l.file)
		}
	}
}

// give grants, and logs what goes wrong.
func (s *supervisor) give(c *child, kind proto.GrantKind, name string, f *os.File) {
	if err := c.grant(kind, name, f); err != nil {
		s.anew(c, err)
	}
}

// anew ends a daemon that could not be given what it needs, since master had no descriptor
// free: the next one is tried after the pause of a crash.
func (s *supervisor) anew(c *child, err error) {
	s.log.Errorf("%s begins anew: %v", c.label(), err)
	c.process.Kill()
}

// bind opens the listeners of p that are not open yet. On an error none stays
// open.
func (s *supervisor) bind(p *plan) (map[string]*os.File, error) {
	fresh := map[string]*os.File{}
	for _, l := range p.listens {
		if s.sockets[l.key()] != nil || fresh[l.key()] != nil {
			continue
		}
		f, err := l.open()
		if err != nil {
			if l.try && unavailable(err) {
				continue
			}
			for _, f := range fresh {
				f.Close()
			}
			return nil, err
		}
		fresh[l.key()] = f
	}
	return fresh, nil
}

// bindPatiently is bind at the start: the daemons of an earlier master may take
// a moment to let go of the addresses.
func (s *supervisor) bindPatiently(ctx context.Context) error {
	for try := 0; ; try++ {
		fresh, err := s.bind(s.plan)
		if err == nil {
			s.sockets = fresh
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		if try == 20 {
			return fmt.Errorf("%w (another mail system? change master.cf or stop it)", err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openFiles opens the files of the plan that are not open yet and lets go of
// those that nobody wants any more. It returns those that are new.
func (s *supervisor) openFiles() (fresh []string) {
	wanted := map[string]bool{}
	for name, paths := range s.plan.tables {
		for _, path := range slices.Concat(paths, s.plan.files[name]) {
			wanted[path] = true
		}
	}
	for _, paths := range s.plan.files {
		for _, path := range paths {
			wanted[path] = true
		}
	}
	for path, w := range s.files {
		if !wanted[path] {
			w.close()
			delete(s.files, path)
		}
	}
	unread := map[string]bool{}
	for path := range wanted {
		if s.files[path] == nil {
			s.files[path], unread[path] = &watched{path: path, err: fs.ErrNotExist}, true
		}
	}
	s.listen() // before they are read: no change is missed
	fresh = s.renewPairs(wanted)
	for path := range wanted {
		if !unread[path] && !s.files[path].differs() {
			continue
		}
		if _, ok := s.renew(path); ok {
			fresh = append(fresh, path)
		}
	}
	return fresh
}

func (s *supervisor) isTable(path string) bool {
	for _, paths := range s.plan.tables {
		if slices.Contains(paths, path) {
			return true
		}
	}
	return false
}

// start starts the process of a slot.
func (s *supervisor) start(x *slot) {
	x.timer = nil
	if x.child != nil || !x.wanted || s.stopping {
		return
	}
	c := s.plan.config
	path := filepath.Join(daemonDirectory(c), x.name)
	dir := "/"
	if x.inQueue {
		dir = c.String("queue_directory")
	}
	ch, err := spawn(x.instance, path, dir, s.stderr, s.role(x.program), s.heard, s.exited)
	if err != nil {
		s.log.Warnf("cannot start %s: %v", path, unwrapped(err))
		s.again(x, 0)
		return
	}
	x.child = ch
	if x.writer {
		s.noteWriters()
	}
	ch.fault = x.fault
	s.setup(ch)
	s.giveOrder(x)
	s.giveSuspects(x)
	for _, f := range []proto.GrantKind{proto.GrantTable, proto.GrantFile} {
		s.giveFiles(ch, f, nil)
	}
	s.givePolicy(ch)
	for _, l := range s.plan.listens {
		if f := s.sockets[l.key()]; f != nil && l.program == x.name {
			s.give(ch, proto.GrantListener, l.name, f)
		}
	}
	if x.writer && !mutant.On(mutant.LockStays) {
		s.give(ch, proto.GrantLock, "spool", s.lock)
	}
	for _, y := range s.slots {
		if y.child != nil && y != x && meet(x.instance, y.instance) {
			if err := connect(ch, y.child); err != nil {
				s.anew(ch, err)
			}
		}
	}
	ch.send(proto.TypeGo, nil, -1)
}

// role says whom the program runs as. Started by root that is always said: local
// gets neither the groups of master's caller nor all of root's capabilities.
func (s *supervisor) role(p *program) *role {
	if s.ids == nil {
		return nil
	}
	r := &role{keep: s.plan.keep[p.name]}
	if p.account != nil {
		a := p.account(s.ids)
		r.cred = syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	if p.groups != nil {
		r.cred.Groups = p.groups(s.ids)
	}
	return r
}

// setup queues who the daemon is, and the log.
func (s *supervisor) setup(c *child) {
	c.send(proto.TypeSetup, &proto.Setup{Program: c.name, Number: uint32(c.number), Of: uint32(c.of), Snapshot: s.plan.snapshot, Fault: c.fault}, -1)
	if s.logFile != nil {
		s.give(c, proto.GrantLog, string(s.logFile.kind), s.logFile.file)
	}
}

// giveFiles grants tables or other files: those named, or all.
func (s *supervisor) giveFiles(c *child, kind proto.GrantKind, only []string) (given bool) {
	paths := s.plan.tables[c.name]
	if kind == proto.GrantFile {
		paths = s.plan.files[c.name]
	}
	for _, path := range paths {
		w := s.files[path]
		if w == nil || w.file == nil || only != nil && !slices.Contains(only, path) {
			continue
		}
		s.give(c, kind, path, w.file)
		given = true
	}
	return given
}

// talk says whether processes of two programs are connected.
func talk(a, b string) bool {
	return slices.Contains(partners, [2]string{a, b}) || slices.Contains(partners, [2]string{b, a})
}

// meet says whether two processes are connected. One that tries suspects serves qmgr
// alone.
func meet(a, b instance) bool {
	return talk(a.name, b.name) && !(a.alone && b.name == "smtpd") && !(b.alone && a.name == "smtpd")
}

// post has f run by the supervisor's goroutine.
func (s *supervisor) post(f func()) { s.events <- f }

// heard is called by a child's goroutine: it is ready, or does not speak well.
func (s *supervisor) heard(c *child, err error) {
	s.post(func() {
		var quiet *silence
		var wish *alone
		var ask *dial
		switch {
		case errors.As(err, &ask):
			if x := s.find(c.label()); x != nil && x.child == c {
				s.dial(c, ask.name)
			}
		case errors.As(err, &quiet):
			s.hush(c, quiet.partner)
		case errors.As(err, &wish):
			s.setAlone(c, wish.Alone)
		case err != nil:
			s.log.Warnf("%s pid %d: %v", c.path, c.process.Pid, err)
			c.process.Kill()
		default:
			c.ready = true
			if !slices.ContainsFunc(s.slots, func(x *slot) bool { return x.child != nil && !x.child.ready }) {
				go debug.FreeOSMemory() // what the start needed
			}
		}
	})
}

// hush kills a delivery agent that has not said hello to qmgr: what it has in hand
// nobody knows, so nothing may start before it is gone.
func (s *supervisor) hush(from *child, partner string) {
	for _, x := range s.slots {
		if x.child != nil && x.label() == partner && from.name == "qmgr" && talk(x.name, "qmgr") {
			s.log.Warnf("%s pid %d has not said hello to qmgr and is killed", x.child.path, x.child.process.Pid)
			x.child.process.Kill()
		}
	}
}

// exited is called by a child's goroutine when the process has ended.
func (s *supervisor) exited(c *child, state *os.ProcessState) {
	s.post(func() {
		c.end()
		fault := faultOf(state, s.starved.lately())
		if text := obituary(c.path, c.process.Pid, state); text != "" && !(s.stopping && !time.Now().Before(s.until)) {
			s.log.Warnf("%s%s", text, describe(fault))
		}
		for _, x := range s.slots {
			if x.child != c {
				continue
			}
			x.child, x.fault = nil, fault
			s.mourn(x, c.process.Pid, fault)
			if x.writer {
				s.noteWriters()
			}
			switch {
			case s.stopping:
				s.stopRest()
			case c.leaving: // to make place for a new one
				s.start(x)
			case x.alone: // qmgr asks for the next
				x.wanted = false
			case fault != "" && c.ready:
				s.againAfter(x, x.afterFault(time.Now()))
			default:
				s.again(x, time.Since(c.started))
			}
		}
		s.sweep()
	})
}

// again starts a slot's process once more, at once or after a pause.
func (s *supervisor) again(x *slot, lived time.Duration) {
	if !x.wanted || s.stopping {
		return
	}
	s.againAfter(x, x.pause(lived, s.plan.config.Duration("service_throttle_time")))
}

// againAfter starts it after a pause of d.
func (s *supervisor) againAfter(x *slot, d time.Duration) {
	if !x.wanted || s.stopping {
		return
	}
	if d == 0 {
		s.start(x)
		return
	}
	s.log.Warnf("%s: bad command startup -- throttling (next try in %s)", filepath.Join(daemonDirectory(s.plan.config), x.name), d)
	x.timer = time.AfterFunc(d, func() { s.post(func() { s.start(x) }) })
}

// sweep forgets slots that are neither wanted nor filled.
func (s *supervisor) sweep() {
	s.slots = slices.DeleteFunc(s.slots, func(x *slot) bool {
		over := !x.wanted && x.child == nil
		if over && x.memory != nil {
			x.memory.Close()
		}
		return over
	})
}

// noteWriters writes down which processes hold the spool's lock.
func (s *supervisor) noteWriters() {
	writers := map[int]string{}
	for _, x := range s.slots {
		if x.writer && x.child != nil {
			writers[x.child.process.Pid] = x.name
		}
	}
	if err := writeWriters(s.plan.config.String("queue_directory"), writers); err != nil {
		s.log.Warnf("%v", err)
	}
}

// daemonDirectory is where the daemons are: what main.cf says, or next to master itself,
// where they are there, so that a checkout runs from bin/; or the default.
func daemonDirectory(c *config.Config) string {
	if _, ok := c.Set("daemon_directory"); !ok {
		if self, err := os.Executable(); err == nil {
			if dir := filepath.Dir(self); unix.Access(filepath.Join(dir, "qmgr"), unix.X_OK) == nil {
				return dir
			}
		}
	}
	return c.String("daemon_directory")
}

// logOptions are those of master's own log.
func logOptions(c *config.Config) maillog.Options { return daemon.LogOptions(c) }
