package dns

import (
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// Host returns the name that the owner of an address claims for it (PTR record): the
// first, in lower case, without a final dot. Anybody can claim any name for his own
// address, so it means nothing until Addrs of the name has the address.
func (r *Resolver) Host(ctx context.Context, addr netip.Addr) (string, error) {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return "", badName(addr.String())
	}
	a, err := r.lookup(ctx, name, dns.TypePTR)
	if err != nil {
		return "", err
	}
	return a.names[0], nil
}

// Text returns the texts that a name has (TXT records), the parts of each put together.
func (r *Resolver) Text(ctx context.Context, name string) ([]string, error) {
	a, err := r.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return slices.Clone(a.names), nil
}

// Names is a hosts file read backwards: addresses to the first name of their first line.
type Names map[netip.Addr]string

// ParseHostNames reads the content of an /etc/hosts. Lines that do not fit are passed
// over.
func ParseHostNames(b []byte) Names {
	names := Names{}
	eachHost(b, func(a netip.Addr, hosts []string) {
		if n, ok := Name(hosts[0]); ok && names[a] == "" {
			names[a] = n
		}
	})
	return names
}
