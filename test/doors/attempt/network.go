package attempt

import (
	"net/netip"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postrider/lib/operator"
	"postrider/lib/proto"
)

var network = slicesOf("Network", []Attempt{
	{Name: "connect by TCP", Try: func(t *Target) string {
		return done(socket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error { return unix.Connect(fd, address(t.TCP)) }))
	}},
	{Name: "send by UDP", Try: func(t *Target) string {
		return done(socket(unix.AF_INET, unix.SOCK_DGRAM, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, address(t.UDP)) }))
	}},
	{Name: "choose a TCP port", Try: func(*Target) string {
		return done(socket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error {
			for port := 20000; ; port += 7 { // one that nobody has
				err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
				if err != unix.EADDRINUSE {
					return err
				}
			}
		}))
	}},
	{Name: "receive connections", Try: func(*Target) string {
		return done(socket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error { return unix.Listen(fd, 1) }))
	}},
	{Name: "connect to an abstract Unix socket", Try: func(t *Target) string {
		return done(socket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error { return unix.Connect(fd, &unix.SockaddrUnix{Name: t.Local}) }))
	}},
	public("pickup"),
	public("submit"),
	{Name: "ask the kernel for routes (netlink)", Try: func(*Target) string {
		return done(socket(unix.AF_NETLINK, unix.SOCK_RAW, func(int) error { return nil }))
	}},
})

// public is a socket of the queue directory that others than daemons have.
func public(name string) Attempt {
	return Attempt{Name: "connect to public/" + name, Try: func(t *Target) string {
		return done(socket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
			return unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(t.Queue, "public", name)})
		}))
	}}
}

func socket(family, kind int, use func(fd int) error) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return use(fd)
}

func address(s string) unix.Sockaddr {
	a := netip.MustParseAddrPort(s)
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// What the operators' socket gives.
var queue = slicesOf("The queue manager's public socket", []Attempt{
	{Name: "list the queue", Try: ask(func(q operator.Queue, _ string) error {
		return q.List(&proto.List{}, func(*proto.Item) error { return nil })
	})},
	{Name: "read a queued message", Try: ask(func(q operator.Queue, id string) error {
		return q.Cat([]string{id}, func(*proto.Item) error { return nil }, discard{})
	})},
	{Name: "hold a message", Try: verb(proto.VerbHold, "")},
	{Name: "release a message", Try: verb(proto.VerbRelease, "")},
	{Name: "delete a message", Try: verb(proto.VerbDelete, "0000000000")},
})

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// verb asks for a change of the message, or of one that is not there.
func verb(kind proto.VerbKind, id string) func(*Target) string {
	return ask(func(q operator.Queue, message string) error {
		if id == "" {
			id = message
		}
		_, err := q.Do(&proto.Verb{Kind: kind, IDs: []string{id}})
		return err
	})
}

func ask(f func(q operator.Queue, id string) error) func(*Target) string {
	return func(t *Target) string {
		q, err := operator.Dial(t.Queue)
		if err != nil {
			return ""
		}
		defer q.Close()
		return done(f(q, t.Message))
	}
}
