package table

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// files makes an Opener of names and texts; NAME.cdb is made of the text of NAME.
func files(pairs ...string) Opener {
	return func(path string) (*io.SectionReader, error) {
		for i := 0; i < len(pairs); i += 2 {
			text := pairs[i+1]
			if pairs[i]+IndexSuffix == path {
				text = index(pairs[i], text)
			} else if pairs[i] != path {
				continue
			}
			return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}

// index is what postmap, or postalias for the name aliases, makes of a text.
func index(path, text string) string {
	var records []Record
	ReadSource(path, text, strings.HasSuffix(path, "aliases"), func(k, v string) bool {
		records = append(records, Record{strings.ToLower(k), v})
		return true
	})
	var b bytes.Buffer
	WriteIndex(&b, records, false)
	return b.String()
}

func TestLookup(t *testing.T) {
	open := files("/t", "# comment\nexample.com  smtp:[relay.example]:26\n\nA@Example.COM error:5.1.6 moved to\n  elsewhere\n"+
		"\"two words\"\tyes\n", "/etc/passwd", "root:x:0:0::/root:/bin/sh\nnews:x:9:9::/:/bin/false\n",
		"/etc/aliases", "Postmaster: root, \"|cmd a, b\"\n\"a b\" : c\n")
	o := Options{Open: open, Aliases: []string{"hash:/etc/aliases"}}
	for _, x := range []struct {
		spec, key, want string
		found           bool
	}{
		{"texthash:/t", "Example.com", "smtp:[relay.example]:26", true},
		{"hash:/t", "a@example.com", "error:5.1.6 moved to  elsewhere", true},
		{"proxy:lmdb:/t", "two words", "yes", true},
		{"texthash:/t", "nothing", "", false},
		{"unix:passwd.byname", "root", "root:x:0:0::/root:/bin/sh", true},
		{"unix:passwd.byname", "roo", "", false},
		{"hash:/etc/aliases", "postmaster", `root, "|cmd a, b"`, true},
		{"hash:/etc/aliases", "A B", "c", true},
		{"static:all", "any", "all", true},
		{"static:{two words}", "any", "two words", true},
		{"inline:{ {K = v w}, b=c }", "k", "v w", true},
		{"inline:{a=b}", "k", "", false},
	} {
		m, err := Open([]string{x.spec}, o)
		if err != nil {
			t.Errorf("%s: %v", x.spec, err)
			continue
		}
		v, ok, err := m.Lookup(context.Background(), x.key)
		if v != x.want || ok != x.found || err != nil {
			t.Errorf("%s %s: got %q %v %v", x.spec, x.key, v, ok, err)
		}
	}
	m, err := Open([]string{"inline:{a=1}", "inline:{a=2 b=3}"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if v, _, _ := m.First(context.Background(), []string{"c", "b", "a"}); v != "3" {
		t.Errorf("First: %q", v)
	}
	if v, _, _ := m.Lookup(context.Background(), "a"); v != "1" {
		t.Errorf("order: %q", v)
	}
}

// What cannot be opened makes mail wait; it does not refuse it.
func TestBroken(t *testing.T) {
	m, err := Open([]string{"inline:{a=1}", "texthash:/missing"}, Options{Open: files()})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if _, ok, err := m.Lookup(context.Background(), "a"); !ok || err != nil {
		t.Error("the table before the broken one does not answer")
	}
	if _, ok, err := m.Lookup(context.Background(), "b"); ok || !errors.Is(err, ErrTemp) {
		t.Errorf("got %v %v", ok, err)
	}
	for _, spec := range []string{"mysql:/x", "noname", "/file", "texthash:rel", "unix:group.byname", "inline:x", "inline:{a}", "inline:{{a=b}", "hash:"} {
		if _, err := Parse(spec); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", spec, err)
		}
		m, _ := Open([]string{spec}, Options{Open: files()})
		if _, _, err := m.Lookup(context.Background(), "x"); !errors.Is(err, ErrTemp) {
			t.Errorf("%s: lookup: %v", spec, err)
		}
	}
}

// A bad line is told of, and the others hold.
func TestBadLines(t *testing.T) {
	m, err := Open([]string{"texthash:/t"}, Options{Open: files("/t", "a 1\nb\na 2\n\"c d\nlast 3\n")})
	want := "/t, line 2: expected format: key whitespace value\n/t, line 3: duplicate entry: \"a\"\n/t, line 4: a double quote without its partner"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if v, ok, err := m.Lookup(context.Background(), "last"); v != "3" || !ok || err != nil {
		t.Error("the good lines do not hold")
	}
	if v, _, _ := m.Lookup(context.Background(), "a"); v != "1" {
		t.Errorf("the first of two lines does not hold: %q", v)
	}
}

func TestFiles(t *testing.T) {
	got := Files([]string{"hash:/etc/aliases", "proxy:unix:passwd.byname", "static:x", "texthash:/etc/aliases", "inline:{a=b}", "bad"})
	if want := []string{"/etc/aliases.cdb", "/etc/passwd", "/etc/aliases"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestKeys(t *testing.T) {
	s := Splitter{Delimiters: "+-", Whole: []string{"double-bounce"}, OwnerRequest: true}
	for _, x := range []struct {
		got  []string
		want string
	}{
		{s.AddressKeys("u+e", "d.example", true), "u+e@d.example u@d.example u+e u @d.example"},
		{s.AddressKeys("u", "d.example", false), "u@d.example @d.example"},
		{s.AddressKeys("double-bounce", "d", true), "double-bounce@d double-bounce @d"},
		{s.AddressKeys("owner-list", "d", true), "owner-list@d owner-list @d"},
		{s.AddressKeys("+x", "d", true), "+x@d +x @d"},
		{s.TransportKeys("u+e", "a.b.example"), "u+e@a.b.example u@a.b.example a.b.example .b.example .example *"},
		{s.TransportKeys("u", "[1.2.3.4]"), "u@[1.2.3.4] [1.2.3.4] *"},
		{DomainKeys("a.b.example", true), "a.b.example b.example example"},
		{DomainKeys("a.b.example", false), "a.b.example"},
	} {
		if got := strings.Join(x.got, " "); got != x.want {
			t.Errorf("got %s, want %s", got, x.want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a b\n\"c d\" e\n f\n#\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, _ := parseText("f", text)
		for k, v := range m {
			if k != strings.ToLower(k) || k == "" || v == "" {
				t.Fatalf("bad entry %q %q", k, v)
			}
		}
		parsePasswd(text)
	})
}

func FuzzParse(f *testing.F) {
	f.Add("inline:{ {a = b}, c=d }")
	f.Add("static:{x y}")
	f.Fuzz(func(t *testing.T, text string) {
		m, _ := Open([]string{text}, Options{Open: files(), Aliases: []string{text}})
		m.Lookup(context.Background(), text)
		Files([]string{text})
		s := Splitter{Delimiters: "+"}
		s.AddressKeys(text, text, true)
		s.TransportKeys(text, text)
	})
}
