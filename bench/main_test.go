//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
)

var (
	all     = flag.Bool("all", false, "run everything, not the quick part")
	rounds  = flag.Int("rounds", 3, "how often each load is run on each system")
	results = flag.String("results", "", "file to write the tables to")
	work    = flag.String("work", "", "directory for spools (else TMPDIR)")
)

func TestMain(m *testing.M) {
	flag.Parse()
	syscall.Umask(022) // as root the instances are another user's
	if *work == "" {
		*work = os.TempDir()
	}
	before := load1()
	code := m.Run()
	text := report(before, load1(), code != 0)
	if *results != "" {
		if err := os.WriteFile(*results, []byte(text), 0644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	} else {
		fmt.Print(text)
	}
	os.Exit(code)
}

// load1 is the load average of the last minute.
func load1() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// full skips a test that is not part of the quick run.
func full(t *testing.T) {
	t.Helper()
	if !*all {
		t.Skip("part of make bench-all")
	}
}

// scratch is a new directory below root for a test's systems, which other users reach.
func scratch(t *testing.T, root string) string {
	t.Helper()
	dir, err := os.MkdirTemp(root, "postrider-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0755|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

// root skips a test that only root can do.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can do this")
	}
}

// programs builds the suite before anything is measured.
func programs(t *testing.T) { t.Helper(); instance.Programs(t) }
