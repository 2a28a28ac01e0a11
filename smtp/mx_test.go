package smtp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postrider/lib/config"
	"postrider/lib/dns"
	"postrider/lib/maillog"
)

// pair makes two servers on one port, at 127.0.0.1 and 127.0.0.2, the first and the
// second MX of d.test.
func pair(t *testing.T, first, second script) (a, b *server, ns string, next string) {
	t.Helper()
	a = listen(t, "127.0.0.1:0", first)
	for range 50 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", a.port()))
		if err == nil {
			l.Close()
			b = listen(t, fmt.Sprintf("127.0.0.2:%d", a.port()), second)
			break
		}
		a = listen(t, "127.0.0.1:0", first)
	}
	ns = zone(t, "d.test. 60 IN MX 10 mx1.test.", "d.test. 60 IN MX 20 mx2.test.", "mx1.test. 60 IN A 127.0.0.1", "mx2.test. 60 IN A 127.0.0.2")
	return a, b, ns, fmt.Sprintf("d.test:%d", a.port())
}

// TestNextServer: what the first server refuses for now goes to the second.
func TestNextServer(t *testing.T) {
	const one, two = "mx1.test[127.0.0.1]", "mx2.test[127.0.0.2]"
	sent := "250 2.0.0 Ok: queued as X"
	for _, c := range []struct {
		name          string
		first, second script
		to, set       string
		want, log     string
	}{
		{name: "greeting 554", first: script{"greeting": {"554 5.7.1 no"}}, want: "10 sent 2.0.0 " + sent + "\n",
			log: "Q1: host " + one + " refused to talk to me: 554 5.7.1 no\nQ1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=2.0.0, status=sent (" + sent + ")\n"},
		{name: "RCPT 450 for one", to: "a b c", first: script{"RCPT": {"250 ok", "450 4.7.1 grey", "550 5.1.1 no"}},
			want: "12 bounced 5.1.1 host " + one + " said: 550 5.1.1 no (in reply to RCPT TO command)\n10 sent 2.0.0 " + sent + "\n11 sent 2.0.0 " + sent + "\n",
			log: "Q1: host " + one + " said: 450 4.7.1 grey (in reply to RCPT TO command)\n" +
				"Q1: to=<c@b.test>, relay=" + one + ":PORT, delay=D, dsn=5.1.1, status=bounced (host " + one + " said: 550 5.1.1 no (in reply to RCPT TO command))\n" +
				"Q1: to=<a@b.test>, relay=" + one + ":PORT, delay=D, dsn=2.0.0, status=sent (" + sent + ")\n" +
				"Q1: to=<b@b.test>, relay=" + two + ":PORT, delay=D, dsn=2.0.0, status=sent (" + sent + ")\n"},
		{name: "RCPT 450 twice", first: script{"RCPT": {"450 one"}}, second: script{"RCPT": {"450 two"}},
			want: "10 deferred 4.0.0 host " + two + " said: 450 two (in reply to RCPT TO command)\n",
			log: "Q1: host " + one + " said: 450 one (in reply to RCPT TO command)\n" +
				"Q1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=4.0.0, status=deferred (host " + two + " said: 450 two (in reply to RCPT TO command))\n"},
		{name: "one session", set: "smtp_mx_session_limit=1", first: script{"RCPT": {"450 one"}}, want: "10 deferred 4.0.0 host " + one + " said: 450 one (in reply to RCPT TO command)\n",
			log: "Q1: to=<a@b.test>, relay=" + one + ":PORT, delay=D, dsn=4.0.0, status=deferred (host " + one + " said: 450 one (in reply to RCPT TO command))\n"},
		{name: "one address", set: "smtp_mx_address_limit=1", first: script{"greeting": {"421 one"}}, want: "10 deferred 4.0.0 host " + one + " refused to talk to me: 421 one\nhop deferred 4.0.0\n",
			log: "Q1: to=<a@b.test>, relay=" + one + ":PORT, delay=D, dsn=4.0.0, status=deferred (host " + one + " refused to talk to me: 421 one)\n"},
		{name: "second refuses for good", first: script{"MAIL": {"451 no"}}, second: script{"RCPT": {"550 5.1.1 no"}}, want: "10 bounced 5.1.1 host " + two + " said: 550 5.1.1 no (in reply to RCPT TO command)\n",
			log: "Q1: host " + one + " said: 451 no (in reply to MAIL FROM command)\n" +
				"Q1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=5.1.1, status=bounced (host " + two + " said: 550 5.1.1 no (in reply to RCPT TO command))\n"},
		{name: "dot 451", first: script{".": {"451 4.3.0 full"}}, want: "10 sent 2.0.0 " + sent + "\n",
			log: "Q1: host " + one + " said: 451 4.3.0 full (in reply to end of DATA command)\nQ1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=2.0.0, status=sent (" + sent + ")\n"},
		{name: "lost before the dot", first: script{"DATA": {"close"}}, want: "10 sent 2.0.0 " + sent + "\n",
			log: "Q1: lost connection with " + one + " while sending DATA command\nQ1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=2.0.0, status=sent (" + sent + ")\n"},
		{name: "lost after the dot", first: script{".": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + one + " while sending end of data -- message may be sent more than once\nhop deferred 4.4.2\n",
			log: "Q1: to=<a@b.test>, relay=" + one + ":PORT, delay=D, dsn=4.4.2, status=deferred (lost connection with " + one + " while sending end of data -- message may be sent more than once)\n"},
		// An earlier session that ended properly takes the blame from the destination.
		{name: "second is lost", first: script{"RCPT": {"450 one"}}, second: script{"MAIL": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + two + " while sending MAIL FROM\n",
			log: "Q1: host " + one + " said: 450 one (in reply to RCPT TO command)\n" +
				"Q1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=4.4.2, status=deferred (lost connection with " + two + " while sending MAIL FROM)\n"},
		{name: "own name at the worse MX", first: script{"greeting": {"421 x"}}, second: script{"EHLO": {"250 us.test"}}, want: "10 deferred 4.4.6 mail for mx2.test loops back to myself\nhop deferred 4.4.6\n",
			log: "Q1: host " + one + " refused to talk to me: 421 x\nwarning: host " + two + " replied to HELO/EHLO with my own hostname us.test\n" +
				"Q1: to=<a@b.test>, relay=" + two + ":PORT, delay=D, dsn=4.4.6, status=deferred (mail for mx2.test loops back to myself)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, ns, next := pair(t, c.first, c.second)
			r := newRig(t, ns, strings.Fields(c.set)...)
			to := strings.Fields(c.to)
			if len(to) == 0 {
				to = []string{"a"}
			}
			res := wait(t, r.ask(deliverTo(next, testMail, to...)))
			if got := render(res); got != c.want {
				t.Errorf("got  %swant %s", got, c.want)
			}
			if got := r.lines(); got != c.log {
				t.Errorf("log\n%swant\n%s", got, c.log)
			}
		})
	}
}

// TestDeadServers: nobody listens.
func TestDeadServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	ns := zone(t, "d.test. 60 IN MX 10 mx1.test.", "d.test. 60 IN MX 20 mx2.test.", "mx1.test. 60 IN A 127.0.0.1", "mx2.test. 60 IN A 127.0.0.2")
	r := newRig(t, ns)
	res := wait(t, r.ask(deliverTo(fmt.Sprintf("d.test:%d", port), testMail, "a", "b")))
	want := "10 deferred 4.4.1 connect to mx2.test[127.0.0.2]:PORT: Connection refused\n11 deferred 4.4.1 connect to mx2.test[127.0.0.2]:PORT: Connection refused\nhop deferred 4.4.1\n"
	if got := render(res); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	log := "connect to mx1.test[127.0.0.1]:PORT: Connection refused\nconnect to mx2.test[127.0.0.2]:PORT: Connection refused\n" +
		"Q1: to=<a@b.test>, relay=none, delay=D, dsn=4.4.1, status=deferred (connect to mx2.test[127.0.0.2]:PORT: Connection refused)\n" +
		"Q1: to=<b@b.test>, relay=none, delay=D, dsn=4.4.1, status=deferred (connect to mx2.test[127.0.0.2]:PORT: Connection refused)\n"
	if got := r.lines(); got != log {
		t.Errorf("log\n%swant\n%s", got, log)
	}
}

