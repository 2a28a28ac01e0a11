package doors

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/lockdown"
	"postrider/test/instance"
)

// The programs as they are installed have shut their doors, on each thread, when they
// serve: no new privileges, seccomp, limits, and no tracing. local keeps the first two open.
func TestProcesses(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: daemons run under accounts of their own")
	}
	if m := lockdown.Missing(); len(m) > 0 {
		t.Skipf("this kernel: %v", m)
	}
	if err := instance.Accounts(); err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, Instance: instance.AsRoot(t, instance.Programs(t), "default_process_count = 2")}
	withAll(t, s.Instance)
	s.Start()
	s.Await("all daemons", func() bool { return s.all() != nil })
	for _, name := range daemons {
		for _, pid := range s.all()[name] {
			shut := "1"
			if name == "local" {
				shut = "0"
			}
			// A daemon that has just been started may still be on its way.
			s.Await(name+" shut", func() bool { return field(t, fmt.Sprintf("/proc/%d/status", pid), "NoNewPrivs:") == shut })
			if name != "local" {
				s.Await(name+" filtered", func() bool { return field(t, fmt.Sprintf("/proc/%d/status", pid), "Seccomp:") == "2" })
				threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
				for _, th := range threads {
					if nnp, mode := field(t, th, "NoNewPrivs:"), field(t, th, "Seccomp:"); nnp != "1" && nnp != "" || mode != "2" && mode != "" {
						t.Errorf("%s: %s: no_new_privs %s, seccomp %s", name, th, nnp, mode)
					}
				}
			}
			want := map[string]string{"Max core file size": "0 0"}
			if name != "local" {
				want["Max locked memory"], want["Max msgqueue size"], want["Max processes"] = "0 0", "0 0", "4096 4096"
			}
			for limit, value := range want {
				got := strings.Fields(field(t, fmt.Sprintf("/proc/%d/limits", pid), limit))
				if len(got) < 2 || got[0]+" "+got[1] != value {
					t.Errorf("%s: %s is %v, not %s", name, limit, got, value)
				}
			}
			// What cannot be traced belongs to root.
			if st, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && uid(st) != 0 {
				t.Errorf("%s can be traced by uid %d", name, uid(st))
			}
		}
	}
}

// field is the rest of the line of a file in /proc that begins so, "" when the process
// has ended.
func field(t *testing.T, path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, name); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("%s: no %s", path, name)
	return ""
}
