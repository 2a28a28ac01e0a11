package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a name server of the test on loopback: UDP and TCP on one port.
type server struct {
	addr    string
	handler dns.HandlerFunc
	queries atomic.Int32
}

func startServer(t *testing.T, h dns.HandlerFunc) *server {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			pc.Close() // somebody else's port
			continue
		}
		s := &server{addr: pc.LocalAddr().String(), handler: h}
		count := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.queries.Add(1); h(w, q) })
		var up sync.WaitGroup
		up.Add(2)
		u := &dns.Server{PacketConn: pc, Handler: count, NotifyStartedFunc: up.Done}
		c := &dns.Server{Listener: l, Handler: count, NotifyStartedFunc: up.Done}
		go u.ActivateAndServe()
		go c.ActivateAndServe()
		up.Wait()
		t.Cleanup(func() { u.Shutdown(); c.Shutdown() })
		return s
	}
	t.Fatal("no port free for both UDP and TCP")
	return nil
}

func isTCP(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

func rr(t testing.TB, s string) dns.RR {
	r, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// zone answers from lines of a zone file; names that are in no line do not exist.
func zone(t *testing.T, lines ...string) dns.HandlerFunc {
	var rrs []dns.RR
	for _, l := range lines {
		rrs = append(rrs, rr(t, l))
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		name, exists := q.Question[0].Name, false
		for range 20 {
			next := ""
			for _, r := range rrs {
				if !strings.EqualFold(r.Header().Name, name) {
					continue
				}
				exists = true
				if r.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, r)
				} else if c, ok := r.(*dns.CNAME); ok {
					m.Answer = append(m.Answer, r)
					next = c.Target
				}
			}
			if next == "" {
				break
			}
			name, exists = next, false
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, rr(t, "example. 60 IN SOA ns.example. h.example. 1 1 1 1 60"))
		w.WriteMsg(m)
	}
}

func resolver(s *server) *Resolver {
	return New(Config{Servers: []string{s.addr}, Timeout: 300 * time.Millisecond, Tries: 2})
}

