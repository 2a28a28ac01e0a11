package schedcf

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/policy"
)

// storeConnections is how many deliveries at once a recipient domain has by LMTP when
// the policy says nothing, or a number that is no limit, as Elemta has it.
const storeConnections = 10

func (r *reader) route(b *block, d declaration) {
	t := &r.p.Routes[d.index]
	*t = policy.Route{Name: d.name}
	protocol, at := b.text("protocol")
	switch protocol {
	case "", "smtp":
	case "lmtp":
		t.LMTP = true
	default:
		b.errorf(at, "protocol: there is no protocol %q%s", protocol, suggest(protocol, []string{"smtp", "lmtp"}))
	}
	var targets []string
	if a := b.attr("mx_list"); a != nil {
		targets, t.Kind = append(targets, "mx_list"), policy.RouteHops
		for _, e := range elements(a.Expr) {
			if h, ok := b.hop(e, t.LMTP); ok {
				t.Hops = append(t.Hops, h)
			}
		}
		if len(elements(a.Expr)) == 0 {
			b.errorf(a.Expr.Range(), "mx_list: write at least one next hop")
		}
	}
	if s, at, has := b.one("maildir"); has {
		targets, t.Kind, t.Path = append(targets, "maildir"), policy.RouteMaildir, path.Clean(s)
		if !path.IsAbs(s) {
			b.errorf(at, "maildir: write the full path")
		}
		_, err := config.Expand(s, func(name string) string {
			if !slices.Contains(policy.MaildirNames, name) {
				b.errorf(at, "maildir: there is no $%s%s", name, suggest(name, policy.MaildirNames))
			}
			return name
		})
		if err != nil {
			b.errorf(at, "maildir: %v", err)
		}
	}
	for name, kind := range map[string]policy.RouteKind{"error": policy.RouteError, "discard": policy.RouteDiscard} {
		if s, _, has := b.one(name); has {
			targets, t.Kind, t.Status = append(targets, name), kind, status(kind, s)
		}
	}
	if t.Transport, at = b.text("transport"); t.Transport == "" {
		at = b.at
	}
	b.transport(t.Service(), at)
	if t.Kind == policy.RouteHops && t.LMTP {
		t.Connections = storeConnections
	}
	if n, ok := b.number("max_connections_per_domain", -countMax, countMax); ok && (n > 0 || !t.LMTP) {
		t.Connections = max(n, 0)
	}
	b.done()
	if len(targets) != 1 {
		b.errorf(b.at, "route %q needs one of mx_list, maildir, error and discard", d.name)
	}
	if t.Kind != policy.RouteHops && (protocol != "" || t.Transport != "") {
		b.errorf(b.at, "route %q: protocol and transport belong to mx_list", d.name)
	}
}

// status is the outcome for all mail of an error or discard route. The text may begin with
// an enhanced status code.
func status(kind policy.RouteKind, text string) mail.Status {
	st := mail.Status{Class: mail.Bounced, DSN: "5.7.1", Text: text}
	if kind == policy.RouteDiscard {
		st = mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: text}
	}
	code, rest, _ := strings.Cut(text, " ")
	if parts := strings.Split(code, "."); len(parts) == 3 && len(parts[0]) == 1 && strings.Trim(code, "0123456789.") == "" && parts[1] != "" && parts[2] != "" {
		switch {
		case kind == policy.RouteDiscard && parts[0] == "2", kind == policy.RouteError && parts[0] == "5":
			st.DSN, st.Text = code, rest
		case kind == policy.RouteError && parts[0] == "4":
			st.DSN, st.Text, st.Class = code, rest, mail.Deferred
		}
	}
	return st
}

// transport complains of a service that master.cf does not have.
func (b *block) transport(name string, at hcl.Range) {
	if name == "" || b.Main == nil {
		return
	}
	var names []string
	for _, s := range b.Main.Services() {
		if s.Type == "unix" {
			names = append(names, s.Name)
		}
		if s.Type == "unix" && s.Name == name {
			return
		}
	}
	b.errorf(at, "route: master.cf has no service %q%s", name, suggest(name, names))
}

// hop reads one next hop: "host", "host:port", "[192.0.2.1]", "unix:/path" or
// { name = "host", addr = "192.0.2.1", port = 25 }.
func (b *block) hop(e hclsyntax.Expression, lmtp bool) (policy.Hop, bool) {
	v, ok := b.constant(e)
	if !ok {
		return policy.Hop{}, false
	}
	if v.Type() == cty.String {
		h, ok := parseHop(v.AsString())
		if !ok || h.Path != "" && !lmtp {
			b.errorf(e.Range(), "mx_list: write \"host\", \"host:port\", \"[192.0.2.1]\", for LMTP \"unix:/path\", or { name = \"host\", addr = \"192.0.2.1\" }")
		}
		return h, ok
	}
	if !v.Type().IsObjectType() {
		b.errorf(e.Range(), "mx_list: write texts, or { name = \"host\", addr = \"192.0.2.1\" }")
		return policy.Hop{}, false
	}
	h, fine := policy.Hop{}, true
	for name, x := range v.AsValueMap() {
		var bad bool
		switch {
		case name == "name" && x.Type() == cty.String:
			p, ok := parseHop(x.AsString())
			bad = !ok || p.Addr.IsValid() || p.Path != "" || p.Port != 0
			h.Name = p.Name
		case (name == "addr" || name == "address") && x.Type() == cty.String:
			a, err := netip.ParseAddr(strings.Trim(x.AsString(), "[]"))
			bad, h.Addr = err != nil, a.Unmap()
		case name == "port" && x.Type() == cty.Number:
			n, _ := x.AsBigFloat().Int64()
			bad, h.Port = n < 1 || n > 65535, uint16(n)
		default:
			b.errorf(e.Range(), "mx_list: a next hop has no %q%s", name, suggest(name, []string{"name", "addr", "port"}))
			fine = false
			continue
		}
		if bad {
			b.errorf(e.Range(), "mx_list: %s is wrong", name)
			fine = false
		}
	}
	if fine && h.Name == "" && !h.Addr.IsValid() {
		b.errorf(e.Range(), "mx_list: a next hop needs name, addr or both")
		fine = false
	}
	return h, fine
}

// parseHop reads the text form of a next hop.
func parseHop(s string) (policy.Hop, bool) {
	if p, is := strings.CutPrefix(s, "unix:"); is {
		return policy.Hop{Path: path.Clean(p)}, path.IsAbs(p)
	}
	var h policy.Hop
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		inner, rest, ok := strings.Cut(s[1:], "]")
		if !ok || rest != "" && rest[0] != ':' {
			return h, false
		}
		host = inner
		if rest != "" {
			port = rest[1:]
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	if port != "" || strings.HasSuffix(s, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return h, false
		}
		h.Port = uint16(n)
	}
	plain := host
	if len(plain) > 5 && strings.EqualFold(plain[:5], "ipv6:") {
		plain = plain[5:]
	}
	if a, err := netip.ParseAddr(plain); err == nil {
		h.Addr = a.Unmap()
		return h, true
	}
	h.Name = strings.ToLower(strings.TrimSuffix(host, "."))
	return h, h.Name != "" && !strings.ContainsAny(h.Name, " \t\r\n/:@[]{}\"'")
}
