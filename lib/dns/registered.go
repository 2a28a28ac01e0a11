package dns

import "golang.org/x/net/publicsuffix"

// Registered returns the registered domain of a host name, by the public suffix list:
// "example.co.uk" of "mx1.eu.example.co.uk". A name that is itself a public suffix, or has
// one label, is returned as it is. Names are in lower case, without the last dot.
func Registered(host string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}
