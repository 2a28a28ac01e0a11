package dns

import (
	"net/netip"
	"strings"
)

// Hosts is the content of a hosts file: names in lower case to addresses. A nil
// Hosts has none.
type Hosts map[string][]netip.Addr

// ParseHosts reads the content of an /etc/hosts. Lines that do not fit are passed
// over.
func ParseHosts(b []byte) Hosts {
	h := Hosts{}
	eachHost(b, func(a netip.Addr, names []string) {
		for _, n := range names {
			if n, ok := Name(n); ok {
				h[n] = append(h[n], a)
			}
		}
	})
	return h
}

// eachHost calls f with the address of each line and its names, at least one.
func eachHost(b []byte, f func(a netip.Addr, names []string)) {
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		if a, err := netip.ParseAddr(w[0]); err == nil {
			f(a.Unmap(), w[1:])
		}
	}
}

// Addrs returns the addresses of name in those families that are wanted.
func (h Hosts) Addrs(name string, f Families) ([]netip.Addr, error) {
	n, ok := Name(name)
	if !ok {
		return nil, badName(name)
	}
	var found []netip.Addr
	for _, a := range h[n] {
		if f.has(a) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return nil, noDomain(name, f.last())
	}
	return found, nil
}
