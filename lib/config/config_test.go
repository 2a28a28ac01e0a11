package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var testHost = Host{Name: "mail.example.org", Nets: []netip.Prefix{
	netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("::1/128")}}

// load reads a configuration from texts; further files come in pairs of name
// and text.
func load(t *testing.T, main, master string, more ...string) (*Config, Problems) {
	t.Helper()
	files := map[string]string{"/c/main.cf": main, "/c/master.cf": master}
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return Source{Dir: "/c", Host: testHost, ReadFile: func(path string) ([]byte, error) {
		s, ok := files[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(s), nil
	}}.Load()
}

func mustLoad(t *testing.T, main, master string, more ...string) *Config {
	t.Helper()
	c, ps := load(t, main, master, more...)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Params() {
		if seen[p.Name] {
			t.Errorf("%s twice", p.Name)
		}
		seen[p.Name] = true
		if (p.Help == "" || !strings.HasSuffix(p.Help, ".")) && (p.Support == Supported || p.Help != "") {
			t.Errorf("%s: help %q is no sentence", p.Name, p.Help)
		}
		if (p.Support == Supported) != (p.Why == "") {
			t.Errorf("%s is %s, because %q", p.Name, p.Support, p.Why)
		}
		if p.Kind == KindTime && p.Unit == 0 {
			t.Errorf("%s: time without unit", p.Name)
		}
	}
	mustLoad(t, "", "") // every default parses
	for _, p := range slices.Concat(ours...) {
		for _, q := range slices.Concat(postfixs...) {
			if p.Name == q.Name {
				t.Errorf("%s has a row, so remove it from postfix_*.go", p.Name)
			}
		}
	}
}

// Every parameter of Postfix 3.7, as Debian's `postconf -d` lists them, is known, and
// has the same default where this list does not say otherwise.
func TestPostfixParameters(t *testing.T) {
	list, err := os.ReadFile("testdata/debian/postconf-d")
	if err != nil {
		t.Fatal(err)
	}
	// Ours by intention: names, places, and defaults that depend on compatibility_level.
	differ := strings.Fields(`command_directory compatibility_level config_directory daemon_directory data_directory
		mail_name mail_owner mail_version myhostname mydomain mynetworks queue_directory
		append_dot_mydomain mynetworks_style relay_domains smtpd_relay_restrictions smtpd_forbid_unauth_pipelining
		alias_maps enable_long_queue_ids home_mailbox local_destination_concurrency_limit smtpd_forbid_bare_newline
		html_directory meta_directory readme_directory sample_directory shlib_directory`)
	plain := func(s string) string {
		return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' }), " ")
	}
	n := 0
	for line := range strings.Lines(string(list)) {
		name, def, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		n++
		p, ok := Lookup(name)
		switch {
		case !ok:
			t.Errorf("%s is not known", name)
		case !slices.Contains(differ, name) && p.compute == nil && plain(p.Default) != plain(def):
			t.Errorf("%s = %s, of Postfix: %s", name, p.Default, def)
		}
	}
	if n < 800 {
		t.Errorf("only %d parameters", n)
	}
}

func TestGetters(t *testing.T) {
	c := mustLoad(t, `
myhostname = host.example.com
smtpd_timeout = 5m
maximal_queue_lifetime = 3
mark_sync_delay = 50
soft_bounce = YES
mydestination = $myhostname, /c/dest, !/c/not
transport_maps = inline:{ {example.com = smtp:[x]:26}, b=c } texthash:/t
relay_destination_concurrency_limit = 7
slow_destination_rate_delay = 2m
`, `relay unix - - - - - smtp
slow unix - - - - 5 smtp
`, "/c/dest", "a.example\n# no\n  b.example, c.example\n", "/c/not", "d.example\n")
	for _, x := range []struct{ got, want any }{
		{c.String("mydomain"), "example.com"},
		{c.String("myorigin"), "host.example.com"},
		{c.String("smtpd_banner"), "host.example.com ESMTP Postrider"},
		{c.Duration("smtpd_timeout"), 5 * time.Minute},
		{c.Duration("maximal_queue_lifetime"), 3 * day},
		{c.Duration("mark_sync_delay"), 50 * time.Millisecond},
		{c.Duration("bounce_queue_lifetime"), 5 * day},
		{c.Bool("soft_bounce"), true},
		{c.Int("message_size_limit"), 10240000},
		{c.List("mydestination"), []string{"host.example.com", "a.example", "b.example", "c.example", "!d.example"}},
		{c.List("transport_maps"), []string{"inline:{ {example.com = smtp:[x]:26}, b=c }", "texthash:/t"}},
		{c.List("local_recipient_maps"), []string{"proxy:unix:passwd.byname", "hash:/etc/aliases"}},
		{c.String("mynetworks_style"), "host"},
		{c.List("mynetworks"), []string{"127.0.0.1/32", "192.0.2.7/32", "[::1]/128"}},
		{c.TransportInt("relay", "destination_concurrency_limit"), 7},
		{c.TransportInt("smtp", "destination_concurrency_limit"), 20},
		{c.TransportInt("local", "destination_recipient_limit"), 1},
		{c.TransportInt("smtp", "initial_destination_concurrency"), 5},
		{c.TransportDuration("slow", "destination_rate_delay"), 2 * time.Minute},
		{c.TransportString("slow", "destination_concurrency_positive_feedback"), "1"},
		{c.Int("smtpd_hard_error_limit"), 20},
		{c.String("config_directory"), "/c"},
		{c.String("forward_path"), "$home/.forward${recipient_delimiter}${extension}, $home/.forward"},
		{c.String("syslog_name"), "postfix"},
	} {
		if !reflect.DeepEqual(x.got, x.want) {
			t.Errorf("got %#v, want %#v", x.got, x.want)
		}
	}
	s, err := c.With(map[string]string{"stress": "yes", "myhostname": "other.example.net"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Int("smtpd_hard_error_limit") != 1 || s.Duration("smtpd_timeout") != 5*time.Minute || s.String("mydomain") != "example.net" {
		t.Error("overrides do not hold")
	}
	if c.String("mydomain") != "example.com" {
		t.Error("an override changed the Config it was made of")
	}
	if _, err := c.With(map[string]string{"hopcount_limit": "x"}); !errors.Is(err, ErrConfig) {
		t.Errorf("got %v", err)
	}
}
