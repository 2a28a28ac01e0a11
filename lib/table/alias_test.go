package table

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseTargets(t *testing.T) {
	for _, x := range []struct {
		in   string
		want []Target
	}{
		{"", nil},
		{"root", []Target{{TargetAddress, "root"}}},
		{`a@b.example, \me ,"john doe"@c.example`, []Target{{TargetAddress, "a@b.example"}, {TargetAddress, `\me`}, {TargetAddress, "john doe@c.example"}}},
		{"a b", []Target{{TargetAddress, "a"}, {TargetAddress, "b"}}},
		{`"|/bin/cmd a, \"b\"", c`, []Target{{TargetCommand, `/bin/cmd a, "b"`}, {TargetAddress, "c"}}},
		{`|"/bin/cmd a, b"`, []Target{{TargetCommand, `/bin/cmd a, b`}}},
		{`|/bin/cmd a b, c`, []Target{{TargetCommand, `/bin/cmd a b`}, {TargetAddress, "c"}}},
		{`/var/mail/x, "/a b/", "/at@file"`, []Target{{TargetFile, "/var/mail/x"}, {TargetFile, "/a b/"}, {TargetFile, "/at@file"}}},
		{"/c=x/@gw.example", []Target{{TargetAddress, "/c=x/@gw.example"}}},
		{`:include:/etc/list, ":Include:/a b"`, []Target{{TargetInclude, "/etc/list"}, {TargetInclude, "/a b"}}},
		{"<a@b.example>, <c>", []Target{{TargetAddress, "a@b.example"}, {TargetAddress, "c"}}},
	} {
		got, err := ParseTargets(x.in)
		if err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: got %+v, %v", x.in, got, err)
		}
	}
	for _, in := range []string{`"open`, "|", ":include:rel", "Some Body <a@b>", "<a", `""`, "a\x00"} {
		if got, err := ParseTargets(in); err == nil {
			t.Errorf("%q: got %+v and no error", in, got)
		}
	}
	got, err := ParseTargetLines("# list\na@b.example,\n c\n\n|cmd, x\n")
	if err != nil || len(got) != 4 || got[1].Text != "c" {
		t.Errorf("lines: %+v, %v", got, err)
	}
}

func readAliases(path, text string) (memory, error) {
	m := memory{}
	err := ReadSource(path, text, true, func(k, v string) bool {
		_, twice := m[strings.ToLower(k)]
		if !twice {
			m.put(k, v)
		}
		return !twice
	})
	return m, err
}

func TestParseAliases(t *testing.T) {
	m, err := readAliases("/a", "Postmaster: root\n\"x y\": z,\n  w\nnocolon\nbad: \"open\n: x\nempty:\npostmaster: other\n")
	want := "/a, line 4: expected format: name: value\n/a, line 5: a double quote without its partner\n" +
		"/a, line 6: empty name before ':'\n/a, line 8: duplicate entry: \"postmaster\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if !reflect.DeepEqual(m, memory{"postmaster": "root", "x y": "z,  w", "empty": ""}) {
		t.Errorf("got %q", m)
	}
}

func FuzzAliases(f *testing.F) {
	f.Add("a: b, \"|c d\", :include:/e\n\"f g\": <h>, /i\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, _ := readAliases("f", text)
		for k, v := range m {
			if k == "" {
				t.Fatal("empty key")
			}
			if _, err := ParseTargets(v); err != nil {
				t.Fatalf("%q was let in: %v", v, err)
			}
		}
		ts, _ := ParseTargetLines(text)
		for _, x := range ts {
			if x.Text == "" || strings.ContainsAny(x.Text, "\n\x00") {
				t.Fatalf("bad target %+v", x)
			}
		}
	})
}
