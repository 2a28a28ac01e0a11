package smtp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postrider/lib/dns"
	"postrider/lib/mail"
)

// hop is one next hop as transport_maps and relayhost write it (postconf(5),
// relayhost): "domain", "[host]", "host:port", "[host]:port", "[192.0.2.1]",
// "[IPv6:2001:db8::1]:port". A route of sched.cf has "[host=192.0.2.1]:port", too, a name
// with its address.
//
// LMTP has "unix:path" and "inet:" before the others too.
type hop struct {
	text string     // as it is written
	unix string     // path of a socket; then there is nothing else
	name string     // as a name
	addr netip.Addr // or an address; then name is its text
	noMX bool       // in brackets: no MX lookup
	port uint16
}

func (st *settings) parseHop(s string) (hop, error) {
	h := hop{text: s, port: st.port}
	if st.lmtp {
		if path, ok := strings.CutPrefix(s, "unix:"); ok {
			return st.socket(h, path)
		}
		s = strings.TrimPrefix(s, "inet:")
	}
	rest := ""
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 0 {
			return h, fmt.Errorf("missing ] in %q", s)
		}
		h.noMX = true
		h.name, rest = s[1:i], s[i+1:]
		if rest != "" && rest[0] != ':' {
			return h, fmt.Errorf("text behind ] in %q", s)
		}
	} else {
		h.name, rest, _ = strings.Cut(s, ":")
		if rest != "" {
			rest = ":" + rest
		}
	}
	if rest != "" {
		var ok bool
		if h.port, ok = parsePort(rest[1:]); !ok {
			return h, fmt.Errorf("bad port in %q", s)
		}
	}
	name := h.name
	if host, addr, ok := strings.Cut(name, "="); ok && h.noMX && host != "" { // a policy gives the address beside the name
		a, err := netip.ParseAddr(strings.TrimPrefix(addr, "IPv6:"))
		if err != nil {
			return h, fmt.Errorf("bad address in %q", s)
		}
		h.name, h.addr = host, a.Unmap()
		return h, nil
	}
	if len(name) > 5 && strings.EqualFold(name[:5], "ipv6:") {
		name = name[5:]
	}
	if a, err := netip.ParseAddr(name); err == nil {
		h.addr, h.noMX = a.Unmap(), true
		h.name = h.addr.String()
		return h, nil
	}
	if h.name == "" {
		return h, fmt.Errorf("no host in %q", s)
	}
	return h, nil
}

// maxSocketPath is what the kernel takes as the path of a Unix socket.
const maxSocketPath = 107

// socket is the next hop "unix:path"; a path that is not from the root is in
// queue_directory.
func (st *settings) socket(h hop, path string) (hop, error) {
	h.name, h.unix = path, path
	if !filepath.IsAbs(path) {
		h.unix = filepath.Join(st.queueDir, path)
	}
	if path == "" || len(h.unix) > maxSocketPath {
		return h, fmt.Errorf("%q is no path of a socket", path)
	}
	return h, nil
}

// name is "host[addr]", as the log has it, or "host[path]".
func (t *target) name() string {
	if t.unix != "" {
		return t.host + "[" + t.path + "]"
	}
	return t.host + "[" + t.addr.Addr().String() + "]"
}

// relay is the name with the port.
func (t *target) relay() string {
	if t.unix != "" {
		return t.name()
	}
	return t.name() + ":" + strconv.Itoa(int(t.addr.Port()))
}

// target is one address to try.
type target struct {
	host string
	unix string // path of a socket, in place of addr
	path string // as it is written
	addr netip.AddrPort
	pref uint16
	best bool // of the best preference there is
}

// resolve finds the addresses of a next hop in the order in which they are to be
// tried. When there are none, the status says why.
func (e *environment) resolve(ctx context.Context, st *settings, h hop) ([]target, mail.Status, bool) {
	if h.unix != "" {
		return []target{{host: st.self, unix: h.unix, path: h.name, best: true}}, mail.Status{}, true
	}
	var list []target
	var bad mail.Status
	var ok bool
	if h.noMX || st.noMX || st.lmtp {
		list, bad, ok = e.host(ctx, st, h, h.name, 0)
	} else {
		list, bad, ok = e.domain(ctx, st, h)
	}
	if !ok {
		return nil, bad, false
	}
	st.order(list)
	if h.port == 25 {
		if list = st.cutSelf(list); len(list) == 0 {
			return nil, mail.Status{Class: mail.Bounced, DSN: "5.4.6", Text: "mail for " + h.name + " loops back to myself"}, false
		}
	}
	for i := range list {
		list[i].best = list[i].pref == list[0].pref
	}
	return st.balanced(list), mail.Status{}, true
}

