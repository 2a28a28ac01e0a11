package table

import "strings"

// Splitter divides a local part into user and extension.
type Splitter struct {
	Delimiters string // recipient_delimiter: any of these bytes divides
	// Whole are local parts that are never divided, besides postmaster and
	// MAILER-DAEMON: double_bounce_sender.
	Whole []string
	// OwnerRequest keeps owner-list and list-request whole although "-"
	// divides (owner_request_special).
	OwnerRequest bool
}

// Split returns the user and the extension, without the delimiter, and whether
// there is one.
func (s Splitter) Split(local string) (user, ext string, ok bool) {
	if s.Delimiters == "" || len(local) < 2 ||
		strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "mailer-daemon") {
		return local, "", false
	}
	for _, w := range s.Whole {
		if strings.EqualFold(local, w) {
			return local, "", false
		}
	}
	if s.OwnerRequest && strings.Contains(s.Delimiters, "-") {
		lower := strings.ToLower(local)
		if strings.HasPrefix(lower, "owner-") || strings.HasSuffix(lower, "-request") {
			return local, "", false
		}
	}
	i := strings.IndexAny(local[1:], s.Delimiters)
	if i < 0 {
		return local, "", false
	}
	return local[:i+1], local[i+2:], true
}

// AddressKeys returns the keys under which an address is looked up, in order:
// user+ext@domain, user@domain, with bare also user+ext and user, and @domain.
// bare is for domains of our own, where the local part is enough.
func (s Splitter) AddressKeys(local, domain string, bare bool) []string {
	user, _, split := s.Split(local)
	keys := make([]string, 0, 5)
	keys = append(keys, local+"@"+domain)
	if split {
		keys = append(keys, user+"@"+domain)
	}
	if bare {
		keys = append(keys, local)
		if split {
			keys = append(keys, user)
		}
	}
	return append(keys, "@"+domain)
}

// TransportKeys returns the keys of transport(5), in order: user+ext@domain,
// user@domain, domain, .parent and so on up, "*".
func (s Splitter) TransportKeys(local, domain string) []string {
	user, _, split := s.Split(local)
	keys := make([]string, 0, 8)
	keys = append(keys, local+"@"+domain)
	if split {
		keys = append(keys, user+"@"+domain)
	}
	keys = append(keys, domain)
	return append(append(keys, parents(domain, ".")...), "*")
}

// DomainKeys returns a domain and, with below, the domains above it, for lists
// in which example.com stands for a.example.com too.
func DomainKeys(domain string, below bool) []string {
	keys := []string{domain}
	if below {
		keys = append(keys, parents(domain, "")...)
	}
	return keys
}

// ParentKeys returns the domains above a domain as Postfix's tables write them, with a dot in
// front.
func ParentKeys(domain string) []string { return parents(domain, ".") }

// parents returns the domains above domain, each with prefix. A literal such as
// [192.0.2.1] has none.
func parents(domain, prefix string) []string {
	if strings.HasPrefix(domain, "[") {
		return nil
	}
	var keys []string
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return keys
		}
		domain = parent
		if domain != "" {
			keys = append(keys, prefix+domain)
		}
	}
}
