package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
)

// dialTime is how long master may take for a connection.
const dialTime = 10 * time.Second

// dialed is what came of a Dial.
type dialed struct {
	conn net.Conn
	err  error
}

// Dial has master make a connection to what the configuration names, such as the value of
// smtpd_sasl_path: the daemon itself can make no socket. To be called after Ready.
func (d *Daemon) Dial(name string) (net.Conn, error) {
	c := make(chan dialed, 1)
	d.mu.Lock()
	if d.dials == nil {
		d.dials = map[string][]chan dialed{}
	}
	d.dials[name] = append(d.dials[name], c)
	d.mu.Unlock()
	if err := d.conn.Send(proto.TypeDial, &proto.Dial{Name: name}); err != nil {
		return nil, err
	}
	t := time.NewTimer(dialTime)
	defer t.Stop()
	select {
	case r := <-c:
		return r.conn, r.err
	case <-t.C:
		return nil, fmt.Errorf("connect to %s: master does not answer", name)
	}
}

// dialed hands a connection to who waits for it the longest. That one may have gone, with
// room for the answer: then the connection is collected with the channel.
func (d *Daemon) dialed(f *ipc.Frame) error {
	var m proto.Dialed
	if err := m.Decode(f.Payload); err != nil {
		return err
	}
	var r dialed
	switch {
	case m.Error != "":
		r.err = errors.New(m.Error)
	case len(f.FDs) != 1:
		return fmt.Errorf("connection to %q with %d descriptors: %w", m.Name, len(f.FDs), ipc.ErrFrame)
	default:
		file := os.NewFile(uintptr(f.FDs[0]), m.Name)
		f.FDs = nil
		r.conn, r.err = net.FileConn(file)
		file.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.dials[m.Name]
	if len(waiting) == 0 {
		if r.conn != nil {
			r.conn.Close()
		}
		return nil
	}
	d.dials[m.Name] = waiting[1:]
	waiting[0] <- r
	return nil
}
