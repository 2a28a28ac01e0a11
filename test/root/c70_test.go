package root

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
)

// down is a system whose queue is there, and which does not run.
func down(t *testing.T) *instance.Instance {
	t.Helper()
	i := system(t)
	i.Start()
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	return i
}

// begin starts the set-gid postdrop as the user, with n descriptors that it should not
// have, and gives it the first part of a message.
func begin(t *testing.T, i *instance.Instance, n int, part []byte) (cmd *exec.Cmd, in io.WriteCloser, said *bytes.Buffer) {
	t.Helper()
	x, err := json.Marshal(execution{Path: house.bin + "/postdrop", Args: []string{"postdrop"}, Env: []string{"MAIL_CONFIG=" + i.Conf}, Open: n})
	if err != nil {
		t.Fatal(err)
	}
	cmd = asUser(house.user, "limited")
	cmd.Env = append(cmd.Env, "ROOT_TEST_EXECUTION="+string(x))
	cmd.Dir = house.home
	said = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	in.Write(part)
	return cmd, in, said
}

// C69: what the caller had open, postdrop has not; and another process of the caller can
// look into it as little as into a daemon.
func TestC69Running(t *testing.T) {
	t.Parallel()
	i := down(t)
	var b bytes.Buffer
	write(t, &b, 300_000)
	cmd, in, _ := begin(t, i, 30, b.Bytes()[:200_000])
	i.Await("a file", func() bool { return len(i.Files("maildrop")) == 1 })
	for _, d := range descriptors(t, cmd.Process.Pid) {
		switch {
		case strings.HasPrefix(d.target, "pipe:["), strings.HasPrefix(d.target, "anon_inode:["), strings.HasPrefix(d.target, i.Queue+"/maildrop/"):
		default:
			t.Errorf("postdrop holds %v", d)
		}
	}
	out, err := asUser(house.user, "probe", strconv.Itoa(cmd.Process.Pid)).Output()
	var tried []attempts
	if err == nil {
		err = json.Unmarshal(out, &tried)
	}
	if err != nil || len(tried) != 1 {
		t.Fatalf("probe: %v: %s", err, out)
	}
	if tried[0].Done != nil {
		t.Errorf("the caller can %s", strings.Join(tried[0].Done, ", "))
	}
	in.Write(b.Bytes()[200_000:])
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if files := drain(t, i); len(files) != 1 || !files[0].complete {
		t.Errorf("%+v", files)
	}
}

// C69: under its caller's ptrace postdrop gains no group, and so no right to maildrop/.
func TestC69Traced(t *testing.T) {
	t.Parallel()
	i := down(t)
	var b bytes.Buffer
	write(t, &b, 1000)
	cmd := asUser(house.user, "traced", house.bin+"/postdrop")
	cmd.Env = append(cmd.Env, "MAIL_CONFIG="+i.Conf)
	cmd.Stdin = &b
	out, _ := cmd.CombinedOutput()
	gids := strings.Repeat("\t"+strconv.Itoa(house.user.gid), 4)
	if !strings.HasPrefix(string(out), "Gid:"+gids+"\n") {
		t.Errorf("traced by its caller, it has other groups: %s", out)
	}
	if files := drain(t, i); len(files) != 0 || cmd.ProcessState.Success() {
		t.Errorf("%v: %+v: %s", cmd.ProcessState, files, out)
	}
}

// C70: whatever signal comes in the middle of a message, there is none then; and nothing
// is said of the inside of the program.
func TestC70Signals(t *testing.T) {
	t.Parallel()
	i := down(t)
	var b bytes.Buffer
	write(t, &b, 300_000)
	for s := unix.SIGHUP; s <= unix.SIGSYS; s++ {
		switch s {
		case unix.SIGSTOP, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU: // which end nothing
			continue
		}
		if signal.Ignored(s) { // by whoever started the test, nohup(1) for instance: then postdrop ignores it, too
			continue
		}
		cmd, in, said := begin(t, i, 0, b.Bytes()[:200_000])
		i.Await("a file", func() bool { return len(i.Files("maildrop")) == 1 })
		cmd.Process.Signal(s)
		tidy := s == unix.SIGHUP || s == unix.SIGINT || s == unix.SIGQUIT || s == unix.SIGTERM
		if !tidy && s != unix.SIGKILL { // which it may not notice: the input is cut then
			in.Close()
		}
		cmd.Wait()
		in.Close()
		if out := said.String(); dump.MatchString(out) || cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump() {
			t.Errorf("%v: a dump: %.300s", s, out)
		}
		if cmd.ProcessState.Success() {
			t.Errorf("%v: %v", s, cmd.ProcessState)
		}
		files := drain(t, i)
		for _, f := range files {
			if f.complete || !strings.HasPrefix(f.name, "maildrop/.") {
				t.Errorf("%v: %+v", s, f)
			}
		}
		if tidy && len(files) > 0 { // others may leave the beginning of a file, for a day
			t.Errorf("%v: %v, and a file is left", s, cmd.ProcessState)
		}
	}
	if found := entries(t, house.home); strings.Contains(found, "core") {
		t.Errorf("files: %s", found)
	}
}