// domain looks up the MX records, or the address when there are none (RFC 5321,
// section 5.1).
func (e *environment) domain(ctx context.Context, st *settings, h hop) ([]target, mail.Status, bool) {
	mxs, err := e.resolver.MX(ctx, h.name)
	var de *dns.Error
	switch {
	case err == nil:
	case errors.Is(err, dns.ErrNullMX):
		return nil, mail.Status{Class: mail.Bounced, DSN: "5.1.0", Text: err.Error()}, false
	case errors.Is(err, dns.ErrNotFound) && (!errors.As(err, &de) || !de.NoDomain),
		errors.Is(err, dns.ErrTemporary) && st.ignoreMXError:
		return e.host(ctx, st, h, h.name, 0)
	default:
		return nil, lookupStatus(err), false
	}
	slices.SortStableFunc(mxs, func(a, b dns.MX) int { return int(a.Pref) - int(b.Pref) })
	var list []target
	var bad mail.Status
	for _, mx := range mxs {
		if st.addressLimit > 0 && len(list) >= 4*st.addressLimit && mx.Pref > list[len(list)-1].pref {
			break // more than will ever be tried
		}
		l, why, ok := e.host(ctx, st, h, mx.Host, mx.Pref)
		if !ok {
			if bad.DSN == "" || why.Class == mail.Deferred {
				bad = why
			}
			continue // a host without an address does not count while there are others
		}
		list = append(list, l...)
	}
	if len(list) == 0 {
		return nil, bad, false
	}
	return list, mail.Status{}, true
}

// host finds the addresses of one host.
func (e *environment) host(ctx context.Context, st *settings, h hop, name string, pref uint16) ([]target, mail.Status, bool) {
	if h.addr.IsValid() {
		return []target{{host: name, addr: netip.AddrPortFrom(h.addr, h.port), pref: pref}}, mail.Status{}, true
	}
	var addrs []netip.Addr
	var err error = errors.New("smtp_host_lookup is empty")
	if st.useHosts {
		addrs, err = e.hosts.Addrs(name, st.families)
	}
	if len(addrs) == 0 && (st.useDNS || st.useHosts) { // "native" asks the name servers too
		addrs, err = e.resolver.Addrs(ctx, name, st.families)
		if err != nil && !st.useDNS {
			err = &nativeError{name, err}
		}
	}
	if len(addrs) == 0 {
		return nil, lookupStatus(err), false
	}
	list := make([]target, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, target{host: name, addr: netip.AddrPortFrom(a.Unmap(), h.port), pref: pref})
	}
	return list, mail.Status{}, true
}

// nativeError says of a failed lookup what the C library's getaddrinfo says.
type nativeError struct {
	name string
	err  error
}

func (e *nativeError) Error() string {
	if errors.Is(e.err, dns.ErrTemporary) {
		return "unable to look up host " + e.name + ": Temporary failure in name resolution"
	}
	return "unable to look up host " + e.name + ": Name or service not known"
}

func (e *nativeError) Unwrap() error { return e.err }

func lookupStatus(err error) mail.Status {
	if errors.Is(err, dns.ErrNotFound) {
		return mail.Status{Class: mail.Bounced, DSN: "5.4.4", Text: err.Error()}
	}
	return mail.Status{Class: mail.Deferred, DSN: "4.4.3", Text: err.Error()}
}

// order sorts by preference and mixes what is equal.
func (st *settings) order(list []target) {
	if st.shuffle {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	rank := func(t target) int {
		n := int(t.pref) * 2
		if st.prefer != 0 && t.addr.Addr().Is4() != (st.prefer == dns.IPv4) {
			n++
		}
		return n
	}
	slices.SortStableFunc(list, func(a, b target) int { return rank(a) - rank(b) })
}

// cutSelf takes away this system and everything that is no better: mail must only
// move towards the best (RFC 5321, section 5.1).
func (st *settings) cutSelf(list []target) []target {
	i := slices.IndexFunc(list, func(t target) bool {
		a := t.addr.Addr()
		return st.own[a] || a.IsUnspecified()
	})
	if i < 0 {
		return list
	}
	pref := list[i].pref
	j := slices.IndexFunc(list, func(t target) bool { return t.pref >= pref })
	return list[:j]
}

// balanced cuts the list to smtp_mx_address_limit so that neither protocol takes
// all the places (smtp_balance_inet_protocols).
func (st *settings) balanced(list []target) []target {
	limit := st.addressLimit
	if limit <= 0 || len(list) <= limit {
		return list
	}
	if !st.balance || limit < 2 {
		return list[:limit]
	}
	n4 := 0
	for _, t := range list {
		if t.addr.Addr().Is4() {
			n4++
		}
	}
	n6 := len(list) - n4
	room4 := max(limit/2, limit-n6)
	if n4 < limit/2 {
		room4 = n4
	}
	room6 := limit - room4
	var out []target
	for _, t := range list {
		room := &room6
		if t.addr.Addr().Is4() {
			room = &room4
		}
		if *room > 0 {
			*room--
			out = append(out, t)
		}
	}
	return out
}
