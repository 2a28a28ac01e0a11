package postconf

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"postrider/lib/config"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postconf": Main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:             "testdata",
		ContinueOnError: true,
		UpdateScripts:   os.Getenv("UPDATE") != "",
	})
}

// What we install says nothing wrong.
func TestInstalled(t *testing.T) {
	cfg, problems := config.Load("../conf")
	for _, p := range problems {
		t.Error(p)
	}
	if s, ok := cfg.Service("smtp", "inet"); !ok || s.Command != "smtpd" {
		t.Error("no smtpd in conf/master.cf")
	}
}

func FuzzApply(f *testing.F) {
	f.Add("a = 1\n#c\n b\nd=2\n", "a", "x y")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		o := options{Names: []string{name + "=" + value}}
		changes, err := o.changes()
		if err != nil {
			return
		}
		before, _ := config.ParseMain("f", text)
		out := apply(text, changes)
		after, _ := config.ParseMain("f", out)
		got := map[string]string{}
		for _, s := range after {
			got[s.Name] = s.Value
		}
		if got[changes[0].name] != changes[0].value {
			t.Fatalf("%q in %q gives %q", changes[0].line(), text, out)
		}
		for _, s := range before {
			if s.Name != changes[0].name && got[s.Name] != s.Value {
				t.Fatalf("%s was %q, is %q", s.Name, s.Value, got[s.Name])
			}
		}
	})
}
