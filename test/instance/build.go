package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Environment variables of the test run.
const (
	envPrograms = "POSTRIDER_PROGRAMS" // directory of programs that are built already
	envTags     = "POSTRIDER_TAGS"     // build tags, for the mutations that must turn a test red
	envFlags    = "POSTRIDER_BUILD"    // further flags of go build, such as -race
	envKeep     = "POSTRIDER_KEEP"     // not empty: the directory of an instance whose test failed stays
)

var build = sync.OnceValues(buildOnce)

// Programs returns the directory of the programs, built from the working tree once for
// each run of go test: its test binaries share the directory and wait for one another.
func Programs(t testing.TB) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func buildOnce() (string, error) {
	if dir := os.Getenv(envPrograms); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	depend(root)
	run := os.Getppid() // go test, which all test binaries of a run have in common
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", run)); err != nil || strings.TrimSpace(string(comm)) != "go" {
		run = os.Getpid()
	}
	prefix := fmt.Sprintf("postrider-programs-%d-", os.Getuid())
	sweep(prefix)
	dir := filepath.Join(os.TempDir(), prefix+strconv.Itoa(run))
	if err := os.Mkdir(dir, 0755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	done := filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-tags=" + os.Getenv(envTags)}, strings.Fields(os.Getenv(envFlags))...)
	cmd := exec.Command("go", append(args, "-o", dir+"/", "./cmd/...")...)
	cmd.Dir = root
	if !slices.Contains(args, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	if err := link(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, nil, 0644)
}

// depend looks at every source file, so that go test runs the test again, and shows no
// result of before, when one has changed: it cannot see what the programs are built from.
func depend(root string) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err == nil && (strings.HasSuffix(path, ".go") || d.Name() == "go.mod") {
			os.Stat(path)
		}
		return nil
	})
}

// sweep removes what earlier runs left: directories whose process is gone.
func sweep(prefix string) {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range old {
		_, pid, _ := strings.Cut(filepath.Base(dir), prefix)
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			os.RemoveAll(dir)
		}
	}
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// tagged builds the daemons with a tag, into a directory of its own beside the other
// programs, which it links to.
func tagged(programs, tag string) (string, error) {
	return special(programs, "tag-"+tag, func(string) ([]string, error) { return []string{"-tags=" + tag + "," + os.Getenv(envTags)}, nil })
}

// special builds the daemons with flags of their own, which may name files that flags made
// in the directory.
func special(programs, name string, flags func(dir string) ([]string, error)) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(programs, name)
	if err := os.Mkdir(dir, 0755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	done := filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	own, err := flags(dir)
	if err != nil {
		return "", err
	}
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-s -w"}, append(own, strings.Fields(os.Getenv(envFlags))...)...)
	cmd := exec.Command("go", append(args, "-o", dir+"/", "./cmd/master")...)
	cmd.Dir = root
	if !slices.Contains(args, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the daemons: %w\n%s", err, out)
	}
	if err := link(dir); err != nil {
		return "", err
	}
	others, err := os.ReadDir(programs)
	if err != nil {
		return "", err
	}
	for _, o := range others {
		if o.Type().IsRegular() && o.Name() != "master" && o.Name() != "lock" && o.Name() != "done" {
			if err := os.Link(filepath.Join(programs, o.Name()), filepath.Join(dir, o.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
				return "", err
			}
		}
	}
	return dir, os.WriteFile(done, nil, 0644)
}

// link makes the names by which master is a daemon.
func link(dir string) error {
	for _, d := range daemons {
		if err := os.Symlink("master", filepath.Join(dir, d)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// daemons are the programs that read what strangers wrote.
var daemons = []string{"cleanup", "qmgr", "smtp", "lmtp", "local", "bounce", "smtpd"}