func TestMX(t *testing.T) {
	s := startServer(t, zone(t,
		"plain.example. 60 IN MX 10 MX1.plain.example.",
		"plain.example. 60 IN MX 20 mx2.plain.example.",
		"alias.example. 60 IN CNAME plain.example.",
		"null.example. 60 IN MX 0 .",
		"both.example. 60 IN MX 0 .",
		"both.example. 60 IN MX 5 mx.both.example.",
		`bad.example. 60 IN MX 5 a\032b.example.`,
		"loop1.example. 60 IN CNAME loop2.example.",
		"loop2.example. 60 IN CNAME loop1.example.",
		"none.example. 60 IN A 192.0.2.1",
		"xn--bcher-kva.example. 60 IN MX 5 buch.example.",
	))
	r := resolver(s)
	for _, c := range []struct {
		name, want string
		kind       error
		noDomain   bool
		text       string
	}{
		{name: "Plain.Example", want: "[{10 mx1.plain.example} {20 mx2.plain.example}]"},
		{name: "alias.example.", want: "[{10 mx1.plain.example} {20 mx2.plain.example}]"},
		{name: "both.example", want: "[{5 mx.both.example}]"},
		{name: "bücher.example", want: "[{5 buch.example}]"},
		{name: "null.example", kind: ErrNullMX, text: "Domain null.example does not accept mail (nullMX)"},
		{name: "none.example", kind: ErrNotFound, text: "Host or domain name not found. Name service error for name=none.example type=MX: Host found but no data record of requested type"},
		{name: "bad.example", kind: ErrNotFound, text: "Host or domain name not found. Name service error for name=bad.example type=MX: Host found but no data record of requested type"},
		{name: "gone.example", kind: ErrNotFound, noDomain: true, text: "Host or domain name not found. Name service error for name=gone.example type=MX: Host not found"},
		{name: "loop1.example", kind: ErrTemporary, text: "Host or domain name not found. Name service error for name=loop1.example type=MX: Host not found, try again"},
		{name: "a b.example", kind: ErrNotFound, noDomain: true, text: "Host or domain name not found. Name service error for a b.example: invalid host or domain name"},
		{name: "x..example", kind: ErrNotFound, noDomain: true, text: "Host or domain name not found. Name service error for x..example: invalid host or domain name"},
	} {
		mx, err := r.MX(t.Context(), c.name)
		if c.kind == nil {
			if err != nil || fmt.Sprint(mx) != c.want {
				t.Errorf("%s: %v, %v; want %s", c.name, mx, err, c.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.NoDomain != c.noDomain || err.Error() != c.text {
			t.Errorf("%s: %#v, %v", c.name, err, err)
		}
	}
}

func TestAddrs(t *testing.T) {
	s := startServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "half.example." && q.Question[0].Qtype == dns.TypeAAAA {
			m := new(dns.Msg)
			m.SetRcode(q, dns.RcodeServerFailure)
			w.WriteMsg(m)
			return
		}
		zone(t, "h.example. 60 IN A 192.0.2.1", "h.example. 60 IN AAAA 2001:db8::1", "h.example. 60 IN A 192.0.2.2",
			"half.example. 60 IN A 192.0.2.3", "c.example. 60 IN CNAME h.example.", "other.example. 60 IN TXT x")(w, q)
	})
	r := resolver(s)
	for _, c := range []struct {
		name string
		f    Families
		want string
	}{
		{"h.example", IPv4 | IPv6, "[2001:db8::1 192.0.2.1 192.0.2.2] <nil>"},
		{"h.example", IPv4, "[192.0.2.1 192.0.2.2] <nil>"},
		{"c.example", IPv6, "[2001:db8::1] <nil>"},
		{"half.example", IPv4 | IPv6, "[192.0.2.3] <nil>"},
		{"gone.example", IPv4 | IPv6, "[] Host or domain name not found. Name service error for name=gone.example type=AAAA: Host not found"},
		{"other.example", IPv4, "[] Host or domain name not found. Name service error for name=other.example type=A: Host found but no data record of requested type"},
	} {
		a, err := r.Addrs(t.Context(), c.name, c.f)
		if got := fmt.Sprint(a, err); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestChainAcrossAnswers has a server that gives one CNAME per answer.
func TestChainAcrossAnswers(t *testing.T) {
	s := startServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		var n int
		name := q.Question[0].Name
		if _, err := fmt.Sscanf(name, "n%d.", &n); err == nil && n > 0 {
			m.Answer = append(m.Answer, rr(t, fmt.Sprintf("%s 60 IN CNAME n%d.example.", name, n-1)))
		} else {
			m.Answer = append(m.Answer, rr(t, name+" 60 IN A 192.0.2.9"))
		}
		w.WriteMsg(m)
	})
	r := resolver(s)
	if a, err := r.Addrs(t.Context(), "n5.example", IPv4); err != nil || len(a) != 1 {
		t.Errorf("chain of five: %v, %v", a, err)
	}
	if a, err := r.Addrs(t.Context(), "n40.example", IPv4); !errors.Is(err, ErrTemporary) {
		t.Errorf("chain of forty: %v, %v", a, err)
	}
}

// TestBadAnswers: whatever a server does wrong is temporary, or the TCP answer or
// the next server makes up for it.
func TestBadAnswers(t *testing.T) {
	good := zone(t, "d.example. 60 IN MX 1 mx.d.example.")
	rcode := func(n int) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetRcode(q, n)
			w.WriteMsg(m)
		}
	}
	raw := func(b []byte) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			id := []byte{byte(q.Id >> 8), byte(q.Id)}
			w.Write(append(id, b...))
		}
	}
	changed := func(f func(m *dns.Msg)) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Answer = append(m.Answer, rr(t, "d.example. 60 IN MX 1 evil.example."))
			f(m)
			w.WriteMsg(m)
		}
	}
	truncated := func(tcp dns.HandlerFunc) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if isTCP(w) {
				tcp(w, q)
				return
			}
			m := new(dns.Msg)
			m.SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
		}
	}
	noEDNS := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			rcode(dns.RcodeFormatError)(w, q)
			return
		}
		good(w, q)
	}
	large := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for i := range 1500 {
			m.Answer = append(m.Answer, rr(t, fmt.Sprintf("d.example. 60 IN MX %d mx%d.d.example.", i, i)))
		}
		m.Compress = true
		w.WriteMsg(m)
	}
	for _, c := range []struct {
		name string
		h    dns.HandlerFunc
		ok   bool
	}{
		{"SERVFAIL", rcode(dns.RcodeServerFailure), false},
		{"REFUSED", rcode(dns.RcodeRefused), false},
		{"silence", func(dns.ResponseWriter, *dns.Msg) {}, false},
		{"garbage", raw([]byte("garbage garbage garbage")), false},
		{"header only", raw([]byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}), false},
		{"compression loop", raw([]byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 15, 0, 1}), false},
		{"wrong id", changed(func(m *dns.Msg) { m.Id++ }), false},
		{"wrong question", changed(func(m *dns.Msg) { m.Question[0].Name = "other.example." }), false},
		{"wrong type", changed(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }), false},
		{"no response", changed(func(m *dns.Msg) { m.Response = false }), false},
		{"truncated then TCP", truncated(good), true},
		{"truncated then large TCP", truncated(large), true},
		{"truncated then cut TCP", truncated(func(w dns.ResponseWriter, q *dns.Msg) { w.Close() }), false},
		{"truncated then truncated", truncated(changed(func(m *dns.Msg) { m.Truncated = true })), false},
		{"no EDNS", noEDNS, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, c.h)
			r := New(Config{Servers: []string{s.addr}, Timeout: 100 * time.Millisecond, Tries: 1})
			mx, err := r.MX(t.Context(), "d.example")
			if c.ok && (err != nil || len(mx) == 0 || len(mx) > maxRecords) || !c.ok && !errors.Is(err, ErrTemporary) {
				t.Errorf("%d records, %v", len(mx), err)
			}
		})
	}
}

