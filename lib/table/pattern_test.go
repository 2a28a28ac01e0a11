package table

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func lookup(t *testing.T, o Options, spec, key string) string {
	t.Helper()
	m, err := Open([]string{spec}, o)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	v, ok, err := m.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return "ERROR " + err.Error()
	case !ok:
		return "-"
	}
	return v
}

func TestPatterns(t *testing.T) {
	o := Options{Open: files("/r", `
# comment
/^(.*)-outgoing@(.*)$/   550 Use ${1}@$(2) instead, $$1
!/@example\.(com|org)$/  not ours
if /^a/
if !/^ab/
/^ac(d+)/i               case matters: $1
/c/                      inner
endif
/^ab/                    begins with ab
endif
m{x{2,}{             odd delimiter is wrong here
=^/dev=                  a path
/one|onetwo/             longest
/^last/
  REJECT continued
`[1:], "/p", "/b(a+?)(a*)/ $1.$2\n/(?i)x/U u\n/^dot.all$/ dot\n/^line$/m line\n", "/ok", "/(one|onetwo)/ $1\n")}
	m, err := Open([]string{"regexp:/r"}, o)
	if !errors.Is(err, ErrText) || !strings.Contains(err.Error(), "/r, line 11: expected /pattern/") {
		t.Fatalf("got %v", err)
	}
	for key, want := range map[string]string{
		"List-outgoing@Example.com": "550 Use List@Example.com instead, $1",
		"joe@other.example":         "not ours",
		"acDD@example.com":          "inner", // the flag makes it mind the case
		"acdd@example.com":          "case matters: dd",
		"ab@example.com":            "begins with ab",
		"azc@example.com":           "inner",
		"/dev/null@example.com":     "a path",
		"last@example.com":          "REJECT continued",
		"other@example.com":         "-",
	} {
		v, ok, err := m.Lookup(context.Background(), key)
		if !ok {
			v = "-"
		}
		if v != want || err != nil {
			t.Errorf("%s: got %q %v, want %q", key, v, err, want)
		}
	}
	for _, x := range [][3]string{
		{"regexp:/ok", "onetwothree", "onetwo"}, // leftmost longest
		{"pcre:/ok", "onetwothree", "one"},      // Perl's
		{"pcre:/p", "baaa", "a.aa"}, {"pcre:/p", "X", "u"}, {"pcre:/p", "dot\nall", "dot"}, {"pcre:/p", "x\nline", "u"}, {"pcre:/p", "q\nline", "line"},
	} {
		if got := lookup(t, o, x[0], x[1]); got != x[2] {
			t.Errorf("%s %q: got %q, want %q", x[0], x[1], got, x[2])
		}
	}
}

// What RE2 has not is said by name, with the line; the other lines hold.
func TestNotRE2(t *testing.T) {
	for line, want := range map[string]string{
		`/foo(?!bar)/ x`:  `line 1: pattern /foo(?!bar)/: "(?!" is look-ahead, which RE2 has not`,
		`/(?<=a)b/ x`:     `look-behind`,
		`/(a)\1/ x`:       `"\\1" is a back-reference, which RE2 has not`,
		`/a++/ x`:         `possessive quantifier`,
		`/a/x y`:          `flag 'x' needs what RE2 has not`,
		`/a(/ x`:          `missing closing )`,
		`/a/q y`:          `unknown flag 'q'`,
		`/a x`:            `no closing delimiter`,
		`/(a)/ $2`:        `out of range replacement index "2"`,
		`/(a)/ $x`:        `write $$ for a dollar`,
		`!/(a)/ $1`:       `negated`,
		`if /a/ b`:        `unexpected text`,
		`endif`:           `endif without if`,
		"if /a/\n/b/ c":   `if without endif`,
		`plain text here`: `expected /pattern/`,
	} {
		m, err := Open([]string{"pcre:/t"}, Options{Open: files("/t", line+"\n/^good$/ yes\n")})
		if !errors.Is(err, ErrText) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", line, err)
		}
		if v, _, _ := m.Lookup(context.Background(), "good"); v != "yes" && !strings.Contains(line, "if /a/") {
			t.Errorf("%s: the good line does not hold", line)
		}
	}
	_, err := Open([]string{"regexp:/t"}, Options{Fixed: true, Open: files("/t", "/^(.*)$/ |cmd $1\n")})
	if err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("a part of the address in a command: %v", err)
	}
}