// TestNames: what the name servers say decides.
func TestNames(t *testing.T) {
	ns := zone(t, "null.test. 60 IN MX 0 .", "broken.test. SERVFAIL", "self.test. 60 IN MX 5 us.test.", "us.test. 60 IN A 192.0.2.1",
		"self.test. 60 IN MX 9 mx.self.test.", "mx.self.test. 60 IN A 127.0.0.9",
		"empty.test. 60 IN TXT x", "dangling.test. 60 IN MX 1 gone.dangling.test.", "half.test. 60 IN MX 1 broken.test.", "half.test. 60 IN MX 2 gone.test.")
	const nsText = "Host or domain name not found. Name service error for name="
	for _, c := range []struct{ next, set, want string }{
		{"null.test", "", "10 bounced 5.1.0 Domain null.test does not accept mail (nullMX)\n"},
		{"gone.test", "", "10 bounced 5.4.4 " + nsText + "gone.test type=MX: Host not found\n"},
		{"broken.test", "", "10 deferred 4.4.3 " + nsText + "broken.test type=MX: Host not found, try again\nhop deferred 4.4.3\n"},
		{"empty.test", "", "10 bounced 5.4.4 " + nsText + "empty.test type=A: Host found but no data record of requested type\n"},
		{"dangling.test", "", "10 bounced 5.4.4 " + nsText + "gone.dangling.test type=A: Host not found\n"},
		{"half.test", "", "10 deferred 4.4.3 " + nsText + "broken.test type=A: Host not found, try again\nhop deferred 4.4.3\n"},
		{"self.test", "", "10 bounced 5.4.6 mail for self.test loops back to myself\n"},
		{"[us.test]", "", "10 bounced 5.4.6 mail for us.test loops back to myself\n"},
		{"[192.0.2.1]", "", "10 bounced 5.4.6 mail for 192.0.2.1 loops back to myself\n"},
		{"[gone.test]", "", "10 bounced 5.4.4 " + nsText + "gone.test type=A: Host not found\n"},
		{"[gone.test]", "relayhost=[gone.test]", "10 deferred 4.3.5 " + nsText + "gone.test type=A: Host not found\nhop deferred 4.3.5\n"},
		{"gone.test", "smtp_fallback_relay=null.test", "10 deferred 4.3.5 Domain null.test does not accept mail (nullMX)\nhop deferred 4.3.5\n"},
		{"gone.test", "disable_dns_lookups=yes", "10 bounced 5.4.4 unable to look up host gone.test: Name or service not known\n"},
		{"broken.test", "disable_dns_lookups=yes", "10 deferred 4.4.3 unable to look up host broken.test: Temporary failure in name resolution\nhop deferred 4.4.3\n"},
		{"[x", "", "10 deferred 4.3.5 bad next hop: missing ] in \"[x\"\n"},
		{"x:y", "", "10 deferred 4.3.5 bad next hop: bad port in \"x:y\"\n"},
		{"", "", "10 deferred 4.4.4 no server to try for \n"},
		{"a b.test", "", "10 bounced 5.4.4 " + nsText + "b.test type=MX: Host not found\n"},
		{"bad..test", "", "10 bounced 5.4.4 Host or domain name not found. Name service error for bad..test: invalid host or domain name\n"},
	} {
		r := newRig(t, ns, strings.Fields(c.set)...)
		if got := render(wait(t, r.ask(deliverTo(c.next, testMail, "a")))); got != c.want {
			t.Errorf("%s %s:\ngot  %swant %s", c.next, c.set, got, c.want)
		}
	}
}

