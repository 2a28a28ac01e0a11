package dns

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Families is which addresses are wanted (inet_protocols).
type Families uint8

// Address families.
const (
	IPv4 Families = 1 << iota
	IPv6
)

func (f Families) has(a netip.Addr) bool {
	if a.Unmap().Is4() {
		return f&IPv4 != 0
	}
	return f&IPv6 != 0
}

// last is the record type that Postfix names in the error when there are no
// addresses at all: the one that was asked for last.
func (f Families) last() string {
	if f&IPv6 != 0 {
		return "AAAA"
	}
	return "A"
}

// MX is one mail exchanger. Host is in lower case, without a final dot.
type MX struct {
	Pref uint16
	Host string
}

// Limits of an answer.
const (
	maxChain   = 10      // steps of a CNAME chain
	maxText    = 512     // bytes of a TXT record that are kept
	maxRecords = 1000    // records of an answer that are looked at
	ednsSize   = 1232    // largest UDP answer asked for (DNS flag day 2020)
	maxTTL     = 1 << 12 // seconds that an answer is kept at most
	maxNegTTL  = 300     // the same for "does not exist"
	minTTL     = 5       // and how long at least, so that who waited for an answer finds it
)

// Resolver asks name servers and remembers the answers for as long as they allow.
// It may be used by many goroutines at once.
type Resolver struct {
	conf  Config
	cache cache
	turn  atomic.Uint32
}

