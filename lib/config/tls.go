package config

import (
	"crypto/tls"
	"strings"
)

// tlsVersions are the names that Postfix knows.
var tlsVersions = map[string]uint16{"sslv2": 0x200, "sslv3": 0x300, "tlsv1": tls.VersionTLS10, "tlsv1.0": tls.VersionTLS10,
	"tlsv1.1": tls.VersionTLS11, "tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13}

// TLSVersions reads the value of a parameter such as smtp_tls_protocols: ">=TLSv1.2",
// "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3". The versions below TLS 1.2 are never used (RFC 8996), so
// that the lowest is 1.2 at least. An error is of kind ErrConfig, also when nothing is left.
func TLSVersions(s string) (lowest, highest uint16, err error) {
	words, err := SplitList(strings.ReplaceAll(s, ":", " "))
	if err != nil {
		return 0, 0, err
	}
	use := map[uint16]bool{tls.VersionTLS12: true, tls.VersionTLS13: true}
	named := map[uint16]bool{}
	for _, w := range words {
		name := strings.ToLower(w)
		rest := strings.TrimLeft(name, "!<>=")
		v, ok := tlsVersions[rest]
		if !ok {
			return 0, 0, errf("%q is no version of TLS", w)
		}
		switch name[:len(name)-len(rest)] {
		case "":
			named[v] = true
		case "!":
			delete(use, v)
		case ">=":
			for x := range use {
				if x < v {
					delete(use, x)
				}
			}
		case "<=":
			for x := range use {
				if x > v {
					delete(use, x)
				}
			}
		default:
			return 0, 0, errf("%q: write >=TLSv1.2, !TLSv1.3 or TLSv1.2", w)
		}
	}
	if len(named) > 0 {
		for x := range use {
			if !named[x] {
				delete(use, x)
			}
		}
	}
	switch {
	case use[tls.VersionTLS12] && use[tls.VersionTLS13]:
		return tls.VersionTLS12, tls.VersionTLS13, nil
	case use[tls.VersionTLS13]:
		return tls.VersionTLS13, tls.VersionTLS13, nil
	case use[tls.VersionTLS12]:
		return tls.VersionTLS12, tls.VersionTLS12, nil
	}
	return 0, 0, errf("%q leaves neither TLSv1.2 nor TLSv1.3", clip(s))
}
