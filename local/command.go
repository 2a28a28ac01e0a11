package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/mail"
	"postrider/lib/sysexits"
)

// command is a program that takes a message on its standard input.
type command struct {
	Text  string // as written
	Shell []string
	Env   []string
	Dir   string // command_execution_directory; empty: where we are
	Time  time.Duration
}

// maxOutput is how much of what a command says is kept, in bytes.
const maxOutput = 4096

// outputGrace is how long somebody else may hold a command's output open after its end.
const outputGrace = time.Second

// plain are the characters of a command that needs no shell (Postfix's exec_command).
const plain = " \t1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// args is what is executed.
func (c *command) args() []string {
	if len(c.Shell) > 0 {
		return append(c.Shell[:len(c.Shell):len(c.Shell)], c.Text)
	}
	if text := strings.TrimSpace(c.Text); strings.HasPrefix(text, "/") && strings.Trim(text, plain) == "" {
		return strings.Fields(text)
	}
	return []string{"/bin/sh", "-c", c.Text}
}

// run runs the command and says what its end means for the mail. It has a group of
// processes of its own, which ends with its time; it need not read what it is given.
func (c *command) run(fill func(io.Writer) error) mail.Status {
	if c.Dir != "" {
		if err := os.Chdir(c.Dir); err != nil {
			return deferred("4.3.0", fmt.Sprintf("cannot change directory to %q: %v", c.Dir, reason(err)))
		}
	}
	args := c.args()
	cmd := &exec.Cmd{Path: args[0], Args: args, Env: c.Env, WaitDelay: outputGrace,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	out := &limited{max: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOEXEC) {
			return bounced("5.3.0", fmt.Sprintf("cannot execute %q: %v", args[0], reason(err)))
		}
		return deferred("4.3.0", fmt.Sprintf("cannot execute %q: %v", args[0], reason(err)))
	}
	var late atomic.Bool
	timer := time.AfterFunc(c.Time, func() {
		late.Store(true)
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	})
	fed := fill(in)
	if errors.Is(fed, unix.EPIPE) || errors.Is(fed, os.ErrClosed) {
		fed = nil // it has heard enough
	}
	if fed != nil { // the message did not come whole
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	in.Close()
	end := cmd.Wait()
	timer.Stop()
	expired := late.Load()
	if fed != nil {
		return statusOf(fed)
	}
	if expired {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if errors.Is(end, exec.ErrWaitDelay) {
		end = nil // a child of it holds its output: it has answered itself
	}
	return c.outcome(cmd.ProcessState, end, expired, out.text())
}

// outcome is what the end of a command means (pipe_command(3) of Postfix).
func (c *command) outcome(p *os.ProcessState, end error, expired bool, output string) mail.Status {
	said := ""
	if output != "" {
		said = ". Command output: " + output
	}
	ws, _ := p.Sys().(syscall.WaitStatus)
	switch {
	case expired:
		return bounced("5.3.0", fmt.Sprintf("Command time limit exceeded: %q%s", c.Text, said))
	case ws.Signaled():
		return bounced("5.3.0", fmt.Sprintf("Command died with signal %d: %q%s", ws.Signal(), c.Text, said))
	case p.ExitCode() == 0:
		return sent("delivered to command: " + c.Text)
	}
	if dsn, text, _ := strings.Cut(output, " "); enhanced(dsn) {
		if text = strings.TrimSpace(text); dsn[0] == '4' {
			return deferred(dsn, text)
		}
		return bounced(dsn, text)
	}
	if x, ok := meanings[p.ExitCode()]; ok {
		if x.dsn[0] == '4' {
			return deferred(x.dsn, x.text+said)
		}
		return bounced(x.dsn, x.text+said)
	}
	return bounced("5.3.0", fmt.Sprintf("Command died with status %d: %q%s", p.ExitCode(), c.Text, said))
}

// meanings are the exit codes of sysexits.h (Postfix's sys_exits.c).
var meanings = map[int]struct{ dsn, text string }{
	sysexits.Usage:       {"5.3.0", "command line usage error"},
	sysexits.DataErr:     {"5.6.0", "data format error"},
	66:                   {"5.3.0", "cannot open input"},
	67:                   {"5.1.1", "user unknown"},
	68:                   {"5.1.2", "host name unknown"},
	sysexits.Unavailable: {"5.3.0", "service unavailable"},
	sysexits.Software:    {"5.3.0", "internal software error"},
	sysexits.OSErr:       {"4.3.0", "system resource problem"},
	72:                   {"5.3.0", "critical OS file missing"},
	73:                   {"5.2.0", "can't create user output file"},
	74:                   {"5.3.0", "input/output error"},
	sysexits.TempFail:    {"4.3.0", "temporary failure"},
	76:                   {"5.5.0", "remote error in protocol"},
	sysexits.NoPerm:      {"5.7.0", "permission denied"},
	sysexits.Config:      {"5.3.5", "local configuration error"},
}

// enhanced says whether s is a status code of RFC 3463 of a failure.
func enhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// limited keeps the beginning of what is written to it.
type limited struct {
	b   []byte
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:max(0, min(len(p), l.max-len(l.b)))]...)
	return len(p), nil
}

// text is what was kept, on one line.
func (l *limited) text() string {
	return strings.Join(strings.FieldsFunc(string(l.b), func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }), " ")
}
