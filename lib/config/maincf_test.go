package config

import (
	"strings"
	"testing"
)

func TestParseMain(t *testing.T) {
	settings, problems := ParseMain("main.cf", "  lost = 1\n"+
		"# comment\n\n"+
		"a = 1 # not a comment\n"+
		"b=x,\n   \n\t# comment between\n\ty,\r\n z  \n"+
		"empty =\n"+
		"a = 2\n"+
		"same = 1\nsame = 1\n"+
		"eq = a=b\n")
	var got []string
	for _, s := range settings {
		got = append(got, s.Name+"="+s.Value)
	}
	want := "b=x,\ty, z|empty=|a=2|same=1|eq=a=b"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %q\nwant %q", s, want)
	}
	wantProblems := "main.cf, line 1: the file starts with a continuation line, which is left out|" +
		"main.cf, line 11: overriding earlier entry: a=1 # not a comment"
	if s := joined(problems); s != wantProblems {
		t.Errorf("got  %q\nwant %q", s, wantProblems)
	}
	if settings[0].Line != 5 || settings[2].Line != 11 {
		t.Errorf("wrong lines: %+v", settings)
	}
}

func TestParseMainFatal(t *testing.T) {
	_, problems := ParseMain("/etc/main.cf", "a = 1\nno equal sign\n= 3\nb c = 4\n")
	want := `/etc/main.cf, line 2: missing '=' after attribute name: "no equal sign"` + "\n" +
		`/etc/main.cf, line 3: missing attribute name before '='` + "\n" +
		`/etc/main.cf, line 4: whitespace inside attribute name: "b c"`
	if err := problems.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func joined(ps Problems) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.String())
	}
	return strings.Join(s, "|")
}

// What is left of any text keeps the rules: names are not empty, nothing but
// NUL to the end of the world makes the parser fail, and lines only grow.
func FuzzParseMain(f *testing.F) {
	f.Add("a = b\n c\n#d\n\ne=$a")
	f.Add(" x\n\t#\n=\na")
	f.Fuzz(func(t *testing.T, text string) {
		settings, _ := ParseMain("f", text)
		seen, last := map[string]bool{}, 0
		for _, s := range settings {
			if s.Name == "" || seen[s.Name] || s.Line <= last {
				t.Fatalf("bad setting %+v", s)
			}
			if strings.TrimSpace(s.Value) != s.Value || strings.ContainsAny(s.Value, "\n") {
				t.Fatalf("bad value %q", s.Value)
			}
			seen[s.Name], last = true, s.Line
		}
		Source{Dir: "/c", Host: testHost, ReadFile: func(path string) ([]byte, error) { return []byte(text), nil }}.Load()
	})
}
