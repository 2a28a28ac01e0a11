package dns

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config says whom to ask and for how long.
type Config struct {
	Servers []string      // "address:port"; none: 127.0.0.1:53, as resolv.conf(5) says
	Timeout time.Duration // for one question to one server; 0 means 5 s
	Tries   int           // how often the whole list is gone through; 0 means 2
	Rotate  bool          // begin with another server each time
}

// ParseResolvConf reads the content of an /etc/resolv.conf: nameserver lines (the
// first three) and the options timeout, attempts and rotate. Other lines do not
// concern mail: its names are complete.
func ParseResolvConf(b []byte) Config {
	var c Config
	for line := range strings.Lines(string(b)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if len(c.Servers) < 3 {
				if a, err := netip.ParseAddr(f[1]); err == nil {
					c.Servers = append(c.Servers, netip.AddrPortFrom(a, 53).String())
				}
			}
		case "options":
			for _, o := range f[1:] {
				name, value, _ := strings.Cut(o, ":")
				n, err := strconv.Atoi(value)
				switch {
				case name == "rotate":
					c.Rotate = true
				case err != nil || n < 1:
				case name == "timeout":
					c.Timeout = time.Duration(min(n, 30)) * time.Second
				case name == "attempts":
					c.Tries = min(n, 5)
				}
			}
		}
	}
	return c
}

// ParseServers reads a list of name servers separated by blanks or commas, each an
// address with or without a port ("192.0.2.1", "[2001:db8::1]:5353"). bad holds
// what is neither.
func ParseServers(s string) (servers, bad []string) {
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\n' }) {
		host, port, err := net.SplitHostPort(w)
		if err != nil {
			host, port = strings.TrimSuffix(strings.TrimPrefix(w, "["), "]"), "53"
		}
		if _, err := netip.ParseAddr(host); err != nil {
			bad = append(bad, w)
			continue
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			bad = append(bad, w)
			continue
		}
		servers = append(servers, net.JoinHostPort(host, port))
	}
	return servers, bad
}
