package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/dns"
	"postrider/lib/ipc"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

const (
	// nameTime is how long smtpd waits for a name; nobody wants it later.
	nameTime = 5 * time.Second
	// namesAtOnce is how many are looked up at a time for each smtpd.
	namesAtOnce = 200
)

// names answers smtpd's questions for the names of its clients, until the connection
// ends. smtpd speaks with strangers and can open no socket; what it can have us ask is
// the name of an address, and nothing else.
func (c *client) names(sock *net.UnixConn, log *maillog.Logger) {
	conn := ipc.New(sock, 1024)
	defer conn.Close()
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.NamesName, Version: proto.NamesVersion}); err != nil {
		return
	}
	free := make(chan struct{}, namesAtOnce)
	for {
		f, err := conn.Next()
		if err != nil {
			return
		}
		f.CloseFDs()
		var q proto.NameOf
		if f.Type != proto.TypeNameOf || q.Decode(f.Payload) != nil {
			log.Warnf("smtpd asks what is no question")
			return
		}
		free <- struct{}{}
		go daemon.Guard(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(context.Background(), nameTime)
			defer cancel()
			a := proto.Named{ID: q.ID}
			a.Name, a.Warning = c.env.Load().nameOf(ctx, q.Addr.Unmap())
			conn.Send(proto.TypeNamed, &a)
		})
	}
}

// nameOf looks an address up as Postfix's smtpd does: what name it claims, and whether
// that name has this address. Else the name is "", with a warning when one was claimed.
func (e *environment) nameOf(ctx context.Context, addr netip.Addr) (name, warning string) {
	name = e.hostNames[addr]
	if name == "" {
		var err error
		if name, err = e.resolver.Host(ctx, addr); err != nil {
			return "", ""
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fmt.Sprintf("numeric result %s in address->name lookup for %s", name, addr)
	}
	family := dns.IPv4
	if addr.Is6() {
		family = dns.IPv6
	}
	addrs, err := e.hosts.Addrs(name, family)
	if err != nil {
		addrs, err = e.resolver.Addrs(ctx, name, family)
	}
	switch {
	case errors.Is(err, dns.ErrTemporary):
		return "", fmt.Sprintf("hostname %s does not resolve to address %s: Temporary failure in name resolution", name, addr)
	case err != nil:
		return "", fmt.Sprintf("hostname %s does not resolve to address %s: Name or service not known", name, addr)
	case !slices.Contains(addrs, addr):
		return "", fmt.Sprintf("hostname %s does not resolve to address %s", name, addr)
	}
	return name, ""
}