// TestLists: a list of next hops, a fallback relay, the hosts file.
func TestLists(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	dead := listen(t, "127.0.0.1:0", script{"greeting": {"421 no"}})
	ns := zone(t)
	good := fmt.Sprintf("[127.0.0.1]:%d", s.port())
	bad := fmt.Sprintf("[127.0.0.1]:%d", dead.port())
	const want = "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"
	for _, c := range []struct{ next, set string }{
		{bad + ", " + good, ""}, {"gone.test " + good, ""}, {"gone.test", "smtp_fallback_relay=" + good}, {bad, "smtp_fallback_relay=" + good},
		{fmt.Sprintf("local.test:%d", s.port()), "disable_dns_lookups=yes"}, {fmt.Sprintf("[local.test]:%d", s.port()), "smtp_host_lookup=native"},
		{fmt.Sprintf("[127.0.0.1]:%d", s.port()), "smtp_bind_address=127.0.0.1"}, {"[127.0.0.1]", fmt.Sprintf("smtp_tcp_port=%d", s.port())},
	} {
		r := newRig(t, ns, strings.Fields(c.set)...)
		if got := render(wait(t, r.ask(deliverTo(c.next, testMail, "a")))); got != want {
			t.Errorf("%s %s: %s", c.next, c.set, got)
		}
	}
}

