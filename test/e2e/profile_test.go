package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/test/instance"
)

// Every daemon can be measured behind its doors, once daemon_profile lets root; without
// it there is no socket to ask at.
func TestProfile(t *testing.T) {
	i := instance.Started(t)
	socket := filepath.Join(i.Queue, "private", "profile")
	if _, err := os.Lstat(socket); err == nil {
		t.Fatal("there is a socket without daemon_profile")
	}
	if r := i.Run("master", "profile", "qmgr", "stats"); r.Code == 0 || !strings.Contains(r.Stderr, "daemon_profile") {
		t.Errorf("without daemon_profile: %+v", r)
	}

	i.Set("daemon_profile = yes")
	i.Hangup()
	i.Await("the socket", func() bool { _, err := os.Lstat(socket); return err == nil })
	if st, err := os.Stat(filepath.Dir(socket)); err != nil || st.Mode().Perm() != 0700 {
		t.Errorf("the socket's directory: %v %v", st.Mode(), err)
	}
	for _, process := range []string{"smtpd.0", "smtpd.1", "cleanup", "qmgr", "smtp", "local", "bounce"} {
		if process == "smtpd.1" && len(i.PIDs("smtpd")) < 2 {
			continue
		}
		i.Await("counters of "+process, func() bool { // once the reload has got there
			return strings.HasPrefix(i.Run("master", "profile", process, "stats").Stdout, "mallocs ")
		})
		for _, kind := range []string{"cpu", "allocs", "heap", "goroutine", "mutex", "block"} {
			if out := i.Must("master", "profile", process, kind, "0"); !strings.HasPrefix(out, "\x1f\x8b") { // gzip
				t.Errorf("%s of %s: %.60q", kind, process, out)
			}
			if process != "smtp" {
				break // one process shows the other kinds
			}
		}
	}
	for args, want := range map[string]string{"nobody stats": "no process", "qmgr colour": "no such profile", "qmgr cpu 601": "seconds"} {
		if r := i.Run("master", append([]string{"profile"}, strings.Fields(args)...)...); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := i.Run("master", "status", "qmgr"); r.Code == 0 {
		t.Error("status takes an argument")
	}

	i.Set("daemon_profile = no")
	i.Hangup()
	i.Await("the end of the socket", func() bool { _, err := os.Lstat(socket); return err != nil })
}
