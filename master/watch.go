package master

import (
	"maps"
	"slices"
	"time"

	"postrider/lib/proto"
	"postrider/lib/tlsconf"
)

// logAgain is how often is looked whether the log is gone, or could not be opened.
const logAgain = 5 * time.Second

// startNotifier begins to listen for changes of files. Without it they are seen at a
// reload.
func (s *supervisor) startNotifier() {
	n, err := newNotifier(func(n *notifier, wd int32, name string) {
		s.post(func() { s.stir(n, wd, name) })
	})
	if err != nil {
		s.log.Warnf("%v: a changed table is read at a reload only", err)
		return
	}
	s.notifier = n
}

// listen watches the files of the plan, and the socket of syslog when that is the log.
func (s *supervisor) listen() {
	if s.notifier == nil {
		return
	}
	if err := s.notifier.watch(append(slices.Collect(maps.Keys(s.files)), devLog)); err != nil {
		s.log.Warnf("%v: what changes there is read at a reload only", err)
	}
}

// stir takes a sign that something has changed. It is looked at when there was none for a
// while.
func (s *supervisor) stir(n *notifier, wd int32, name string) {
	paths := n.affected(wd, name)
	if wd < 0 { // the kernel has lost count
		paths = slices.Collect(maps.Keys(s.files))
	}
	if len(paths) == 0 || s.stopping {
		return
	}
	if s.stirred == nil {
		s.stirred = map[string]bool{}
		s.calm = time.AfterFunc(settle, func() { s.post(s.look) })
	} else {
		s.calm.Reset(settle)
	}
	for _, path := range paths {
		s.stirred[path] = true
	}
}

// look hands out anew what has changed. A table whose new text is broken stays as it was.
func (s *supervisor) look() {
	stirred := s.stirred
	s.stirred = nil
	if s.stopping {
		return
	}
	s.listen() // a directory or link on the way may be another one now
	if stirred[devLog] && s.logFile != nil && s.logFile.stale() {
		s.openLogFile()
	}
	changed := s.renewPairs(stirred)
	for path := range stirred {
		w := s.files[path]
		if w == nil || !w.differs() {
			continue
		}
		if n, ok := s.renew(path); ok && n.file != nil {
			s.log.Infof("%s has changed -- handing it out anew", path)
			changed = append(changed, path)
		}
	}
	if changed == nil {
		return
	}
	for _, x := range s.slots {
		c := x.child
		if c == nil || c.leaving {
			continue
		}
		if uses(s.plan, x.name, changed) {
			s.setup(c)
			s.giveFiles(c, proto.GrantTable, changed)
			s.giveFiles(c, proto.GrantFile, changed)
			c.send(proto.TypeGo, nil, -1)
		}
	}
}

// renew opens a file again, or for the first time. When there is one already that serves,
// it stays unless the new one can be read and its text is sound.
func (s *supervisor) renew(path string) (*watched, bool) {
	old := s.files[path]
	n := s.plan.open(path, s.isTable(path))
	serves := old != nil && old.file != nil
	if n.err == nil && serves {
		n.err = s.plan.sound(path, n.file)
	}
	if n.err != nil && serves {
		s.log.Errorf("%s: the old one stays in use: %v", path, n.err)
		n.close()
		return old, false
	}
	if n.err != nil && s.isTable(path) {
		s.log.Warnf("table %s: %v: mail that needs it is deferred; %s", path, unwrapped(n.err), s.plan.mend(path))
	}
	if n.err != nil && s.plan.copied[path] && !slices.Contains(tlsconf.SystemRoots, path) {
		s.log.Warnf("%s: %v", path, unwrapped(n.err))
	}
	if old != nil {
		old.close()
	}
	s.files[path] = &n
	return &n, true
}

func uses(p *plan, program string, paths []string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		return slices.Contains(p.tables[program], path) || slices.Contains(p.files[program], path)
	})
}
