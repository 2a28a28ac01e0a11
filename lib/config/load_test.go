package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestProblems(t *testing.T) {
	_, ps := load(t, `myhostname = h.example
hopcount_limit = many
soft_bounce = maybe
smtpd_timeout = 5x
mynetworks_style = all
inet_protocols = ipv5
line_length_limit = 1
foo = bar
used = 1
relayhost = ${unset?{$used}}
biff = no
postscreen_greet_action = enforce
relay_destination_recipient_limit = none
nobody_destination_recipient_limit = 3
mydestination = /c/missing
qmqpd_timeout = 5m
via_master = 3
smtp_bind_address = ::1
dns_nameservers = 127.0.0.1
default_destination_concurrency_positive_feedback = 1/many
myorigin = a b
`, `relay unix - - - - - smtp -o smtp_helo_timeout=soon -o bar=$via_master -o zz=1
`)
	want := []string{
		"0 /c/main.cf, line 2: bad numerical configuration: hopcount_limit = many (a number without a unit is needed)",
		"0 /c/main.cf, line 3: bad boolean configuration: soft_bounce = maybe (write yes or no)",
		"0 /c/main.cf, line 4: bad time configuration: smtpd_timeout = 5x (a number and s, m, h, d or w)",
		"0 /c/main.cf, line 5: bad value: mynetworks_style = all (one of: host, subnet, class)",
		"0 /c/main.cf, line 6: bad value in inet_protocols: ipv5 (one of: all, ipv4, ipv6)",
		"0 /c/main.cf, line 7: invalid line_length_limit parameter value 1 < 512",
		"0 /c/main.cf, line 13: bad numerical configuration: relay_destination_recipient_limit = none (a number without a unit is needed)",
		"0 /c/main.cf, line 15: pattern list: open /c/missing: file does not exist",
		"0 /c/main.cf, line 18: bad value: smtp_bind_address = ::1 (an IPv4 address is needed)",
		"0 /c/main.cf, line 19: bad value: dns_nameservers = 127.0.0.1 (write address:port, for example 127.0.0.1:53 or [::1]:53)",
		"0 /c/main.cf, line 20: bad value: default_destination_concurrency_positive_feedback = 1/many (write a number from 0 to 1, a/b, a/concurrency or a/sqrt_concurrency)",
		"0 /c/main.cf, line 21: bad value: myorigin = a b (a host or domain name is needed)",
		"0 /c/master.cf, line 1: bad time configuration: smtp_helo_timeout = soon (a number and s, m, h, d or w)",
		"2 /c/main.cf, line 8: unused parameter: foo=bar",
		"2 /c/main.cf, line 14: unused parameter: nobody_destination_recipient_limit=3",
		"2 /c/master.cf, line 1: unused parameter: bar=$via_master",
		"2 /c/master.cf, line 1: unused parameter: zz=1",
		"3 /c/main.cf, line 11: biff has no effect: terminals get no notice of new mail",
		"4 /c/main.cf, line 12: postscreen_greet_action is not supported: there is no postscreen; smtpd answers every client itself",
		"4 /c/main.cf, line 16: qmqpd_timeout is not supported: QMQP is not spoken; use SMTP",
	}
	got := map[string]bool{}
	for _, p := range ps {
		got[string('0'+rune(p.Severity))+" "+p.String()] = true
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("missing: %s", w)
		}
		delete(got, w)
	}
	for g := range got {
		t.Errorf("unexpected: %s", g)
	}
}

func TestMissingFiles(t *testing.T) {
	_, ps := Source{Dir: "/none", Host: testHost, ReadFile: func(path string) ([]byte, error) { return nil, &missing{path} }}.Load()
	if err := ps.Err(); err == nil || !strings.Contains(err.Error(), "/none/main.cf") || !strings.Contains(err.Error(), "choose the directory with -c") {
		t.Errorf("got %v", err)
	}
}

type missing struct{ path string }

func (m *missing) Error() string { return "open " + m.path + ": no such file or directory" }

func TestHostDefaults(t *testing.T) {
	nets := func(words ...string) (ps []netip.Prefix) {
		for _, w := range words {
			ps = append(ps, netip.MustParsePrefix(w))
		}
		return ps
	}
	all := nets("127.0.0.1/8", "10.1.2.3/22", "172.16.9.9/28", "::1/128", "fd00::5/64")
	for _, x := range []struct{ host, main, name, want string }{
		{"short", "", "myhostname", "short.localdomain"},
		{"short", "mydomain = d.example", "myhostname", "short.d.example"},
		{"short", "", "mydomain", "localdomain"},
		{"a.b.example", "", "mydomain", "b.example"},
		{"a.b.example", "myhostname = single", "mydomain", "localdomain"},
		{"", "", "myhostname", "localhost.localdomain"},
		{"h.example", "", "mynetworks", "127.0.0.1/32 10.1.2.3/32 172.16.9.9/32 [::1]/128 [fd00::5]/128"},
		{"h.example", "mynetworks_style = subnet", "mynetworks", "127.0.0.0/8 10.1.0.0/22 172.16.9.0/28 [::1]/128 [fd00::]/64"},
		{"h.example", "mynetworks_style = class", "mynetworks", "127.0.0.0/8 10.0.0.0/8 172.16.0.0/16 [::1]/128 [fd00::]/64"},
		{"h.example", "inet_interfaces = loopback-only", "mynetworks", "127.0.0.1/32 [::1]/128"},
		{"h.example", "inet_interfaces = localhost, 10.1.2.3\nmynetworks_style=subnet\ninet_protocols = ipv4", "mynetworks", "127.0.0.0/8 10.1.0.0/22"},
		{"h.example", "inet_interfaces = 192.0.2.1, [2001:db8::1]", "mynetworks", "192.0.2.1/32 [2001:db8::1]/128"},
		{"h.example", "mynetworks = 10.0.0.0/8", "mynetworks", "10.0.0.0/8"},
	} {
		c, ps := Source{Dir: "/c", Host: Host{Name: x.host, Nets: all}, ReadFile: func(path string) ([]byte, error) {
			if path == "/c/main.cf" {
				return []byte(x.main), nil
			}
			return nil, nil
		}}.Load()
		if ps.Err() != nil {
			t.Fatal(ps.Err())
		}
		if got := c.Text(x.name); got != x.want {
			t.Errorf("%s, %q: %s: got %q, want %q", x.host, x.main, x.name, got, x.want)
		}
	}
	if h := ThisHost(); h.Name == "" || len(h.Nets) == 0 {
		t.Errorf("ThisHost: %+v", h)
	}
}

