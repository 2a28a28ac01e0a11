package dns

import (
	"context"

	"github.com/miekg/dns"
)

// ask puts one question to the servers in turn until one gives an answer that can
// be used: its rcode says that the name exists or that it does not. nil when none
// does.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) *dns.Msg {
	first := 0
	if r.conf.Rotate {
		first = int(r.turn.Add(1))
	}
	for range r.conf.Tries {
		for i := range r.conf.Servers {
			if ctx.Err() != nil {
				return nil
			}
			server := r.conf.Servers[(first+i)%len(r.conf.Servers)]
			m := r.exchange(ctx, server, name, qtype, true)
			if m != nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
				m = r.exchange(ctx, server, name, qtype, false) // a server from before EDNS
			}
			if m != nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
				return m
			}
		}
	}
	return nil
}

// exchange asks one server, over UDP from a fresh port and, when the answer is cut
// short, over TCP. The client of miekg/dns checks the id; the question is checked
// here.
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16, edns bool) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name+".", qtype)
	if edns {
		q.SetEdns0(ednsSize, false)
	}
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: r.conf.Timeout}
		m, _, err := c.ExchangeContext(ctx, q, server)
		if m != nil && m.Truncated && network == "udp" {
			continue
		}
		if err != nil || !answers(m, q) || m.Truncated {
			return nil
		}
		return m
	}
	return nil
}

// answers says whether m is a reply to q. A reply without any question is taken
// when it is an error, since servers that cannot parse send such.
func answers(m, q *dns.Msg) bool {
	if m == nil || !m.Response || m.Opcode != dns.OpcodeQuery || m.Id != q.Id {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	a, b := m.Question[0], q.Question[0]
	return len(m.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && same(a.Name, b.Name[:len(b.Name)-1])
}
