package master

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postrider/lib/config"
	"postrider/lib/proto"
)

// dialTime is how long a connection that a daemon asks for may take.
const dialTime = 5 * time.Second

// dial is a daemon's wish for a connection.
type dial struct{ name string }

func (d *dial) Error() string { return "asks for a connection to " + d.name }

// serverDials are what smtpd may be connected to: Dovecot's auth socket, and the policy
// services of its restrictions.
func serverDials(c *config.Config) []string {
	dials := c.PolicyServices()
	if c.Bool("smtpd_sasl_auth_enable") && c.String("smtpd_sasl_type") == "dovecot" {
		dials = append(dials, c.String("smtpd_sasl_path"))
	}
	return dials
}

// socketOf reads "inet:host:port", "unix:path" or a path; one that is not from the root is
// in the queue directory (smtpd_sasl_path).
func socketOf(name, queue string) (network, address string) {
	if rest, ok := strings.CutPrefix(name, "inet:"); ok {
		if !strings.Contains(rest, ":") {
			rest = ":" + rest
		}
		return "tcp", rest
	}
	path := strings.TrimPrefix(name, "unix:")
	if !filepath.IsAbs(path) {
		path = filepath.Join(queue, path)
	}
	return "unix", path
}

// dial makes a connection for a daemon, to what the configuration names and to nothing else.
func (s *supervisor) dial(c *child, name string) {
	answer := func(fd int, err error) {
		m := &proto.Dialed{Name: name}
		if err != nil {
			m.Error = err.Error()
		}
		c.send(proto.TypeDialed, m, fd)
	}
	if !slices.Contains(s.plan.dials[c.name], name) {
		s.log.Warnf("%s asks for a connection to %q, which the configuration does not give it", c.label(), name)
		answer(-1, errors.New("not in the configuration"))
		return
	}
	network, address := socketOf(name, s.plan.config.String("queue_directory"))
	go func() {
		fd, err := connected(network, address)
		s.post(func() {
			if x := s.find(c.label()); x == nil || x.child != c {
				if fd >= 0 {
					syscall.Close(fd)
				}
				return // it has ended
			}
			if err != nil {
				err = errors.New("connect to " + name + ": " + reason(err))
			}
			answer(fd, err)
		})
	}()
}

// connected returns the descriptor of a connection.
func connected(network, address string) (int, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(context.Background(), network, address)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	f, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return dup(f)
}

// reason is what the system says of the cause.
func reason(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}