func TestNetworksTable(t *testing.T) {
	o := Options{Open: files("/c", "192.0.2.1 host\n!192.0.0.0/8\tnot in 192\nif 192.0.2.0/24\n192.0.2.128/25 upper\n192.0.2.0/24 lower\nendif\n[2001:db8::]/32 six\n::1 lo\n",
		"/bad", "192.0.2.1/24 x\nname y\n192.0.2.0/24\nif 1.2.3.0/33\n10.0.0.1 hidden\nendif\n10.0.0.2 seen\n")}
	for key, want := range map[string]string{"192.0.2.1": "host", "10.1.1.1": "not in 192", "192.0.2.200": "upper", "192.0.2.7": "lower",
		"192.7.7.7": "-", "2001:db8::5": "not in 192", "example.com": "-"} {
		if got := lookup(t, o, "cidr:/c", key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	m, err := Open([]string{"cidr:/bad"}, o)
	for _, want := range []string{"line 1: non-null host address bits", "line 2: bad network pattern", "line 3: expected format", "line 4: bad network"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	if _, ok, _ := m.Lookup(context.Background(), "10.0.0.1"); ok {
		t.Error("a line of a block whose if is wrong holds")
	}
	if v, _, _ := m.Lookup(context.Background(), "10.0.0.2"); v != "seen" {
		t.Error("the line behind does not hold")
	}
}

func TestCombined(t *testing.T) {
	o := Options{Open: files("/h", "a b\n", "/r", "/^a/ r\n/user@/ whole\n")}
	for _, x := range [][3]string{
		{"unionmap:{hash:/h, regexp:/r, inline:{ {a = c, d} }}", "a", "b,r,c, d"},
		{"unionmap:{hash:/h}", "x", "-"},
		{"pipemap:{hash:/h, inline:{b=c}}", "a", "c"},
		{"pipemap:{hash:/h, inline:{x=c}}", "a", "-"},
		{"randmap:{one}", "a", "one"},
		{"unionmap:{inline:{a=1},fail:now}", "a", "ERROR fail:now: temporary lookup failure"},
	} {
		if got := lookup(t, o, x[0], x[1]); got != x[2] {
			t.Errorf("%s: got %q, want %q", x[0], got, x[2])
		}
	}
	for _, bad := range []string{"unionmap:{}", "pipemap:hash:/h", "unionmap:{{hash:/h}", "unionmap:{nothing}", "randmap:{}"} {
		if _, err := Parse(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if got := strings.Join(Files([]string{"unionmap:{hash:/h,pipemap:{regexp:/r,unix:passwd.byname}}"}), " "); got != "/h.cdb /r /etc/passwd" {
		t.Errorf("files: %s", got)
	}
	// Parts of a key are not looked up in patterns.
	m, _ := Open([]string{"regexp:/r", "hash:/h"}, o)
	if v, at, _ := m.Find(context.Background(), []string{"x@user", "a"}); v != "b" || at != 1 {
		t.Errorf("got %q by key %d", v, at)
	}
	if v, at, _ := m.Find(context.Background(), []string{"user@x", "a"}); v != "whole" || at != 0 {
		t.Errorf("got %q by key %d", v, at)
	}
}

func FuzzPatterns(f *testing.F) {
	f.Add("if /a/\n!/b(c)/i x$$\n/d(e)/ $1\nendif\n", "adde", true)
	f.Fuzz(func(t *testing.T, text, key string, perl bool) {
		p, _ := parsePatterns("f", text, perl, false)
		p.Lookup(context.Background(), key)
		n, _ := parseNetworks("f", text)
		n.Lookup(context.Background(), key)
	})
}