// New returns a Resolver.
func New(c Config) *Resolver {
	if len(c.Servers) == 0 {
		c.Servers = []string{"127.0.0.1:53"}
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Tries <= 0 {
		c.Tries = 2
	}
	return &Resolver{conf: c, cache: cache{max: cacheSize}}
}

// MX returns the mail exchangers of a domain in no particular order. A record for
// "." beside others, and names that are no host names, are left out; when nothing
// is left the error is ErrNotFound with NoDomain false. ErrNotFound with NoDomain
// says that the domain does not exist at all.
func (r *Resolver) MX(ctx context.Context, domain string) ([]MX, error) {
	a, err := r.lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	return a.mx, nil
}

// Addrs returns the addresses of a host in the wanted families, IPv6 first. When
// one family has addresses, trouble with the other does not matter.
func (r *Resolver) Addrs(ctx context.Context, host string, f Families) ([]netip.Addr, error) {
	var a6, a4 *answer
	var err6, err4 error
	switch f {
	case IPv4:
		a4, err4 = r.lookup(ctx, host, dns.TypeA)
	case IPv6:
		a6, err6 = r.lookup(ctx, host, dns.TypeAAAA)
	default:
		done := make(chan struct{})
		go func() {
			defer close(done)
			a6, err6 = r.lookup(ctx, host, dns.TypeAAAA)
		}()
		a4, err4 = r.lookup(ctx, host, dns.TypeA)
		<-done
	}
	var all []netip.Addr
	if a6 != nil {
		all = append(all, a6.addrs...)
	}
	if a4 != nil {
		all = append(all, a4.addrs...)
	}
	switch {
	case len(all) > 0:
		return all, nil
	case errors.Is(err4, ErrTemporary):
		return nil, err4
	case err6 != nil:
		return nil, err6
	}
	return nil, err4
}

// answer is what one question led to; one of the lists, or err of kind ErrNotFound or
// ErrNullMX.
type answer struct {
	mx    []MX
	addrs []netip.Addr
	names []string
	err   *Error
}

// lookup answers from the cache or asks. The error names what the caller asked for.
func (r *Resolver) lookup(ctx context.Context, asked string, qtype uint16) (*answer, error) {
	name, ok := Name(asked)
	if !ok {
		return nil, badName(asked)
	}
	k := key{name, qtype}
	a, until, err := r.cache.get(ctx, k, func(ctx context.Context) (*answer, uint32) { return r.resolve(ctx, name, qtype) })
	if v, ok := ctx.Value(validityKey{}).(*Validity); ok && err == nil {
		v.note(until)
	}
	switch {
	case err != nil: // our caller gave up
		return nil, temporary(asked, dns.TypeToString[qtype])
	case a.err != nil:
		e := *a.err
		e.Name = asked
		return nil, &e
	}
	return a, nil
}

// resolve follows CNAMEs from name to records of the type, over as many questions
// as it takes within maxChain. It returns for how many seconds the answer holds;
// 0 is not to be kept.
func (r *Resolver) resolve(ctx context.Context, name string, qtype uint16) (*answer, uint32) {
	typ := dns.TypeToString[qtype]
	ttl := uint32(maxTTL)
	target := name
	for steps := 0; steps < maxChain; {
		m := r.ask(ctx, target, qtype)
		if m == nil {
			return &answer{err: temporary(name, typ)}, 0
		}
		rrs := m.Answer
		if len(rrs) > maxRecords {
			rrs = rrs[:maxRecords]
		}
		asked := target
		for ; steps < maxChain; steps++ {
			next, t, ok := cnameOf(rrs, target)
			if !ok {
				break
			}
			target, ttl = next, min(ttl, t)
		}
		if steps == maxChain {
			break
		}
		a, t, found := pick(rrs, target, name, qtype)
		switch {
		case found:
			return a, min(ttl, t)
		case m.Rcode == dns.RcodeNameError:
			return &answer{err: noDomain(name, typ)}, min(ttl, negativeTTL(m))
		case target != asked:
			continue // the server did not follow its own CNAME
		}
		return &answer{err: noData(name, typ)}, min(ttl, negativeTTL(m))
	}
	return &answer{err: temporary(name, typ)}, 0 // a CNAME loop, or a chain without end
}

// cnameOf returns where a CNAME of name in rrs points.
func cnameOf(rrs []dns.RR, name string) (target string, ttl uint32, ok bool) {
	for _, rr := range rrs {
		if c, is := rr.(*dns.CNAME); is && same(c.Hdr.Name, name) {
			target, ok = Name(c.Target)
			return target, c.Hdr.Ttl, ok
		}
	}
	return "", 0, false
}

// pick takes the records of the type for name. found is false when there is none
// at all. Records of other names do not count.
func pick(rrs []dns.RR, name, asked string, qtype uint16) (a *answer, ttl uint32, found bool) {
	a, ttl = &answer{}, maxTTL
	null := false
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !same(h.Name, name) {
			continue
		}
		found = true
		ttl = min(ttl, h.Ttl)
		switch rr := rr.(type) {
		case *dns.MX:
			if rr.Mx == "." {
				null = true
			} else if host, ok := Name(rr.Mx); ok {
				a.mx = append(a.mx, MX{rr.Preference, host})
			}
		case *dns.PTR:
			if host, ok := Name(rr.Ptr); ok {
				a.names = append(a.names, host)
			}
		case *dns.TXT:
			text := strings.Join(rr.Txt, "")
			a.names = append(a.names, strings.Clone(text[:min(len(text), maxText)]))
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				a.addrs = append(a.addrs, ip)
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				a.addrs = append(a.addrs, ip)
			}
		}
	}
	if found && len(a.mx) == 0 && len(a.addrs) == 0 && len(a.names) == 0 {
		if null {
			a.err = &Error{Kind: ErrNullMX, Name: asked, Type: "MX", Reason: "null MX"}
		} else {
			a.err = noData(asked, dns.TypeToString[qtype])
		}
	}
	return a, ttl, found
}

// same compares a name of an answer with one that Name made.
func same(rr, name string) bool {
	return len(rr) == len(name)+1 && rr[len(name)] == '.' && strings.EqualFold(rr[:len(name)], name)
}

// negativeTTL is for how long a "no" holds (RFC 2308, section 5).
func negativeTTL(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(soa.Hdr.Ttl, soa.Minttl, maxNegTTL)
		}
	}
	return 0
}