func TestAnswerForAnotherName(t *testing.T) {
	s := startServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Answer = append(m.Answer, rr(t, "evil.example. 60 IN MX 1 mx.evil.example."))
		w.WriteMsg(m)
	})
	if mx, err := resolver(s).MX(t.Context(), "d.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, %v", mx, err)
	}
}

func TestNextServer(t *testing.T) {
	dead := startServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, dns.RcodeServerFailure)
		w.WriteMsg(m)
	})
	good := startServer(t, zone(t, "d.example. 60 IN MX 1 mx.d.example."))
	r := New(Config{Servers: []string{dead.addr, good.addr}, Timeout: time.Second})
	if mx, err := r.MX(t.Context(), "d.example"); err != nil || len(mx) != 1 {
		t.Errorf("%v, %v", mx, err)
	}
}

func TestCache(t *testing.T) {
	s := startServer(t, zone(t, "a.example. 60 IN MX 1 mx.a.example.", "zero.example. 0 IN MX 1 mx.a.example."))
	r := resolver(s)
	ask := func(name string, want int32) {
		t.Helper()
		before := s.queries.Load()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { r.MX(context.Background(), name) })
		}
		wg.Wait()
		r.MX(context.Background(), name)
		if n := s.queries.Load() - before; n < want || want < 2 && n > want {
			t.Errorf("%s: %d questions, want %d", name, n, want)
		}
	}
	ask("a.example", 1)
	ask("a.example", 0)
	ask("gone.example", 1)
	ask("gone.example", 0)
	ask("zero.example", 1) // kept for a moment, so that who waited for it finds it
	ask("zero.example", 0)

	k := key{"a.example", dns.TypeMX}
	r.cache.mu.Lock()
	r.cache.entries[k].until = time.Now()
	r.cache.mu.Unlock()
	ask("a.example", 1)

	r.cache.max = 16
	for i := range 100 {
		r.MX(context.Background(), fmt.Sprintf("x%d.example", i))
	}
	if n := len(r.cache.entries); n > 16 {
		t.Errorf("%d entries in a cache of 16", n)
	}
}

func TestCanceled(t *testing.T) {
	hold := make(chan struct{})
	s := startServer(t, func(w dns.ResponseWriter, q *dns.Msg) { <-hold })
	defer close(hold)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolver(s).MX(ctx, "d.example"); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}

func TestName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"Example.COM.", "example.com", true}, {"a_b-c.d", "a_b-c.d", true}, {"", "", false}, {".", "", false},
		{"a..b", "", false}, {".a", "", false}, {"a b", "", false}, {"a\x00b", "", false}, {"*.a", "", false},
		{long + ".a", long + ".a", true}, {long + "a.a", "", false}, {strings.Repeat("a.", 127) + "a", "", false},
		{"bücher.ch", "xn--bcher-kva.ch", true}, {"他们为什么不说中文.x", "xn--ihqwcrb4cv8a8dqg056pqjye.x", true}, {"\xff.x", "", false},
	} {
		got, ok := Name(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("Name(%q) = %q, %v", c.in, got, ok)
		}
	}
}

func TestFiles(t *testing.T) {
	c := ParseResolvConf([]byte("# x\nnameserver 192.0.2.1\nnameserver ::1 ; y\nnameserver x\nsearch a\noptions rotate timeout:3 attempts:9\n"))
	if fmt.Sprint(c) != "{[192.0.2.1:53 [::1]:53] 3s 5 true}" {
		t.Error(c)
	}
	s, bad := ParseServers("127.0.0.1:5353, ::1 [::1]:99 ns.example 1.2.3.4:x")
	if fmt.Sprint(s, bad) != "[127.0.0.1:5353 [::1]:53 [::1]:99] [ns.example 1.2.3.4:x]" {
		t.Error(s, bad)
	}
	h := ParseHosts([]byte("127.0.0.1 localhost Host.Example # c\n::1 localhost\nx y\n"))
	a, err := h.Addrs("LOCALHOST", IPv4|IPv6)
	if err != nil || !slices.Equal(a, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}) {
		t.Error(a, err)
	}
	if _, err := h.Addrs("host.example", IPv6); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// FuzzAnswer feeds an answer as a name server would send it.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("d.example.", dns.TypeMX)
	m := new(dns.Msg)
	m.SetReply(q)
	for _, s := range []string{"d.example. 1 IN CNAME e.example.", "e.example. 1 IN MX 1 m.example.", "d.example. 1 IN A 1.2.3.4"} {
		m.Answer = append(m.Answer, rr(f, s))
	}
	b, _ := m.Pack()
	f.Add(b, "d.example")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		n, ok := Name(name)
		if ok {
			if again, ok := Name(n); !ok || again != n {
				t.Errorf("Name(%q) = %q, then %q", name, n, again)
			}
		}
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		answers(m, q)
		cnameOf(m.Answer, n)
		for _, typ := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeAAAA} {
			a, _, _ := pick(m.Answer, n, n, typ)
			for _, mx := range a.mx {
				if _, ok := Name(mx.Host); !ok {
					t.Errorf("host %q", mx.Host)
				}
			}
		}
		negativeTTL(m)
	})
}
