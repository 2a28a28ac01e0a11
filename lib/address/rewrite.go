package address

import (
	"bytes"
	"strings"

	"postrider/lib/mail"
)

// Rewrite completes an address (trivial-rewrite(8)): a source route is
// dropped; without a domain, site!user becomes user@site, user%domain becomes
// user@domain, and user becomes user@$myorigin; with append_dot_mydomain a
// domain without dot gets $mydomain; one dot at the end goes. The null address
// stays.
func (r *Resolver) Rewrite(a mail.Address) mail.Address {
	b, _ := r.rewrite(string(a))
	return mail.Address(b)
}

// rewrite says too whether an operator chose the domain: then the address has
// been routed by its sender.
func (r *Resolver) rewrite(a string) (out string, routed bool) {
	if a == "" {
		return "", false
	}
	if a[0] == '@' {
		if i := routeEnd(a); i > 0 {
			a, routed = a[i+1:], true
		}
	}
	a = strings.TrimRight(a, "@")
	if strings.LastIndexByte(a, '@') < 0 {
		bang, percent := strings.IndexByte(a, '!'), strings.LastIndexByte(a, '%')
		switch {
		case r.bangPath && bang >= 0:
			a, routed = strings.TrimRight(a[bang+1:]+"@"+a[:bang], "@"), true
		case r.percentHack && percent >= 0:
			a, routed = strings.TrimRight(a[:percent]+"@"+a[percent+1:], "@"), true
		}
	}
	i := strings.LastIndexByte(a, '@')
	if i < 0 {
		if a == "" || !r.appendOrigin {
			return a, routed
		}
		return a + "@" + r.myorigin, routed
	}
	domain := a[i+1:]
	if d, ok := strings.CutSuffix(domain, "."); ok && d != "" && d[len(d)-1] != '.' {
		domain = d
	} else if r.appendDomain && domain[0] != '[' && !strings.Contains(domain, ".") {
		domain += "." + r.mydomain
	}
	if domain == a[i+1:] {
		return a, routed
	}
	return a[:i+1] + domain, routed
}

// routeEnd returns the place of the colon that ends a source route
// "@a,@b:user@c" (RFC 5321, appendix C), or -1.
func routeEnd(a string) int {
	inside := false
	for i := 0; i < len(a); i++ {
		switch a[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ':':
			if !inside {
				return i
			}
		}
	}
	return -1
}

// Complete says of most addresses, without taking memory, that Rewrite leaves them as they
// are; of others it may say nothing.
func Complete(a []byte) bool {
	at := bytes.LastIndexByte(a, '@')
	if at <= 0 || a[0] == '@' {
		return false
	}
	domain := a[at+1:]
	return len(domain) > 0 && domain[len(domain)-1] != '.' && (domain[0] == '[' || bytes.IndexByte(domain, '.') >= 0)
}

// Elsewhere is r where incomplete addresses belong to domain, and not to this machine
// (remote_header_rewrite_domain). Only its Rewrite is of use.
func (r *Resolver) Elsewhere(domain string) *Resolver {
	other := *r
	other.myorigin, other.mydomain = domain, domain
	return &other
}
