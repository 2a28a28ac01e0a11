package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/mutant"
	"postrider/lib/proto"
)

// grants are descriptors that master gave, by name.
type grants struct {
	listeners map[string]net.Listener
	files     map[string]*os.File // tables and other files, by path
}

func (g *grants) init() {
	g.listeners = map[string]net.Listener{}
	g.files = map[string]*os.File{}
}

// control hears master until it is gone.
func (d *Daemon) control() {
	for {
		if err := d.hear(); err != nil {
			if !errors.Is(err, io.EOF) {
				d.Log.Warnf("control socket: %v", err)
			}
			// Master died: finish what is in hand, as at a stop.
			d.stop(d.Config().Duration("stop_grace"), false)
			return
		}
	}
}

// hear takes one message of master's.
func (d *Daemon) hear() error {
	f, err := d.conn.Next()
	if err != nil {
		return err
	}
	defer f.CloseFDs()
	switch f.Type {
	case proto.TypeSetup:
		var m proto.Setup
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		return d.setup(&m)
	case proto.TypeGrant:
		var m proto.Grant
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		if len(f.FDs) != 1 {
			return fmt.Errorf("grant of %q with %d descriptors: %w", m.Name, len(f.FDs), ipc.ErrFrame)
		}
		fd := f.FDs[0]
		f.FDs = nil
		return d.grant(&m, fd)
	case proto.TypeDied:
		var m proto.Died
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		d.died(m)
	case proto.TypeGo:
		return d.goOn()
	case proto.TypeStop:
		var m proto.Stop
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		d.stop(time.Duration(min(m.Grace, 1<<40))*time.Millisecond, true)
	case proto.TypeDialed:
		return d.dialed(&f)
	case proto.TypeProfile:
		var m proto.Profile
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		if len(f.FDs) != 1 {
			return fmt.Errorf("profile with %d descriptors: %w", len(f.FDs), ipc.ErrFrame)
		}
		sock, err := ipc.FromFD(f.FDs[0])
		f.FDs = nil
		if err != nil {
			return err
		}
		go Guard(func() { d.profile(&m, sock) })
	}
	return nil
}

func (d *Daemon) setup(m *proto.Setup) error {
	if m.Program != d.Program {
		return fmt.Errorf("master takes this program for %q, it is %q", m.Program, d.Program)
	}
	s, err := config.DecodeSnapshot(m.Snapshot)
	if err != nil {
		return err
	}
	c, err := config.FromSnapshot(s)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.config.Load() == nil { // they stay for the life of the process
		d.Number, d.Of, d.fault = int(m.Number), int(m.Of), m.Fault
	}
	d.next = c
	d.Log.Set(LogOptions(c))
	return nil
}

// grant takes one descriptor. The log and partners are good at once; the rest
// waits for Go, so that a daemon never sees half of a new configuration.
func (d *Daemon) grant(m *proto.Grant, fd int) error {
	switch m.Kind {
	case proto.GrantLog:
		d.Log.Open(os.NewFile(uintptr(fd), "log"), maillog.Kind(m.Name))
	case proto.GrantPartner:
		sock, err := ipc.FromFD(fd)
		if err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.config.Load() == nil {
			d.first = append(d.first, m.Name)
		}
		d.call(func() {
			d.mu.Lock()
			f := d.onPartner
			d.mu.Unlock()
			if f == nil {
				sock.Close()
				return
			}
			f(m.Name, sock)
		})
	case proto.GrantListener:
		file := os.NewFile(uintptr(fd), m.Name)
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("listener %s: %w", m.Name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the name is master's
		}
		d.mu.Lock()
		d.staged.listeners[m.Name] = l
		d.mu.Unlock()
	case proto.GrantTable, proto.GrantFile:
		d.mu.Lock()
		d.staged.files[m.Name] = os.NewFile(uintptr(fd), m.Name)
		d.mu.Unlock()
	case proto.GrantOrder:
		d.joinOrder(m.Name, os.NewFile(uintptr(fd), m.Name))
	case proto.GrantNotes, proto.GrantStrikes:
		d.keep(m.Kind, os.NewFile(uintptr(fd), m.Name))
	case proto.GrantLock:
		// Held until the process ends, whatever becomes of the Daemon.
		d.mu.Lock()
		d.locks = append(d.locks, os.NewFile(uintptr(fd), m.Name))
		d.mu.Unlock()
	default:
		unix.Close(fd)
	}
	return nil
}

// leaked is for mutant.LeakyReload alone.
var leaked []*os.File

// goOn makes the round's configuration and descriptors the current ones.
func (d *Daemon) goOn() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.config.Load() == nil
	if d.next != nil {
		d.config.Store(d.next)
		d.next, d.services = nil, nil
	}
	c := d.config.Load()
	if c == nil {
		return fmt.Errorf("go without setup: %w", ipc.ErrFrame)
	}
	for name, l := range d.staged.listeners {
		if old := d.grants.listeners[name]; old != nil {
			old.Close()
		}
		d.grants.listeners[name] = l
	}
	for name, l := range d.grants.listeners {
		if kept(c, name) {
			continue
		}
		l.Close()
		delete(d.grants.listeners, name)
	}
	replaced := false
	for path, f := range d.staged.files {
		// The old file closes itself when its last reader is done and collected.
		replaced = replaced || d.grants.files[path] != nil
		if mutant.On(mutant.LeakyReload) {
			leaked = append(leaked, d.grants.files[path])
		}
		d.grants.files[path] = f
	}
	d.staged.init()
	if first {
		return nil
	}
	d.call(func() {
		d.mu.Lock()
		f := d.onReload
		d.mu.Unlock()
		if f != nil {
			f()
		}
		if replaced { // a daemon with little to do may collect nothing for a thousand reloads
			go runtime.GC()
		}
	})
	return nil
}

// kept says whether a listener still belongs to a line of master.cf.
func kept(c *config.Config, name string) bool {
	const kind = "/inet"
	name = lineOf(name)
	if len(name) <= len(kind) || name[len(name)-len(kind):] != kind {
		return true
	}
	_, ok := c.Service(name[:len(name)-len(kind)], kind[1:])
	return ok
}

// lineOf returns the line of master.cf, "smtp/inet", that a listener of the name
// "smtp/inet" or "smtp/inet@192.0.2.1:25" belongs to.
func lineOf(listener string) string {
	line, _, _ := strings.Cut(listener, "@")
	return line
}

// stop closes Stopping, and ends the daemon's context when the grace is over.
// A later stop may shorten the grace.
func (d *Daemon) stop(grace time.Duration, asked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	until := time.Now().Add(grace)
	if d.stopped && !until.Before(d.until) {
		return
	}
	d.until = until
	if !d.stopped {
		d.stopped = true
		close(d.stopping)
	}
	if grace <= 0 {
		d.end()
		return
	}
	time.AfterFunc(grace, d.end)
}

// LogOptions are the options of the log that a configuration asks for.
func LogOptions(c *config.Config) maillog.Options {
	o := maillog.Options{Host: c.String("myhostname"), Facility: maillog.FacilityByName(c.String("syslog_facility")),
		Resolution: c.Int("delay_logging_resolution_limit")}
	if o.Resolution == 0 {
		o.Resolution = -1
	}
	if c.String("maillog_format") == "json" {
		o.Format = maillog.JSON
	}
	return o
}