func TestSnapshot(t *testing.T) {
	c := mustLoad(t, "myhostname = h\xe9.example\nmydestination = /c/d\nfoo = 1\nrelayhost = [x]:$foo\nsmtp_destination_rate_delay=3s", `
smtp inet n - y - - smtpd -o smtpd_timeout=3s
smtp unix - - - 60? - smtp -v -o smtp_bind_address=192.0.2.1
`, "/c/d", "a.example")
	c.host.Names = map[string][]netip.Addr{"n.example": {netip.MustParseAddr("192.0.2.9")}}
	snap := c.Snapshot()
	b := snap.Append(nil)
	got, err := DecodeSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range snap.Settings { // lines stay with master
		snap.Settings[i].File, snap.Settings[i].Line = "", 0
	}
	if !reflect.DeepEqual(got, snap) {
		t.Errorf("got  %+v\nwant %+v", got, snap)
	}
	d, err := FromSnapshot(got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(d.values, c.values) {
		t.Error("the values differ")
	}
	s, ok := d.Service("smtp", "unix")
	if !ok || s.MaxProc != 100 {
		t.Fatalf("service: %+v", s)
	}
	e, err := d.ForService(s)
	if err != nil || e.String("smtp_bind_address") != "192.0.2.1" {
		t.Errorf("ForService: %v", err)
	}
	if v, _ := e.Expand("x/$service_name"); v != "x/smtp" {
		t.Errorf("service_name: %s", v)
	}
	for i := range b {
		if _, err := DecodeSnapshot(b[:i]); err != ErrSnapshot {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	s := Snapshot{Dir: "/c", Settings: []Setting{{Name: "a", Value: "b"}}, Host: testHost, Files: map[string]string{"/f": "x"},
		Services: []Service{{Name: "smtp", Type: "inet", Command: "smtpd", Overrides: map[string]string{"a": "b"}}}}
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeSnapshot(b); err == nil {
			FromSnapshot(s)
		}
	})
}

// Debian's stock files start as they are (a copy of 3.7's, with the lines that
// its installer writes).
func TestDebian(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("testdata/debian/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c, ps := load(t, read("main.cf"), read("master.cf"), "/etc/mailname", "mail.example.org\n")
	for _, p := range ps {
		if p.Severity != NoEffect && p.Severity != Missing {
			t.Error(p)
		}
	}
	if c.String("myorigin") != "mail.example.org" || len(c.Services()) != 27 {
		t.Errorf("myorigin %s, %d services", c.String("myorigin"), len(c.Services()))
	}
	s, _ := c.Service("relay", "unix")
	r, err := c.ForService(s)
	if err != nil || r.String("syslog_name") != "postfix/relay" {
		t.Errorf("relay: %v", err)
	}
	d, err := FromSnapshot(c.Snapshot())
	if err != nil || d.String("myorigin") != "mail.example.org" {
		t.Errorf("the snapshot lacks /etc/mailname: %v", err)
	}
}

// What nothing reads is named by check, also under the name of a transport.
func TestNoEffectOfTransport(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf":   "default_delivery_slot_cost = 3\nslow_recipient_limit = 5\nslow_destination_concurrency_limit = 2\n",
		"master.cf": "slow unix - - n - - smtp\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, problems := Load(dir)
	var got []string
	for _, p := range problems {
		if p.Severity == NoEffect {
			got = append(got, p.Text)
		}
	}
	want := []string{"default_delivery_slot_cost has no effect: a message never waits for all of a larger one: they take turns",
		"slow_recipient_limit has no effect: qmgr_message_recipient_limit alone bounds what is in memory"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A long main.cf as how-tos have it is read as it is: nothing in it is refused, and each
// parameter that does nothing here is one line, with the reason.
func TestLongMain(t *testing.T) {
	text, err := os.ReadFile("testdata/long-main.cf")
	if err != nil {
		t.Fatal(err)
	}
	master, err := os.ReadFile("testdata/debian/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	c, ps := load(t, string(text), string(master), "/etc/mailname", "example.org\n")
	lines := map[int]int{}
	for _, p := range ps {
		if p.Severity != NoEffect && p.Severity != Missing {
			t.Error(p)
		}
		if !strings.Contains(p.Text, ": ") {
			t.Errorf("no reason: %s", p)
		}
		lines[p.Line]++
	}
	for _, s := range c.Settings() {
		p, ok := Lookup(s.Name)
		if want := ok && p.Support != Supported; want != (lines[s.Line] == 1) || lines[s.Line] > 1 {
			t.Errorf("%s (%s) has %d lines", s.Name, p.Support, lines[s.Line])
		}
	}
	if len(lines) < 10 || len(c.Settings()) < 75 {
		t.Errorf("%d lines about %d settings", len(lines), len(c.Settings()))
	}
}
