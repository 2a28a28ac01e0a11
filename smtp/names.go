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
// what the DNS has for a name, and nothing else.
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
		var answer func(ctx context.Context) (uint8, ipc.Appender)
		switch f.Type {
		case proto.TypeNameOf:
			var q proto.NameOf
			err = q.Decode(f.Payload)
			answer = func(ctx context.Context) (uint8, ipc.Appender) {
				a := c.env.Load().nameOf(ctx, q.Addr.Unmap())
				a.ID = q.ID
				return proto.TypeNamed, &a
			}
		case proto.TypeAsk:
			var q proto.Ask
			err = q.Decode(f.Payload)
			answer = func(ctx context.Context) (uint8, ipc.Appender) {
				a := c.env.Load().tell(ctx, q)
				return proto.TypeTold, &a
			}
		default:
			err = ipc.ErrFrame
		}
		if err != nil {
			log.Warnf("smtpd asks what is no question")
			return
		}
		free <- struct{}{}
		go daemon.Guard(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(context.Background(), nameTime)
			defer cancel()
			conn.Send(answer(ctx))
		})
	}
}

// nameOf looks an address up as Postfix's smtpd does: what name it claims, and whether
// that name has this address. Else there is no name, with a warning when one was claimed.
func (e *environment) nameOf(ctx context.Context, addr netip.Addr) (a proto.Named) {
	name := e.hostNames[addr]
	if name == "" {
		var err error
		if name, err = e.resolver.Host(ctx, addr); err != nil {
			a.Temporary = errors.Is(err, dns.ErrTemporary)
			return a
		}
	}
	a.Claimed = name
	if _, err := netip.ParseAddr(name); err == nil {
		a.Claimed, a.Warning = "", fmt.Sprintf("numeric result %s in address->name lookup for %s", name, addr)
		return a
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
		a.Temporary = true
		a.Warning = fmt.Sprintf("hostname %s does not resolve to address %s: Temporary failure in name resolution", name, addr)
	case err != nil:
		a.Warning = fmt.Sprintf("hostname %s does not resolve to address %s: Name or service not known", name, addr)
	case !slices.Contains(addrs, addr):
		a.Warning = fmt.Sprintf("hostname %s does not resolve to address %s", name, addr)
	default:
		a.Name = name
	}
	return a
}

// tell looks up what a restriction of smtpd wants to know of a name.
func (e *environment) tell(ctx context.Context, q proto.Ask) proto.Told {
	a := proto.Told{ID: q.ID}
	var err error
	switch q.Kind {
	case proto.AskAddr4, proto.AskAddr:
		families := dns.IPv4
		if q.Kind == proto.AskAddr {
			families |= dns.IPv6
		}
		var addrs []netip.Addr
		addrs, err = e.resolver.Addrs(ctx, q.Name, families)
		for _, x := range addrs {
			a.Values = append(a.Values, x.String())
		}
	case proto.AskMX:
		var hosts []dns.MX
		hosts, err = e.resolver.MX(ctx, q.Name)
		slices.SortStableFunc(hosts, func(x, y dns.MX) int { return int(x.Pref) - int(y.Pref) })
		for _, x := range hosts {
			a.Values = append(a.Values, x.Host)
		}
	case proto.AskText:
		a.Values, err = e.resolver.Text(ctx, q.Name)
	}
	switch {
	case errors.Is(err, dns.ErrNullMX):
		a.Outcome = proto.NameNoMail
	case errors.Is(err, dns.ErrNotFound):
		a.Outcome = proto.NameNotFound
	case err == nil && len(a.Values) > 0:
		a.Outcome = proto.NameFound
	}
	a.Values = a.Values[:min(len(a.Values), proto.ToldMax)]
	for i, v := range a.Values {
		a.Values[i] = v[:min(len(v), proto.ToldText)]
	}
	return a
}