// C70: sendmail or its postdrop is killed at each of its system calls that does something:
// there is a whole message then, or none, and who was told that it is there has it.
func TestC70KilledAtEachCall(t *testing.T) {
	t.Parallel()
	build(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs Debian's strace")
	}
	i := down(t)
	text := "Subject: killed\n\n" + strings.Repeat("a line of text\n", 10_000)
	killed := 0
	for _, call := range []string{"openat", "write", "fsync", "renameat2", "fchmod", "pipe2", "execve", "clone,clone3,vfork", "connect", "exit_group", "close"} {
		for when := 1; when < 60; when++ {
			cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-u", house.user.name, "--inject="+call+":signal=KILL:when="+strconv.Itoa(when),
				house.bin+"/sendmail", "-f", "a@b", "r@sink.test")
			cmd.Env = []string{"MAIL_CONFIG=" + i.Conf, "GOMAXPROCS=1"}
			cmd.Dir = house.home
			cmd.Stdin = strings.NewReader(text)
			var said bytes.Buffer
			cmd.Stderr = &said
			cmd.Run()
			whole := 0
			for _, f := range drain(t, i) {
				switch {
				case strings.HasPrefix(f.name, "maildrop/."): // postdrop was killed
				case f.complete && f.owner == house.user.uid && f.mode == 0o644:
					whole++
				default:
					t.Errorf("%s %d: %+v", call, when, f)
				}
			}
			if ok := cmd.ProcessState.Success(); ok && whole != 1 || whole > 1 {
				t.Errorf("%s %d: %v, %d messages: %s", call, when, cmd.ProcessState, whole, &said)
			} else if ok {
				break // not so often
			}
			killed++
		}
	}
	t.Logf("killed %d times", killed)
	if killed < 30 {
		t.Errorf("killed only %d times", killed)
	}
}

// C70: sendmail is killed after each byte of its input, or so: it has submitted nothing.
// What it reads to the end it submits, whatever the bytes are.
func TestC70Input(t *testing.T) {
	t.Parallel()
	i := down(t)
	short := "From: a@b\nSubject: x\n\nbody\n"
	long := short + strings.Repeat("a line of text\n", 10_000)
	for n := range len(short) + 10 {
		part := short[:min(n, len(short))]
		if n > len(short) {
			part = long[:n*(len(long)/50)]
		}
		cmd := exec.Command(house.bin+"/sendmail", "-t", "r@sink.test")
		cmd.Env = []string{"MAIL_CONFIG=" + i.Conf}
		cmd.Dir = house.home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: house.user.credential()}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		in.Write([]byte(part))
		cmd.Process.Kill()
		cmd.Wait()
		in.Close()
		i.Await("postdrop's end", func() bool { return !running(i, "postdrop") })
		for _, f := range drain(t, i) {
			t.Errorf("killed after %d bytes: %+v", len(part), f)
		}
	}
	for name, c := range map[string]struct {
		text string
		code int
		want string // in the file
	}{
		"NUL":                     {"Subject: x\n\na\x00b\x00\n", 0, "a\x00b\x00\r\n"},
		"no newline at the end":   {"Subject: x\n\nlast", 0, "last\r\n"},
		"a CR at the end":         {"Subject: x\n\nlast\r", 0, "last"},
		"nothing":                 {"", 0, ""},
		"a header alone":          {"Subject: x", 0, "Subject: x\r\n"},
		"a line of a megabyte":    {"Subject: x\n\n" + strings.Repeat("y", 1<<20), 0, strings.Repeat("y", 1000)},
		"a header of a megabyte":  {"Subject: " + strings.Repeat("y", 1<<20) + "\n\n", 0, strings.Repeat("y", 1000)},
		"all bytes":               {"Subject: x\n\n" + allBytes(), 0, "\xfe\xff"},
		"larger than the limit":   {"Subject: x\n\n" + strings.Repeat("line\n", 3_000_000), 69, ""},
		"a header over the limit": {"Subject: " + strings.Repeat("y", 15_000_000) + "\n\n", 69, ""},
	} {
		r := i.RunAs(house.user.credential(), c.text, "sendmail", "-i", "-f", "a@b", "r@sink.test")
		found := ""
		for name := range i.Files("maildrop") {
			b, _ := os.ReadFile(i.Queue + "/" + name)
			found += string(b)
		}
		files := drain(t, i)
		if r.Code != c.code || (len(files) == 1 && files[0].complete) != (c.code == 0) || len(files) > 1 || !strings.Contains(found, c.want) {
			t.Errorf("%s: %+v, %+v", name, r, files)
		}
	}

	// Endless input ends at the limit. (-i: chance writes lines with a single dot.)
	cmd := exec.Command(house.bin+"/sendmail", "-i", "-f", "a@b", "r@sink.test")
	cmd.Env = []string{"MAIL_CONFIG=" + i.Conf}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: house.user.credential()}
	for _, name := range []string{"/dev/zero", "/dev/urandom"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		again := *cmd
		again.Stdin = f
		out, _ := again.CombinedOutput()
		f.Close()
		if code := again.ProcessState.ExitCode(); code != 69 || !bytes.Contains(out, []byte("too big")) {
			t.Errorf("%s: %d %s", name, code, out)
		}
		if rss := again.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; rss > 200<<10 {
			t.Errorf("%s: %d KB of memory", name, rss)
		}
	}
	if files := drain(t, i); len(files) != 0 {
		t.Errorf("%+v", files)
	}
}

func allBytes() string {
	var b []byte
	for n := range 256 {
		b = append(b, byte(n))
	}
	return string(b)
}

// running says whether a process of that name serves the instance.
func running(i *instance.Instance, name string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		comm, _ := os.ReadFile(dir + "/comm")
		env, _ := os.ReadFile(dir + "/environ")
		if string(comm) == name+"\n" && bytes.Contains(env, []byte(i.Conf)) {
			return true
		}
	}
	return false
}
