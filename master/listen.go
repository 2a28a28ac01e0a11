package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
)

// listen is a listener that the configuration asks for.
type listen struct {
	name    string         // of the grant
	program string         // who gets it
	addr    netip.AddrPort // inet
	path    string         // else: of the Unix socket
	try     bool           // no error when the machine does not have that protocol
}

func (l listen) key() string { return l.name + " " + l.addr.String() + l.path }

// listensOf returns the listeners of an inet line that runs smtpd. The first
// address is granted as "NAME/inet", a further one as "NAME/inet@ADDRESS:PORT".
func listensOf(c *config.Config, s config.Service) ([]listen, error) {
	host, service := s.HostPort()
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, fmt.Errorf("%w: unknown port %q", config.ErrConfig, service)
	}
	var (
		ips []netip.Addr
		all bool
	)
	protocols := c.List("inet_protocols")
	has := func(p string) bool { return slices.Contains(protocols, p) || slices.Contains(protocols, "all") }
	switch {
	case host == "" && slices.Contains(c.List("inet_interfaces"), "all"):
		all = true
		if has("ipv4") {
			ips = append(ips, netip.IPv4Unspecified())
		}
		if has("ipv6") {
			ips = append(ips, netip.IPv6Unspecified())
		}
	case host == "":
		for _, p := range c.Addresses() {
			ips = append(ips, p.Addr())
		}
	default:
		if ip, err := netip.ParseAddr(host); err == nil {
			ips = []netip.Addr{ip.Unmap()}
			break
		}
		found, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
		if err != nil {
			return nil, fmt.Errorf("%w: host not found: %v", config.ErrConfig, err)
		}
		for _, ip := range found {
			if ip = ip.Unmap(); ip.Is4() && has("ipv4") || ip.Is6() && has("ipv6") {
				ips = append(ips, ip)
			}
		}
	}
	var ls []listen
	for _, ip := range ips {
		l := listen{name: s.Name + "/inet", program: "smtpd", addr: netip.AddrPortFrom(ip, uint16(port))}
		if slices.ContainsFunc(ls, func(o listen) bool { return o.addr == l.addr }) {
			continue
		}
		if len(ls) > 0 {
			l.name += "@" + l.addr.String()
			l.try = all || ip.Is6() && ip.IsLoopback()
		}
		ls = append(ls, l)
	}
	if ls == nil {
		return nil, fmt.Errorf("%w: no address to listen on (inet_interfaces, inet_protocols)", config.ErrConfig)
	}
	return ls, nil
}

// open makes the socket. It is no socket of the Go runtime's: master never
// accepts and must not be woken for each client.
func (l listen) open() (*os.File, error) {
	f, err := l.bind()
	if err != nil {
		where := l.path
		if where == "" {
			where = l.addr.String()
		}
		return nil, fmt.Errorf("listen on %s for %s: %w", where, l.name, err)
	}
	return f, nil
}

func (l listen) bind() (*os.File, error) {
	domain, sa := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: l.path})
	if l.path == "" {
		ip := l.addr.Addr()
		if ip.Is4() {
			domain, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(l.addr.Port()), Addr: ip.As4()}
		} else {
			zone := 0
			if i, err := net.InterfaceByName(ip.Zone()); err == nil {
				zone = i.Index
			}
			domain, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(l.addr.Port()), Addr: ip.As16(), ZoneId: uint32(zone)}
		}
	}
	// Blocking, so that os.File leaves it alone; the daemon makes it its own way.
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = l.prepare(fd, domain)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	if err == nil && l.path != "" {
		err = os.Chmod(l.path, 0666) // peers are told apart by the kernel's word
	}
	if err == nil {
		backlog := 4096 // the kernel takes somaxconn at most
		if l.path != "" {
			backlog = 128 // whoever fills it keeps others waiting for no longer than it takes to refuse so many
		}
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.name), nil
}

func (l listen) prepare(fd, domain int) error {
	if l.path != "" {
		// Left by an earlier life; the lock says that nobody else serves it.
		if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if domain == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("IPV6_V6ONLY", err)
		}
	}
	return os.NewSyscallError("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

// unavailable says whether err means that the machine lacks the protocol or the
// address.
func unavailable(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EPROTONOSUPPORT)
}
