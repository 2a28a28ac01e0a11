package postmap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	alias := func() { os.Args[0] = "postalias"; Main() }
	testscript.Main(m, map[string]func(){"postmap": Main, "postalias": alias})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata",
		Setup: func(e *testscript.Env) error { e.Setenv("MAIL_CONFIG", e.WorkDir); return nil }})
}

func runCommand(args ...string) (code int, out string) {
	var b bytes.Buffer
	c := &command{name: "postmap", in: strings.NewReader(""), out: &b, err: &b}
	code = c.main(args)
	return code, b.String()
}

// Readers find the old index or the new one while it is made again and again, by two
// runs at a time.
func TestAtomic(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "key%d value%d\n", i, i)
	}
	if err := os.WriteFile(name, []byte(text.String()), 0o640); err != nil {
		t.Fatal(err)
	}
	if code, out := runCommand(name); code != 0 {
		t.Fatal(out)
	}
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for range 10 {
				if code, out := runCommand(name); code != 0 {
					t.Error(out)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if code, out := runCommand("-q", "key1999", name); code != 0 || out != "value1999\n" {
			t.Fatalf("%d: %s", code, out)
		}
	}
	st, err := os.Stat(name + ".cdb")
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("not the permissions of the text: %v %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(name + ".cdb?*"); left != nil {
		t.Errorf("left: %v", left)
	}
}

// Called by root, the index of another's text is made with that one's rights.
func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another")
	}
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	name := filepath.Join(dir, "t")
	if err := os.WriteFile(name, []byte("a b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chown(name, 65534, 65534)
	if code, out := runCommand(name); code == 0 || !strings.Contains(out, "permission denied") {
		t.Errorf("root's directory was written by nobody: %s", out)
	}
	os.Chown(dir, 65534, 65534)
	if code, out := runCommand(name); code != 0 {
		t.Fatal(out)
	}
	st, err := os.Stat(name + ".cdb")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 65534 {
		t.Errorf("not the owner's: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Fatal("the rights did not come back")
	}
	os.Chown(dir, 0, 0)
	if code, out := runCommand("-o", name); code != 0 {
		t.Errorf("-o: %s", out)
	}
}

// Postfix's own postmap reads what ours wrote, and the other way round, where it has cdb.
func TestPostfix(t *testing.T) {
	postmap, err := exec.LookPath("/usr/sbin/postmap")
	if err == nil {
		var types []byte
		if types, err = exec.Command("/usr/sbin/postconf", "-c", emptyConfig(t), "-m").Output(); err == nil && !strings.Contains(string(types), "cdb") {
			err = fmt.Errorf("it has no cdb")
		}
	}
	if err != nil {
		t.Skipf("no Postfix with cdb to compare with (apt-get install postfix postfix-cdb): %v", err)
	}
	conf := emptyConfig(t)
	name := filepath.Join(conf, "t")
	if err := os.WriteFile(name, []byte("a@example.com value of a\nB other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ask := func(key string) string {
		out, _ := exec.Command(postmap, "-c", conf, "-q", key, "cdb:"+name).CombinedOutput()
		return string(out)
	}
	if code, out := runCommand(name); code != 0 {
		t.Fatal(out)
	}
	if got := ask("a@example.com") + ask("b"); got != "value of a\nother\n" {
		t.Errorf("Postfix reads %q", got)
	}
	if out, err := exec.Command(postmap, "-c", conf, "-o", "cdb:"+name).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if _, out := runCommand("-q", "B", "cdb:"+name); out != "other\n" {
		t.Errorf("of Postfix's we read %q", out)
	}
}

func emptyConfig(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
