package master

import (
	"fmt"
	"os"
	"strings"
	"time"

	"postrider/lib/config"
	"postrider/lib/proto"
)

// reload reads the configuration anew and hands it out. Whatever is wrong
// with it, the old one stays, whole, and one line says why; the log is opened anew all the
// same, since who rotates it may not be who is editing main.cf.
func (s *supervisor) reload() {
	if err := s.take(); err != nil {
		s.openLogFile()
		s.log.Errorf("reload: %s; the old configuration stays", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// take is reload, until something is wrong.
func (s *supervisor) take() error {
	c, problems := config.Load(s.dir)
	if err := problems.Err(); err != nil {
		return err
	}
	for _, name := range []string{"queue_directory", "data_directory", "mail_owner", "setgid_group"} {
		if c.String(name) != s.plan.config.String(name) {
			return fmt.Errorf("%s cannot change while the mail system runs: stop and start it", name)
		}
	}
	p, err := newPlan(c)
	if err != nil {
		return err
	}
	k, err := s.compile(c, s.ids)
	if err != nil {
		return err
	}
	p.withPolicy(k)
	fresh, err := s.bind(p)
	if err != nil {
		return err
	}
	for _, w := range problems.Warnings() {
		if w.Severity != config.NoEffect {
			s.log.Warnf("%s", w)
		}
	}
	old := s.plan.policy
	s.plan = p
	s.log.Set(logOptions(c))
	s.openLogFile()
	s.log.Infof("reload -- version %s, configuration %s", c.String("mail_version"), s.dir)
	s.sayPolicy(old)
	s.openFiles()
	if err := s.serveProfiles(); err != nil {
		s.log.Warnf("profiles: %v", err)
	}
	closed := s.newSockets(fresh)
	s.refill(closed)
	for _, x := range s.slots {
		if x.child == nil || x.child.leaving {
			continue
		}
		s.setup(x.child)
		s.giveFiles(x.child, proto.GrantTable, nil)
		s.giveFiles(x.child, proto.GrantFile, nil)
		s.givePolicy(x.child)
		for _, l := range p.listens {
			if f := fresh[l.key()]; f != nil && l.program == x.name {
				s.give(x.child, proto.GrantListener, l.name, f)
			}
		}
		x.child.send(proto.TypeGo, nil, -1)
	}
	for _, x := range s.slots {
		if x.child == nil && x.timer == nil {
			s.start(x)
		}
	}
	return nil
}

// newSockets adds the fresh listeners and closes those that are no longer asked
// for. It says whether there was one: the daemons hold copies of it, so they
// must go.
func (s *supervisor) newSockets(fresh map[string]*os.File) (closed bool) {
	wanted := map[string]bool{}
	for _, l := range s.plan.listens {
		wanted[l.key()] = true
	}
	for key, f := range s.sockets {
		if !wanted[key] {
			f.Close()
			delete(s.sockets, key)
			closed = true
		}
	}
	for key, f := range fresh {
		s.sockets[key] = f
	}
	return closed
}

// refill makes the slots those of the plan. Processes that are not wanted any
// more, that are one of another number than they were told, that listen
// where they should not, or that need other capabilities, are told to finish; new ones take their places then.
func (s *supervisor) refill(closed bool) {
	for _, x := range s.slots {
		x.wanted = false
	}
	for _, i := range s.plan.instances {
		x := s.find(i.label())
		if x == nil {
			x = &slot{}
			s.slots = append(s.slots, x)
		}
		replace := x.child != nil && (x.of != i.of || closed && i.name == "smtpd" ||
			x.child.who != nil && x.child.who.keep != s.plan.keep[i.name])
		x.instance, x.wanted = i, true
		if replace {
			s.leave(x.child)
		}
	}
	for _, x := range s.slots {
		if !x.wanted && x.child != nil {
			s.leave(x.child)
		}
	}
	s.sweep()
}

func (s *supervisor) find(label string) *slot {
	for _, x := range s.slots {
		if x.label() == label {
			return x
		}
	}
	return nil
}

// leave tells a process to finish what it has in hand. One that does not is
// killed in the end.
func (s *supervisor) leave(c *child) {
	if c.leaving {
		return
	}
	c.leaving = true
	grace := s.plan.config.Duration("stop_grace")
	c.send(proto.TypeStop, &proto.Stop{Grace: uint64(grace.Milliseconds())}, -1)
	time.AfterFunc(grace+time.Second, func() { c.process.Kill() })
}
