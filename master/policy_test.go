package master

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/config"
	testinstance "postrider/test/instance"
)

// TestCompile: sched.cf is compiled by another program, of root's by one that is not root
// and needs no right to read the file itself.
func TestCompile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0600); err != nil {
			t.Fatal(err)
		}
	}
	write("main.cf", "daemon_directory = "+testinstance.Programs(t)+"\nmyhostname = mx.test\n")
	write("master.cf", "smtp unix - - n - - smtp\n")
	c, problems := config.Load(dir)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	e := environment{dir: dir}
	var a *accounts
	if os.Geteuid() == 0 {
		a = &accounts{owner: account{uid: 65534, gid: 65534}}
	}
	if k, err := e.compile(c, a); err != nil || k.policy != nil || k.data != nil {
		t.Errorf("without a sched.cf: %+v, %v", k, err)
	}
	write("sched.cf", "queue \"a\" { }\nrule { queue = \"a\" }\n")
	if k, err := e.compile(c, a); err != nil || k.policy == nil || len(k.policy.Queues) != 2 || len(k.warnings) != 0 {
		t.Errorf("%+v, %v", k, err)
	}
	write("sched.cf", "queue \"a\" { }\nrule { queue = \"b\" }\n")
	if k, err := e.compile(c, a); err == nil || err.Error() != `sched.cf:2:16: no queue "b" is declared; did you mean "a"?` && !strings.HasPrefix(err.Error(), `sched.cf:2:16: no queue "b" is declared`) {
		t.Errorf("%+v, %v", k, err)
	}
}
