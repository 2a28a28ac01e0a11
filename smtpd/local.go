package smtpd

import (
	"net/netip"
	"slices"

	"postrider/lib/maillog"
)

// localClients checks local_header_rewrite_clients: what is not known is left out, and
// the header of mail from such clients stays as it is.
func localClients(list []string, log *maillog.Logger) []string {
	known := []string{"permit_inet_interfaces", "permit_mynetworks", "permit_sasl_authenticated"}
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool {
		if slices.Contains(known, name) {
			return false
		}
		log.Warnf("local_header_rewrite_clients: unknown restriction: \"%s\"", name)
		return true
	})
}

// local says whether the client's messages get what is missing in their headers, and
// complete addresses there, as those that are posted on this machine.
func (f *front) local() bool {
	for _, name := range f.set.local {
		switch name {
		case "permit_inet_interfaces":
			if slices.ContainsFunc(f.set.own, func(p netip.Prefix) bool { return p.Addr() == f.addr }) {
				return true
			}
		case "permit_mynetworks":
			if ok, err := f.set.access.trusted(f.addr); ok && err == nil {
				return true
			}
		case "permit_sasl_authenticated":
			if f.client.SASLUser != "" {
				return true
			}
		}
	}
	return false
}
