package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/config"
	"postrider/lib/ipc"
	"postrider/lib/proto"
)

func TestMain(m *testing.M) {
	if name := os.Getenv("TEST_DAEMON"); name != "" {
		Run(name, serve)
	}
	os.Exit(m.Run())
}

// serve is the daemon under test: it tells over each partner's socket what it
// sees, a line at a time.
func serve(ctx context.Context, d *Daemon) error {
	say := func(sock io.Writer, format string, args ...any) { fmt.Fprintf(sock, format+"\n", args...) }
	var partner *net.UnixConn
	d.OnPartner(func(name string, sock *net.UnixConn) {
		partner = sock
		s, c := d.Service("smtp/inet@127.0.0.1:25")
		b, err := d.File("/table")
		say(sock, "partner %s, number %d of %d, %s, maxproc %d, listeners %d, table %q %v", name, d.Number, d.Of,
			d.Tag(c), s.MaxProc, len(d.Listeners()), b, err)
		if name == "panic" {
			panic("in a\nsession")
		}
	})
	d.OnReload(func() {
		b, err := d.File("/table")
		say(partner, "reload %s listeners %d table %q %v", d.Config().String("myhostname"), len(d.Listeners()), b, err)
	})
	if _, err := d.File("/etc/passwd"); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("a file that was not granted: %v", err)
	}
	d.Ready()
	<-d.Stopping()
	say(partner, "stopping, more than a minute left: %v", d.Grace() > time.Minute)
	if d.Grace() > 0 {
		return nil
	}
	<-ctx.Done()
	return errors.New("out of time")
}

// fakeMaster is the other end of a daemon's control socket.
type fakeMaster struct {
	t    *testing.T
	conn *ipc.Conn
	cmd  *exec.Cmd
	err  strings.Builder
	log  *bufio.Reader
}

func start(t *testing.T, program string) *fakeMaster {
	t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	m := &fakeMaster{t: t}
	child := os.NewFile(uintptr(b), "control")
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = []string{"TEST_DAEMON=" + program}
	m.cmd.ExtraFiles = []*os.File{child}
	m.cmd.Stderr = &m.err
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child.Close()
	t.Cleanup(func() { m.cmd.Process.Kill(); m.cmd.Wait() })
	sock, err := ipc.FromFD(a)
	if err != nil {
		t.Fatal(err)
	}
	sock.SetDeadline(time.Now().Add(20 * time.Second))
	m.conn = ipc.New(sock, 0)
	if _, err := m.conn.Greet(ipc.Hello{Protocol: proto.ControlName, Version: proto.ControlVersion}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *fakeMaster) send(typ uint8, a ipc.Appender, files ...*os.File) {
	m.t.Helper()
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := m.conn.SendFDs(typ, a, fds...); err != nil {
		m.t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
}

func (m *fakeMaster) setup(program, mainCF string) {
	m.t.Helper()
	files := map[string]string{"/c/main.cf": mainCF, "/c/master.cf": "smtp inet n - n - 7 smtpd -o syslog_name=postfix/x\n"}
	c, problems := config.Source{Dir: "/c", Host: config.Host{Name: "h.example"},
		ReadFile: func(p string) ([]byte, error) { return []byte(files[p]), nil }}.Load()
	if err := problems.Err(); err != nil {
		m.t.Fatal(err)
	}
	s := c.Snapshot()
	m.send(proto.TypeSetup, &proto.Setup{Program: program, Number: 1, Of: 2, Snapshot: s.Append(nil)})
}

func (m *fakeMaster) grantLog() {
	m.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { r.Close() })
	r.SetDeadline(time.Now().Add(20 * time.Second))
	m.log = bufio.NewReader(r)
	m.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantLog, Name: "file"}, w)
}

func (m *fakeMaster) grantTable(text string) {
	m.t.Helper()
	name := filepath.Join(m.t.TempDir(), "table")
	if err := os.WriteFile(name, []byte(text), 0600); err != nil {
		m.t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		m.t.Fatal(err)
	}
	m.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantTable, Name: "/table"}, f)
}

func (m *fakeMaster) grantListener(name string) {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		m.t.Fatal(err)
	}
	l.Close()
	m.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantListener, Name: name}, f)
}

func (m *fakeMaster) grantPartner(name string) *bufio.Reader {
	m.t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		m.t.Fatal(err)
	}
	m.send(proto.TypeGrant, &proto.Grant{Kind: proto.GrantPartner, Name: name}, os.NewFile(uintptr(b), name))
	sock, err := ipc.FromFD(a)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { sock.Close() })
	sock.SetDeadline(time.Now().Add(20 * time.Second))
	return bufio.NewReader(sock)
}

