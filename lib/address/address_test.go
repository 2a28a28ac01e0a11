package address

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/table"
)

var host = config.Host{Name: "mx.ours.example", Nets: []netip.Prefix{
	netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")}}

const base = `
myorigin = ours.example
mydestination = ours.example, $myhostname, localhost, also.example
relay_domains = relayed.example, !not.relayed.example
recipient_delimiter = +
proxy_interfaces = 198.51.100.1
local_recipient_maps = inline:{alice=1, bob+list=1, carol@ours.example=1, @also.example=1, MAILER-DAEMON=1}
relay_recipient_maps = inline:{known@relayed.example=1}
`

// resolver makes a Resolver of main.cf text; the only file there is holds a
// domain list.
func resolver(t testing.TB, main string) *Resolver {
	t.Helper()
	cfg, ps := config.Source{Dir: "/c", Host: host, ReadFile: func(path string) ([]byte, error) {
		if path == "/c/main.cf" {
			return []byte(main), nil
		}
		return nil, nil
	}}.Load()
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	r, err := New(cfg, func(path string) (*io.SectionReader, error) {
		const text = "tabled.example yes\n192.0.2.9 yes\n"
		if path != "/t" {
			return nil, fs.ErrNotExist
		}
		return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), nil
	})
	if err != nil {
		t.Log(err)
	}
	return r
}

func TestRewrite(t *testing.T) {
	for _, x := range []struct{ main, in, want string }{
		{"", "", ""},
		{"", "user", "user@ours.example"},
		{"", "postmaster", "postmaster@ours.example"},
		{"", "user@host", "user@host"},
		{"append_dot_mydomain = yes", "user@host", "user@host.ours.example"},
		{"append_dot_mydomain = yes", "user@[192.0.2.1]", "user@[192.0.2.1]"},
		{"", "user@host.example.", "user@host.example"},
		{"", "user@host..", "user@host.."},
		{"", "site!user", "user@site"},
		{"", "a!b!user", "b!user@a"},
		{"swap_bangpath = no", "site!user", "site!user@ours.example"},
		{"", "user%a%b", "user%a@b"},
		{"allow_percent_hack = no", "user%a", "user%a@ours.example"},
		{"", "user%a@b", "user%a@b"},
		{"", "@a,@b:user@c", "user@c"},
		{"", "@[IPv6:::1]:user@c", "user@c"},
		{"", "user@", "user@ours.example"},
		{"", "@", ""},
		{"", "%", ""},
		{"", "a b@c", "a b@c"},
	} {
		if got := resolver(t, base+x.main).Rewrite(mail.Address(x.in)); string(got) != x.want {
			t.Errorf("%s %q: got %q, want %q", x.main, x.in, got, x.want)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, x := range []struct{ main, in, want string }{
		{"", "alice@ours.example", "local mx.ours.example alice@ours.example local"},
		{"", "alice", "local mx.ours.example alice@ours.example local"},
		{"", "Alice@OURS.Example.", "local mx.ours.example Alice@OURS.Example local"},
		{"", "", "local mx.ours.example MAILER-DAEMON@ours.example local"},
		{"", "@ours.example", "local mx.ours.example MAILER-DAEMON@ours.example local"},
		{"", "a@[127.0.0.1]", "local mx.ours.example a@[127.0.0.1] local"},
		{"", "a@[IPv6:2001:db8::7]", "local mx.ours.example a@[IPv6:2001:db8::7] local"},
		{"", "a@[198.51.100.1]", "local mx.ours.example a@[198.51.100.1] local"},
		{"", "a@[203.0.113.5]", "smtp [203.0.113.5] a@[203.0.113.5] default"},
		{"", "a@[203.0.113.500]", "5.1.3"},
		{"", "a@203.0.113.5", "5.1.3"},
		{"resolve_numeric_domain = yes", "a@203.0.113.5", "smtp [203.0.113.5] a@[203.0.113.5] default"},
		{"resolve_numeric_domain = yes", "a@192.0.2.7", "local mx.ours.example a@[192.0.2.7] local"},
		{"", "a@b@also.example@ours.example", "smtp b a@b default routed"},
		{"", "u%also.example@ours.example", "local mx.ours.example u@also.example local"},
		{"", "a@Other.Example", "smtp other.example a@Other.Example default"},
		{"", "a@relayed.example", "relay relayed.example a@relayed.example relay"},
		{"", "a@sub.relayed.example", "relay sub.relayed.example a@sub.relayed.example relay"},
		{"relay_domains = !not.relayed.example, relayed.example", "a@x.not.relayed.example", "smtp x.not.relayed.example a@x.not.relayed.example default"},
		{"relay_domains = texthash:/t", "a@sub.tabled.example", "relay sub.tabled.example a@sub.tabled.example relay"},
		{"relay_domains = !texthash:/t, tabled.example", "a@tabled.example", "smtp tabled.example a@tabled.example default"},
		{"relay_domains = tabled.example, !texthash:/t", "a@tabled.example", "relay tabled.example a@tabled.example relay"},
		{"mydestination = .wild.example", "a@x.wild.example", "local mx.ours.example a@x.wild.example local"},
		{"mydestination = wild.example", "a@x.wild.example", "smtp x.wild.example a@x.wild.example default"},
		{"relayhost = [gw.example]:587", "a@other.example", "smtp [gw.example]:587 a@other.example default"},
		{"relayhost = gw.example", "a@relayed.example", "relay gw.example a@relayed.example relay"},
		{"relayhost = gw.example", "a@ours.example", "local mx.ours.example a@ours.example local"},
		{"default_transport = slow:[up.example]\nrelayhost = gw.example", "a@other.example", "slow [up.example] a@other.example default"},
		{"local_transport = lmtp:unix:/run/x", "a@ours.example", "lmtp unix:/run/x a@ours.example local"},
		{"relayhost = gw\ntransport_maps = inline:{other.example=slow:}", "a@other.example", "slow other.example a@other.example default"},
		{"relayhost = gw\ntransport_maps = inline:{other.example=slow}", "a@other.example", "slow other.example a@other.example default"},
		{"relayhost = gw\ntransport_maps = inline:{other.example=:}", "a@other.example", "smtp gw a@other.example default"},
		{"transport_maps = inline:{other.example=:[next]:26}", "a@other.example", "smtp [next]:26 a@other.example default"},
		{"transport_maps = inline:{.example=up:, other.example=x:}", "a@sub.other.example", "up sub.other.example a@sub.other.example default"},
		{"transport_maps = inline:{a@other.example=x:, other.example=y:}", "a+b@OTHER.example", "x other.example a+b@OTHER.example default"},
		{"transport_maps = inline:{{*=error:5.7.1 no mail today}}", "a@other.example", "error 5.7.1 no mail today a@other.example default"},
		{"", "-x@ours.example", "5.1.3"},
		{"", "-x@other.example", "5.1.3"},
		{"allow_min_user = yes", "-x@other.example", "smtp other.example -x@other.example default"},
		{"", "a@-bad.example", "5.1.3"},
		{"", "a@b c", "5.1.3"},
		{"", "a@b..c", "5.1.3"},
		{"", "@other.example", "5.1.3"},
		{"", "@@", "5.1.3"},
	} {
		r := resolver(t, base+x.main)
		rt, err := r.Resolve(context.Background(), "", mail.Address(x.in))
		got := rt.Transport + " " + rt.NextHop + " " + string(rt.Recipient) + " " + rt.Class.String()
		if rt.Routed {
			got += " routed"
		}
		if rt.Bad != nil {
			got = rt.Bad.DSN
		}
		if err != nil || got != x.want {
			t.Errorf("%s %q: got %q, %v, want %q", x.main, x.in, got, err, x.want)
		}
	}
}

// Nobody gets mail relayed by hiding its destination in an address of ours.
func TestAuthorised(t *testing.T) {
	r := resolver(t, base)
	for in, want := range map[string]bool{
		"user@ours.example":                                          true,
		"user@relayed.example":                                       true,
		"user":                                                       true,
		"user%also.example@ours.example":                             true,
		"user@other.example":                                         false,
		"user%other.example@ours.example":                            false,
		"user@other.example@ours.example":                            false, // "user@other.example"@ours.example
		"@ours.example:user@other.example":                           false,
		"@ours.example,@also.example:user@x.y":                       false,
		"other.example!user@ours.example":                            false,
		"other.example!user":                                         false,
		"user%other.example":                                         false,
		"a!b!user@ours.example":                                      false,
		"user%other.example@relayed.example":                         false,
		"other.example!user@relayed.example":                         false,
		"user@other.example@relayed.example":                         false,
		"@relayed.example:user@other.example":                        false,
		"@ours.example:user@relayed.example":                         false,
		"user%relayed.example@ours.example":                          false,
		"user%other.example%ours.example@[127.0.0.1]":                false,
		"@ours.example:other.example!user%also.example@ours.example": false,
		"user@[203.0.113.9]":                                         false,
		"user@[127.0.0.1]":                                           true,
		"user@other.example@[127.0.0.1]":                             false,
		"user@ours.example.evil.example":                             false,
		"-o@ours.example":                                            false,
	} {
		rt, err := r.Resolve(context.Background(), "", mail.Address(in))
		if err != nil || rt.Authorised() != want {
			t.Errorf("%s: got %v, %v (%+v)", in, rt.Authorised(), err, rt)
		}
	}
}

func TestListed(t *testing.T) {
	for _, x := range []struct {
		main, in string
		want     bool
		reason   string
	}{
		{"", "Alice@ours.example", true, ""},
		{"", "alice+any@mx.ours.example", true, ""},
		{"", "bob+list@ours.example", true, ""},
		{"", "bob@ours.example", false, "User unknown in local recipient table"},
		{"", "carol@ours.example", true, ""},
		{"", "carol@localhost", false, "User unknown in local recipient table"},
		{"", "anyone@also.example", true, ""},
		{"", "double-bounce@ours.example", true, ""},
		{"", "known+x@relayed.example", true, ""},
		{"", "other@relayed.example", false, "User unknown in relay recipient table"},
		{"", "any@other.example", true, ""},
		{"local_recipient_maps =", "bob@ours.example", true, ""},
		{"relay_recipient_maps =", "other@relayed.example", true, ""},
	} {
		r := resolver(t, base+x.main)
		rt, err := r.Resolve(context.Background(), "", mail.Address(x.in))
		if err != nil {
			t.Fatal(err)
		}
		ok, reason, err := r.Listed(context.Background(), rt)
		if ok != x.want || reason != x.reason || err != nil {
			t.Errorf("%s %s: got %v %q %v", x.main, x.in, ok, reason, err)
		}
	}
}

func TestTrusted(t *testing.T) {
	for _, x := range []struct {
		networks, ip string
		want         bool
	}{
		{"127.0.0.0/8 [::1]/128", "127.3.4.5", true},
		{"127.0.0.0/8 [::1]/128", "::1", true},
		{"127.0.0.0/8 [::1]/128", "::ffff:127.0.0.1", true},
		{"127.0.0.0/8 [::1]/128", "10.0.0.1", false},
		{"!10.0.0.5, 10.0.0.0/8", "10.0.0.5", false},
		{"!10.0.0.5, 10.0.0.0/8", "10.0.0.6", true},
		{"10.0.0.0/8, !10.0.0.5", "10.0.0.5", true},
		{"[2001:db8::]/32", "2001:db8:1::1", true},
		{"2001:db8::/32, 192.0.2.1", "192.0.2.1", true},
		{"texthash:/t", "192.0.2.9", true},
		{"!texthash:/t 0.0.0.0/0", "192.0.2.9", false},
		{"[fe80::]/10", "fe80::1%eth0", true},
		{"[::ffff:127.0.0.0]/104", "127.0.0.9", true},
		{"[::ffff:127.0.0.0]/104", "128.0.0.9", false},
		{"", "127.0.0.1", false},
	} {
		r := resolver(t, "mynetworks = "+x.networks)
		ok, err := r.Trusted(context.Background(), netip.MustParseAddr(x.ip))
		if ok != x.want || err != nil {
			t.Errorf("%s in %s: got %v, %v", x.ip, x.networks, ok, err)
		}
	}
	for _, networks := range []string{"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x", "!host.example, 0.0.0.0/0", "texthash:/missing"} {
		r := resolver(t, "mynetworks = "+networks)
		if ok, err := r.Trusted(context.Background(), netip.MustParseAddr("10.0.0.2")); ok || !errors.Is(err, table.ErrTemp) {
			t.Errorf("%s: got %v, %v", networks, ok, err)
		}
	}
}

// A table that cannot be read makes mail wait.
func TestTemporary(t *testing.T) {
	for _, main := range []string{"transport_maps = texthash:/missing", "relay_domains = texthash:/missing",
		"mydestination = texthash:/missing"} {
		if rt, err := resolver(t, main).Resolve(context.Background(), "", "a@other.example"); !errors.Is(err, table.ErrTemp) {
			t.Errorf("%s: got %+v, %v", main, rt, err)
		}
	}
	r := resolver(t, base+"local_recipient_maps = texthash:/missing")
	rt, _ := r.Resolve(context.Background(), "", "a@ours.example")
	if ok, _, err := r.Listed(context.Background(), rt); ok || !errors.Is(err, table.ErrTemp) {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestVerdict(t *testing.T) {
	for _, x := range []struct {
		transport, hop string
		want           mail.Status
	}{
		{"error", "5.1.6 User has moved", mail.Status{Class: mail.Bounced, DSN: "5.1.6", Text: "User has moved"}},
		{"error", "no code here", mail.Status{Class: mail.Bounced, DSN: "5.0.0", Text: "no code here"}},
		{"error", "4.2.1 later", mail.Status{Class: mail.Deferred, DSN: "4.2.1", Text: "later"}},
		{"retry", "4.4.1 later", mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "later"}},
		{"retry", "5.1.1 never", mail.Status{Class: mail.Deferred, DSN: "4.0.0", Text: "never"}},
		{"discard", "silently", mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "silently"}},
	} {
		if s, ok := Verdict(x.transport, x.transport, x.hop); !ok || s != x.want {
			t.Errorf("%s:%s: got %+v", x.transport, x.hop, s)
		}
	}
	if _, ok := Verdict("relay", "smtp", "5.1.1 x"); ok {
		t.Error("relay is no target")
	}
}

// Whatever the address: who is authorised goes to a domain of ours and no
// operator is left that could take it further, and the route is stable.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"a@ours.example", "a%b@ours.example", "@a:b!c%d@[127.0.0.1]", "a@b@relayed.example", "%!@."} {
		f.Add(s)
	}
	r := resolver(f, base)
	f.Fuzz(func(t *testing.T, s string) {
		ctx := context.Background()
		rt, err := r.Resolve(ctx, "", mail.Address(s))
		if err != nil {
			t.Fatal(err)
		}
		if rt.Bad != nil {
			return
		}
		if rt.Transport == "" || rt.NextHop == "" {
			t.Fatalf("no transport: %+v", rt)
		}
		if strings.ContainsAny(rt.Recipient.Local(), "@!%") && rt.Authorised() {
			t.Fatalf("an operator is left: %+v", rt)
		}
		again, err := r.Resolve(ctx, "", rt.Recipient)
		if err != nil || again.Class != rt.Class || again.NextHop != rt.NextHop || again.Recipient != rt.Recipient {
			t.Fatalf("not stable: %+v, %+v, %v", rt, again, err)
		}
		r.Listed(ctx, rt)
	})
}

// What is wrong with patterns and names of tables is said by New.
func TestProblems(t *testing.T) {
	empty := func(string) (*io.SectionReader, error) { return io.NewSectionReader(strings.NewReader(""), 0, 0), nil }
	for main, want := range map[string]string{
		"mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\ntransport_maps = texthash:/missing": "",
		"mynetworks = 10.0.0.1/8":      "non-null host address bits in 10.0.0.1/8, perhaps you should use 10.0.0.0/8 instead",
		"transport_maps = mysql:/x":    `bad table: mysql:/x: type "mysql" is not supported (` + strings.Join(table.Types(), ", ") + ")",
		"relay_domains = inline:{a.b}": `bad table: inline:{a.b}: expected key=value, not "a.b"`,
	} {
		cfg, ps := config.Source{Dir: "/c", Host: host, ReadFile: func(path string) ([]byte, error) {
			if path == "/c/main.cf" {
				return []byte("local_recipient_maps =\n" + main), nil
			}
			return nil, nil
		}}.Load()
		if ps.Err() != nil {
			t.Fatal(ps.Err())
		}
		got := ""
		if _, err := New(cfg, empty); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q", main, got)
		}
	}
}
