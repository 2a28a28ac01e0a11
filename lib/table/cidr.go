package table

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postrider/lib/config"
)

// networks is a table of networks (cidr_table(5)): the first one that the address is in
// decides. A key that is no address is in none.
type networks []networkRule

type networkRule struct {
	prefix netip.Prefix
	not    bool
	block  int // if > 0: an if; where its endif is
	text   string
	empty  bool // an endif
}

func (networks) wholeKeys() {}

// Lookup implements Table.
func (l networks) Lookup(_ context.Context, key string) (string, bool, error) {
	ip, err := netip.ParseAddr(key)
	if err != nil {
		return "", false, nil
	}
	ip = ip.Unmap().WithZone("")
	for i := 0; i < len(l); i++ {
		x := &l[i]
		if x.empty {
			continue
		}
		switch matches := x.prefix.Contains(ip) != x.not; {
		case matches && x.block == 0:
			return x.text, true, nil
		case !matches && x.block > 0:
			i = x.block
		}
	}
	return "", false, nil
}

// parseNetworks reads the text of a cidr: table. A wrong line is left out, and a block
// whose if is wrong as well.
func parseNetworks(path, text string) (networks, error) {
	var (
		l    networks
		errs problems
		open []int
		skip int
	)
	config.Lines(text, func(line int, s string) {
		s = strings.TrimLeft(s, " \t")
		word, rest, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
		isIf := strings.EqualFold(word, "if")
		if strings.EqualFold(word, "endif") {
			if len(open) == 0 {
				errs.bad(path, line, "endif without if")
				return
			}
			at := open[len(open)-1]
			if open = open[:len(open)-1]; at < 0 {
				skip--
			} else {
				l[at].block = len(l)
				l = append(l, networkRule{empty: true})
			}
			return
		}
		if isIf {
			s = strings.TrimLeft(rest, " ")
		}
		x := networkRule{}
		for s != "" && (s[0] == '!' || s[0] == ' ' || s[0] == '\t') {
			x.not = x.not != (s[0] == '!')
			s = s[1:]
		}
		i := strings.IndexAny(s, " \t")
		if i < 0 {
			i = len(s)
		}
		var err error
		x.prefix, err = ParseNetwork(s[:i])
		x.text = strings.Trim(s[i:], " \t")
		if err == nil && isIf == (x.text != "") {
			err = fmt.Errorf("expected format: network/mask whitespace result")
		}
		if err != nil {
			errs.bad(path, line, err.Error())
		}
		switch {
		case isIf && (err != nil || skip > 0):
			open, skip = append(open, -1), skip+1
			return
		case err != nil || skip > 0:
			return
		case isIf:
			open = append(open, len(l))
			x.block = 1 << 30
		}
		l = append(l, x)
	})
	for _, at := range open {
		errs.bad(path, 0, "if without endif")
		if at >= 0 {
			l[at].block = len(l)
		}
	}
	return l, errs.err()
}

// ParseNetwork reads "192.0.2.0/24", "192.0.2.1", "[2001:db8::]/32", "[::1]" or, without
// brackets, "2001:db8::/32". Bits behind the mask are an error, as in Postfix.
func ParseNetwork(p string) (netip.Prefix, error) {
	text, bits, cut := strings.Cut(p, "/")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("bad network pattern: %s (write 192.0.2.0/24 or [2001:db8::]/32)", p)
	}
	if !cut {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	length, err := strconv.ParseUint(bits, 10, 8)
	if err != nil || int(length) > ip.BitLen() {
		return netip.Prefix{}, fmt.Errorf("bad network pattern: %s (the number after / is wrong)", p)
	}
	if ip.Is4In6() && length >= 96 { // clients are compared as IPv4
		ip, length = ip.Unmap(), length-96
	}
	n := netip.PrefixFrom(ip, int(length))
	if n.Masked() != n {
		return netip.Prefix{}, fmt.Errorf("non-null host address bits in %s, perhaps you should use %s instead", p, n.Masked())
	}
	return n, nil
}