func TestParseHop(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"d.test", "d.test 25 mx"}, {"[d.test]", "d.test 25"}, {"d.test:2525", "d.test 2525 mx"}, {"[d.test]:submission", "d.test 587"},
		{"[192.0.2.7]:26", "192.0.2.7 26 addr"}, {"[IPv6:2001:db8::1]", "2001:db8::1 25 addr"}, {"[2001:db8::1]:99", "2001:db8::1 99 addr"},
		{"192.0.2.7", "192.0.2.7 25 addr"}, {"[a]b", "error"}, {"[]", "error"}, {":25", "error"}, {"a:0", "error"}, {"a:99999", "error"},
	} {
		h, err := (&settings{port: 25}).parseHop(c.in)
		got := fmt.Sprint(h.name, " ", h.port)
		switch {
		case err != nil:
			got = "error"
		case h.addr.IsValid():
			got += " addr"
		case !h.noMX:
			got += " mx"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// TestOrder holds preferences, mixing, the cut at ourselves and the share of the
// protocols.
func TestOrder(t *testing.T) {
	conf, err := config.FromSnapshot(config.Snapshot{Dir: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	st := newSettings("smtp", false, 1, conf, files{}, maillog.New("x", maillog.Options{}))
	mk := func(pref int, addr string) target {
		return target{host: "h", addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 25), pref: uint16(pref)}
	}
	firsts := map[string]int{}
	for range 200 {
		l := []target{mk(20, "192.0.2.9"), mk(10, "192.0.2.1"), mk(10, "192.0.2.2"), mk(10, "192.0.2.3")}
		st.order(l)
		firsts[l[0].addr.Addr().String()]++
		if l[3].pref != 20 {
			t.Fatal(l)
		}
	}
	if len(firsts) != 3 {
		t.Errorf("equal preferences are not mixed: %v", firsts)
	}
	st.prefer = dns.IPv6
	l := []target{mk(10, "192.0.2.1"), mk(10, "2001:db8::1"), mk(5, "192.0.2.2")}
	st.order(l)
	if l[0].pref != 5 || !l[1].addr.Addr().Is6() {
		t.Error(l)
	}
	st.own = map[netip.Addr]bool{netip.MustParseAddr("192.0.2.5"): true}
	if l := st.cutSelf([]target{mk(5, "192.0.2.1"), mk(10, "192.0.2.2"), mk(10, "192.0.2.5"), mk(20, "192.0.2.7")}); len(l) != 1 {
		t.Error(l)
	}
	if l := st.cutSelf([]target{mk(5, "0.0.0.0"), mk(10, "192.0.2.2")}); len(l) != 0 {
		t.Error(l)
	}
	var many []target
	for i := range 8 {
		many = append(many, mk(10, fmt.Sprintf("2001:db8::%d", i)))
	}
	many = append(many, mk(20, "192.0.2.1"), mk(20, "192.0.2.2"), mk(20, "192.0.2.3"))
	out := st.balanced(many)
	if n := len(out); n != 5 || !out[4].addr.Addr().Is4() || !out[3].addr.Addr().Is4() || !out[2].addr.Addr().Is6() {
		t.Error(out)
	}
	if out := st.balanced(slices.Clone(many[:8])); len(out) != 5 {
		t.Error(out)
	}
}

// TestManyMX: forty hosts with many addresses are not all looked at.
func TestManyMX(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("d.test. 60 IN MX %d mx%d.test.", i, i))
		for j := range 5 {
			lines = append(lines, fmt.Sprintf("mx%d.test. 60 IN A 198.51.%d.%d", i, i, j))
		}
	}
	r := newRig(t, zone(t, lines...))
	e := r.c.env.Load()
	list, _, ok := e.resolve(context.Background(), e.service("smtp"), hop{name: "d.test", port: 25})
	if !ok || len(list) != 5 || list[0].host != "mx0.test" {
		t.Error(list, ok)
	}
}
