package config

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// checkName accepts what can stand behind an "@" and in a greeting.
func checkName(s string) error {
	if s == "" || len(s) > 255 || strings.ContainsAny(s, " \t@<>()[]:;,\\\"") || strings.Trim(s, ".") != s {
		return errors.New("a host or domain name is needed")
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return errors.New("a host or domain name is needed")
		}
	}
	return nil
}

// checkHelo accepts a name or an address literal (RFC 5321, 4.1.4).
func checkHelo(s string) error {
	if ip, err := parseIP(s); err == nil && strings.HasPrefix(s, "[") && ip.IsValid() {
		return nil
	}
	return checkName(s)
}

// checkAddress returns a check for an IP address of the family, or nothing.
func checkAddress(family4 bool) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Is4() != family4 {
			if family4 {
				return errors.New("an IPv4 address is needed")
			}
			return errors.New("an IPv6 address is needed")
		}
		return nil
	}
}

// checkServers accepts a list of name servers, address:port each.
func checkServers(s string) error {
	words, err := SplitList(s)
	if err != nil {
		return err
	}
	for _, w := range words {
		host, port, err := net.SplitHostPort(w)
		if err != nil || host == "" {
			return errors.New("write address:port, for example 127.0.0.1:53 or [::1]:53")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("the port must be a number")
		}
	}
	return nil
}

// checkFeedback accepts Postfix's forms of concurrency feedback: a number from
// 0 to 1, alone or divided by a number, by "concurrency" or by
// "sqrt_concurrency".
func checkFeedback(s string) error {
	num, div, ratio := strings.Cut(s, "/")
	f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if div = strings.TrimSpace(div); err == nil && ratio && div != "concurrency" && div != "sqrt_concurrency" {
		var d float64
		d, err = strconv.ParseFloat(div, 64)
		f /= d
	}
	if err != nil || !(f >= 0 && f <= 1) { // also not a number
		return errors.New("write a number from 0 to 1, a/b, a/concurrency or a/sqrt_concurrency")
	}
	return nil
}

// levels are those of smtp_tls_security_level.
var levels = []string{"", "none", "may", "encrypt", "verify", "secure"}

// checkLevel refuses what would be taken for security and is not there.
func checkLevel(s string) error {
	switch {
	case slices.Contains(levels, s):
		return nil
	case s == "dane" || s == "dane-only" || s == "half-dane":
		return errf("%s needs answers that the resolver has verified by DNSSEC, which this version cannot tell; use encrypt, verify or secure", s)
	case s == "fingerprint":
		return errf("fingerprints are not supported; use verify or secure with smtp_tls_CAfile")
	}
	return errf("one of: %s", strings.Join(levels[1:], ", "))
}

// checkVersions reads versions of TLS as Postfix writes them.
func checkVersions(s string) error {
	_, _, err := TLSVersions(s)
	return err
}
