package smtp

import (
	"errors"
	"net/netip"
	"syscall"

	"postrider/lib/dns"
	"postrider/lib/proto"
)

// errNoFamily is the kind of error of a connection by a protocol for which a source has
// no address.
var errNoFamily = errors.New("the egress source has no address of that kind")

// from returns the settings of a service for mail that leaves from a source of sched.cf:
// its addresses and its EHLO name instead of smtp_bind_address and smtp_helo_name. Kept
// sessions are its own, since they are kept by service.
func (e *environment) from(st *settings, s *proto.Source) *settings {
	if s.Name == "" {
		return st
	}
	e.mu.RLock()
	own := e.sources[sourceKey{st.service, *s}]
	e.mu.RUnlock()
	if own != nil {
		return own
	}
	own = st.leaving(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sources == nil || len(e.sources) >= maxSources {
		e.sources = map[sourceKey]*settings{}
	}
	e.sources[sourceKey{st.service, *s}] = own
	return own
}

type sourceKey struct {
	service string
	source  proto.Source
}

// maxSources bounds the settings that are kept; a policy has fewer sources.
const maxSources = 10_000

func (st *settings) leaving(s *proto.Source) *settings {
	own := *st
	own.source = s.Name
	own.service = st.service + " from " + s.Name + " " + s.Addr4 + " " + s.Addr6 + " " + s.EHLO
	if s.EHLO != "" {
		own.helo = s.EHLO
	}
	if s.Addr4 == "" && s.Addr6 == "" {
		return &own
	}
	own.families, own.bound = 0, true
	own.bind4, own.bind6 = netip.Addr{}, netip.Addr{}
	if a, err := netip.ParseAddr(s.Addr4); err == nil {
		own.bind4, own.families = a, own.families|dns.IPv4
	}
	if a, err := netip.ParseAddr(s.Addr6); err == nil {
		own.bind6, own.families = a, own.families|dns.IPv6
	}
	own.families &= st.families
	return &own
}

// absent says whether a connection failed because the address of its source is not
// configured on this machine.
func (st *settings) absent(err error) bool {
	return st.bound && errors.Is(err, syscall.EADDRNOTAVAIL)
}
