package config

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Host is what the configuration takes from the machine: it goes along in the
// Snapshot, so that every process computes the same defaults.
type Host struct {
	Name  string                  // as gethostname(2) gives it
	Nets  []netip.Prefix          // address and network length of every interface
	Names map[string][]netip.Addr // host names in inet_interfaces and proxy_interfaces
}

// ThisHost asks the machine. A machine whose interfaces cannot be listed has
// the two loopback addresses.
func ThisHost() Host {
	var h Host
	h.Name, _ = os.Hostname()
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		ones, bits := n.Mask.Size()
		if ip.Is4() && bits == 128 {
			ones -= 96
		}
		if p := netip.PrefixFrom(ip, ones); p.IsValid() {
			h.Nets = append(h.Nets, p)
		}
	}
	if h.Nets == nil {
		h.Nets = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}
	}
	return h
}

// hostname computes the default of myhostname: the machine's name, with
// mydomain (as set) or localdomain behind it when it has no dot.
func hostname(e *expander) string {
	name := strings.TrimSuffix(e.host.Name, ".")
	if name == "" {
		name = "localhost"
	}
	if strings.Contains(name, ".") {
		return name
	}
	domain := "localdomain"
	if s, ok := e.set("mydomain"); ok {
		// mydomain may itself be written with $myhostname; the limits of
		// the expander end that, and the plain name is as good as any.
		if v, err := e.expand(s); err == nil && v != "" {
			domain = v
		}
	}
	return name + "." + domain
}

// domainname computes the default of mydomain: myhostname without its first
// label.
func domainname(e *expander) string {
	if _, domain, ok := strings.Cut(e.param("myhostname"), "."); ok {
		return domain
	}
	return "localdomain"
}

// networks computes the default of mynetworks from mynetworks_style and the
// addresses that inet_interfaces leaves.
func networks(e *expander) string {
	style := e.param("mynetworks_style")
	var words []string
	seen := map[string]bool{}
	for _, p := range e.interfaces() {
		ip := p.Addr()
		switch bits := ip.BitLen(); {
		case style == "class" && ip.Is4():
			b := ip.As4()[0]
			switch {
			case b < 128:
				bits = 8
			case b < 192:
				bits = 16
			case b < 224:
				bits = 24
			default:
				bits = 4
			}
			p = netip.PrefixFrom(ip, bits)
		case style == "host" || p.Bits() < 0:
			p = netip.PrefixFrom(ip, bits)
		}
		p = p.Masked()
		w := p.String()
		if ip.Is6() {
			w = "[" + p.Addr().String() + "]" + w[strings.LastIndexByte(w, '/'):]
		}
		if !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// interfaces returns the machine's addresses that inet_interfaces and
// inet_protocols leave. An address that no interface has stands alone.
func (e *expander) interfaces() []netip.Prefix {
	words, _ := SplitList(e.param("inet_interfaces"))
	protocols, _ := SplitList(e.param("inet_protocols"))
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		family := "ipv4"
		if p.Addr().Is6() {
			family = "ipv6"
		}
		for _, w := range protocols {
			if w == "all" || w == family {
				out = append(out, p)
				return
			}
		}
	}
	for _, w := range words {
		switch w {
		case "all", "loopback-only":
			for _, p := range e.host.Nets {
				if w == "all" || p.Addr().IsLoopback() {
					add(p)
				}
			}
			continue
		}
		for _, ip := range e.host.addrs(w) {
			p := netip.PrefixFrom(ip, ip.BitLen())
			for _, n := range e.host.Nets {
				if n.Addr() == ip {
					p = n
				}
			}
			add(p)
		}
	}
	return out
}

// addrs returns the addresses that a word of inet_interfaces or
// proxy_interfaces stands for.
func (h *Host) addrs(w string) []netip.Addr {
	if ip, err := parseIP(w); err == nil {
		return []netip.Addr{ip}
	}
	if strings.EqualFold(w, "localhost") {
		return h.loopback()
	}
	return h.Names[w]
}

// loopback returns what "localhost" means: 127.0.0.1, and ::1 where an
// interface has it.
func (h *Host) loopback() []netip.Addr {
	ips := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, p := range h.Nets {
		if p.Addr() == netip.IPv6Loopback() {
			ips = append(ips, p.Addr())
		}
	}
	return ips
}

// parseIP reads an address with or without brackets, as "[::1]", "::1" or
// "[IPv6:::1]".
func parseIP(s string) (netip.Addr, error) {
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
		if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
			s = s[5:]
		}
	}
	ip, err := netip.ParseAddr(s)
	return ip.Unmap(), err
}

// resolve looks up the host names in the words of inet_interfaces or
// proxy_interfaces, once, when the files are read.
func (h *Host) resolve(words []string) error {
	for _, w := range words {
		if w == "all" || w == "loopback-only" || h.addrs(w) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", w)
		cancel()
		if err != nil {
			return errf("host not found: %s: %v", clip(w), err)
		}
		if h.Names == nil {
			h.Names = map[string][]netip.Addr{}
		}
		for _, ip := range ips {
			h.Names[w] = append(h.Names[w], ip.Unmap())
		}
	}
	return nil
}
