package config

import (
	"strings"
	"testing"
	"time"
)

func TestExpand(t *testing.T) {
	c := mustLoad(t, `
myhostname = h.example
full = yes
one = $two
two = ${three}
three = deep
empty =
ten = 10
level = 3.11
`, "")
	for _, x := range []struct{ in, want string }{
		{"plain", "plain"},
		{"$one/$(two)/${ three }", "deep/deep/deep"},
		{"$undefined|$empty|", "||"},
		{"a$$b$$", "a$b$"},
		{"${full?text}", "text"},
		{"${empty?text}", ""},
		{"${empty:text $one}", "text deep"},
		{"${full:text}", ""},
		{"${full?{a b}}", "a b"},
		{"${full?{$one}:{b}}", "deep"},
		{"${empty?{a} : {b $three}}", "b deep"},
		{"${undefined?{a}:plain}", "plain"},
		{"${{$ten} == {10}?{same}:{other}}", "same"},
		{"${{$ten} < {9} ? {less} : {more}}", "more"},
		{"${{a} < {b}?{less}}", "less"},
		{"${{a} > {b}?{more}}", ""},
		{"${{$ten} != {010}?{x}:{y}}", "y"},
		{"${{3.6} <level {$level}?{old}:{new}}", "old"},
		{"${{3.6} < {$level}?{old}:{new}}", "new"},
		{"${{a} == {a}}", "bool"},
		{"${{a} == {b}}", ""},
		{"${stress?{10}:{300}}s", "300s"},
		{"$myhostname.$mydomain", "h.example.example"},
	} {
		got, err := c.Expand(x.in)
		if err != nil || got != x.want {
			t.Errorf("%s: got %q, %v, want %q", x.in, got, err, x.want)
		}
	}
	for _, in := range []string{"$", "a $ b", "${", "${}", "${one", "$(one}", "${{a} ~ {b}?{c}}", "${{a}}",
		"${one?{a}x}", "${one!}", "${one?{a}:{b}c}", "${{a} == b}"} {
		if got, err := c.Expand(in); err == nil {
			t.Errorf("%s: got %q and no error", in, got)
		}
	}
}

// A configuration that refers to itself, once or in twos, ends in an error
// soon, whether or not anything comes of it.
func TestExpandEnds(t *testing.T) {
	start := time.Now()
	for _, main := range []string{
		"relayhost = $relayhost",
		"relayhost = $a\na = $b$b\nb = $a$a",
		"relayhost = $a" + doubling(""),
		"relayhost = $a" + doubling("xx"),
	} {
		_, ps := load(t, main, "")
		if err := ps.Err(); err == nil || !strings.HasPrefix(err.Error(), "/c/main.cf, line 1: relayhost: ") {
			t.Errorf("%.40s: got %v", main, err)
		}
	}
	// myhostname and mydomain by each other are no reason to go on for ever.
	host := testHost
	host.Name = "short"
	for _, main := range []string{"mydomain = $myhostname", "mydomain = $myhostname$myhostname", "mydomain = ${mydomain}x"} {
		Source{Dir: "/c", Host: host, ReadFile: func(string) ([]byte, error) { return []byte(main), nil }}.Load()
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func doubling(last string) (s string) {
	for c := 'a'; c < 'z'; c++ {
		s += "\n" + string(c) + " = $" + string(c+1) + "$" + string(c+1)
	}
	return s + "\nz = " + last
}

func FuzzExpand(f *testing.F) {
	f.Add("${a?{$b}:{${{$c} <level {3.6}?x:y}}}$$ $(d)", "$e$e")
	f.Fuzz(func(t *testing.T, s, v string) {
		c := Config{main: []Setting{{Name: "a", Value: v}, {Name: "e", Value: "$a"}, {Name: "mydomain", Value: s}}, host: testHost}
		c.build(c.granted)
		c.Expand(s)
		references(s)
		SplitList(s)
		for _, p := range table {
			p.parse(s)
		}
	})
}