func (m *fakeMaster) ready() {
	m.t.Helper()
	if f, err := m.conn.Next(); err != nil || f.Type != proto.TypeReady {
		m.t.Fatalf("no ready: %v, %v; standard error: %s", f.Type, err, m.err.String())
	}
}

func (m *fakeMaster) exit(want int) {
	m.t.Helper()
	err := m.cmd.Wait()
	if got := m.cmd.ProcessState.ExitCode(); got != want {
		m.t.Errorf("exit status %d, want %d: %v; standard error: %s", got, want, err, m.err.String())
	}
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil || strings.TrimSuffix(got, "\n") != want {
		t.Fatalf("got  %q, %v\nwant %q", got, err, want)
	}
}

func logLine(t *testing.T, m *fakeMaster, part string) string {
	t.Helper()
	for {
		got, err := m.log.ReadString('\n')
		if err != nil {
			t.Fatalf("log: no line with %q: %v", part, err)
		}
		if strings.Contains(got, part) {
			return got
		}
	}
}

func TestByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"TEST_DAEMON=smtpd"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 64 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "started by master") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestLife(t *testing.T) {
	m := start(t, "smtpd")
	m.setup("smtpd", "daemon_sched_batch = smtpd\n")
	m.grantLog()
	m.grantTable("a b")
	m.grantListener("smtp/inet")
	m.grantListener("gone/inet")
	r := m.grantPartner("cleanup")
	m.send(proto.TypeGo, nil)
	m.ready()
	expect(t, r, `partner cleanup, number 1 of 2, postfix/x/smtpd, maxproc 7, listeners 1, table "a b" <nil>`)

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if withCgo {
		logLine(t, m, "warning: forbid new privileges")
		logLine(t, m, "warning: cannot set SCHED_BATCH")
	} else {
		if !strings.Contains(string(status), "NoNewPrivs:\t1") {
			t.Errorf("no_new_privs is not set:\n%s", status)
		}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", m.cmd.Process.Pid))
		for _, task := range tasks {
			var id int
			fmt.Sscan(filepath.Base(task), &id)
			if p, _, e := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, uintptr(id), 0, 0); e == 0 && p != 3 {
				t.Errorf("thread %d has scheduling policy %d", id, p)
			}
		}
	}

	// A reload: nothing of it is seen before Go.
	m.setup("smtpd", "myhostname = new.example\n")
	m.grantTable("c d")
	r = m.grantPartner("cleanup")
	expect(t, r, `partner cleanup, number 1 of 2, postfix/x/smtpd, maxproc 7, listeners 1, table "a b" <nil>`)
	m.send(proto.TypeGo, nil)
	expect(t, r, `reload new.example listeners 1 table "c d" <nil>`)

	// A panic in a callback is a line in the log, and no more than that.
	r = m.grantPartner("panic")
	expect(t, r, `partner panic, number 1 of 2, postfix/x/smtpd, maxproc 7, listeners 1, table "c d" <nil>`)
	if l := logLine(t, m, "panic: "); !strings.Contains(l, `in a\nsession\n`) || !strings.Contains(l, "daemon_test.go") {
		t.Errorf("panic's line: %s", l)
	}

	m.send(proto.TypeStop, &proto.Stop{Grace: 120_000})
	expect(t, r, "stopping, more than a minute left: true")
	m.exit(0)
}

func TestMasterDies(t *testing.T) {
	m := start(t, "cleanup")
	m.setup("cleanup", "stop_grace = 5m\n")
	r := m.grantPartner("smtpd.0")
	m.send(proto.TypeGo, nil)
	m.ready()
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	m.conn.Close()
	expect(t, r, "stopping, more than a minute left: true")
	m.exit(0)
}

func TestAbort(t *testing.T) {
	m := start(t, "cleanup")
	m.setup("cleanup", "")
	m.grantLog()
	r := m.grantPartner("smtpd.0")
	m.send(proto.TypeGo, nil)
	m.ready()
	r.ReadString('\n')
	m.send(proto.TypeStop, &proto.Stop{})
	expect(t, r, "stopping, more than a minute left: false")
	m.exit(70)
	logLine(t, m, "fatal: out of time")
}

func TestWrongProgram(t *testing.T) {
	m := start(t, "smtpd")
	m.grantLog()
	m.setup("cleanup", "")
	logLine(t, m, `fatal: setting up: master takes this program for "cleanup", it is "smtpd"`)
	m.exit(70)
}
