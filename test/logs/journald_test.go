package logs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postrider/test/instance"
)

// journald is systemd's, alone: with a /run of its own.
type journald struct {
	t   *testing.T
	run string // /run, from outside
	cmd *exec.Cmd
}

func (j *journald) start() {
	j.t.Helper()
	j.cmd = exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", `mount --bind "$1" /run; exec /lib/systemd/systemd-journald`, "sh", j.run)
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := j.cmd.Start(); err != nil {
		j.t.Fatal(err)
	}
}

// signal gives it a signal.
func (j *journald) signal(s os.Signal) { j.cmd.Process.Signal(s) }

// count counts the lines of a program that have text.
func (j *journald) count(program, text string) int {
	out, _ := exec.Command("journalctl", "--no-pager", "-q", "-D", j.run+"/log/journal", "-o", "cat", "-t", "postfix/"+program).Output()
	return strings.Count(string(out), text)
}

// TestJournald: the log goes to journald, which is restarted, and stands still, while mail
// comes in. Nobody waits, no line is lost, and each is found by its program's name.
func TestJournald(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	dev := ownDev(t, i)
	j := &journald{t: t, run: filepath.Join(i.Dir, "run")}
	for _, dir := range []string{"systemd/journal", "systemd/journald.conf.d", "log/journal"} {
		if err := os.MkdirAll(filepath.Join(j.run, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i.WriteFile("run/systemd/journald.conf.d/test.conf", "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\nForwardToSyslog=no\n")
	if err := os.Symlink("/run/systemd/journal/dev-log", dev+"/log"); err != nil {
		t.Fatal(err)
	}
	i.Private += "\nmount --bind " + j.run + " /run"
	j.start()
	defer func() { j.signal(syscall.SIGKILL); j.cmd.Wait() }()
	i.Await("journald", func() bool { _, err := os.Stat(j.run + "/systemd/journal/dev-log"); return err == nil })
	i.Start()

	const each = 20
	all := func(n int) {
		t.Helper()
		delivered(i, n)
		for text, program := range map[string]string{": client=": "smtpd", ": message-id=<": "cleanup", "(queue active)": "qmgr", ": removed": "qmgr", "status=sent (delivered to maildir)": "local"} {
			i.Await("lines of "+program+" with "+text, func() bool { return j.count(program, text) >= n })
			if got := j.count(program, text); got != n {
				t.Errorf("%d lines %q of %d", got, text, n)
			}
		}
	}
	mail(t, i, "there", each)
	all(each)

	j.signal(syscall.SIGTERM)
	j.cmd.Wait()
	mail(t, i, "away", each)
	delivered(i, 2*each)
	j.start()
	all(2 * each)

	j.signal(syscall.SIGSTOP)
	mail(t, i, "still", each)
	delivered(i, 3*each)
	j.signal(syscall.SIGCONT)
	all(3 * each)
}
