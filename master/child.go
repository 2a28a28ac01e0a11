package master

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// child is one running daemon process.
type child struct {
	instance
	path    string
	who     *role
	process *os.Process
	sock    *net.UnixConn
	out     chan message // to be sent, in order
	started time.Time
	ready   bool
	leaving bool   // was told to stop
	fault   string // of the one before it
}

// message is one frame to a daemon. It owns its descriptor.
type message struct {
	typ uint8
	m   ipc.Appender
	fd  int // -1: none
}

// maxWaiting is how many messages may wait for a daemon that does not read.
const maxWaiting = 4096

// lastWords is how long what a dead daemon sent may take to be read.
const lastWords = time.Second

// role is whom a daemon runs as; nil is the caller.
type role struct {
	cred syscall.Credential
	keep capabilities // all that it, or what it executes, can ever have
}

// spawn starts a daemon and its control conversation. heard and exited are
// called from goroutines of the child.
func spawn(i instance, path, dir string, stderr *os.File, who *role, heard func(*child, error), exited func(*child, *os.ProcessState)) (*child, error) {
	ours, theirs, err := ipc.Pair()
	if err != nil {
		return nil, err
	}
	sock, err := ipc.FromFD(ours)
	if err != nil {
		unix.Close(theirs)
		return nil, err
	}
	end := os.NewFile(uintptr(theirs), "control")
	defer end.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		sock.Close()
		return nil, err
	}
	defer null.Close()
	if stderr == nil {
		stderr = null
	}
	attr := &os.ProcAttr{
		Dir:   dir,
		Env:   environ(),
		Files: []*os.File{null, null, stderr, end},
		// A group of its own: signals of a terminal are for master alone.
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	var p *os.Process
	start := func() (err error) {
		p, err = os.StartProcess(path, []string{filepath.Base(path)}, attr)
		return err
	}
	if who != nil {
		attr.Sys.Credential = &who.cred
		err = confined(who.keep, start)
	} else {
		err = start()
	}
	if err != nil {
		sock.Close()
		return nil, err
	}
	c := &child{instance: i, who: who, path: path, process: p, sock: sock, out: make(chan message, maxWaiting), started: time.Now()}
	said := make(chan struct{}) // all that it had to say was heard
	go func() { defer close(said); c.converse(heard) }()
	go func() {
		state, err := p.Wait()
		if err != nil {
			state = nil
		}
		select {
		case <-said:
		case <-time.After(lastWords):
		}
		exited(c, state)
	}()
	return c, nil
}

// environ is the environment of every daemon: nothing but what the standard
// library needs, and the time zone of the log.
func environ() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
	if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// converse greets, then sends what is queued and hears the daemon until it is
// gone. heard gets nil for Ready, and a *silence for Silent.
func (c *child) converse(heard func(*child, error)) {
	conn := ipc.New(c.sock, 0)
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.ControlName, Version: proto.ControlVersion}); err != nil {
		if !errors.Is(err, io.EOF) {
			heard(c, fmt.Errorf("control socket: %w", err))
		}
		c.discard()
		return
	}
	go func() {
		for m := range c.out {
			var err error
			if m.fd < 0 {
				err = conn.Send(m.typ, m.m)
			} else {
				err = conn.SendFDs(m.typ, m.m, m.fd)
				unix.Close(m.fd)
			}
			if err != nil { // what it was not told it can never learn: it ends, and the next one is told
				conn.Close()
				c.discard()
				return
			}
		}
	}()
	for {
		f, err := conn.Next()
		if err != nil {
			return
		}
		f.CloseFDs()
		switch f.Type {
		case proto.TypeReady:
			heard(c, nil)
		case proto.TypeSilent:
			var m proto.Silent
			if m.Decode(f.Payload) == nil {
				heard(c, &silence{m.Partner})
			}
		case proto.TypeDial:
			var m proto.Dial
			if m.Decode(f.Payload) == nil {
				heard(c, &dial{m.Name})
			}
		case proto.TypeAlone:
			var m proto.Alone
			if m.Decode(f.Payload) == nil {
				heard(c, &alone{m})
			}
		}
	}
}

// silence is a daemon's complaint that a partner has not said hello.
type silence struct{ partner string }

func (s *silence) Error() string { return s.partner + " has not said hello" }

// discard throws away what can no longer be sent.
func (c *child) discard() {
	for m := range c.out {
		if m.fd >= 0 {
			unix.Close(m.fd)
		}
	}
}

// send queues one frame. A daemon that lets thousands wait is stuck and killed.
func (c *child) send(typ uint8, m ipc.Appender, fd int) {
	select {
	case c.out <- message{typ, m, fd}:
	default:
		if fd >= 0 {
			unix.Close(fd)
		}
		c.process.Kill()
	}
}

// grant queues a copy of a descriptor.
func (c *child) grant(kind proto.GrantKind, name string, f *os.File) error {
	fd, err := dup(f)
	if err != nil {
		return err
	}
	c.send(proto.TypeGrant, &proto.Grant{Kind: kind, Name: name}, fd)
	return nil
}

// end frees what belongs to a child that has exited.
func (c *child) end() {
	close(c.out)
	c.sock.Close()
}

// connect makes a connected pair of sockets and gives each child one end.
func connect(a, b *child) error {
	x, y, err := ipc.Pair()
	if err != nil {
		return err
	}
	a.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantPartner, Name: b.label()}, x)
	b.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantPartner, Name: a.label()}, y)
	return nil
}
