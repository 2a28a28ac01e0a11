package master

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/lib/config"
)

func TestStartRestartStop(t *testing.T) {
	w := newWorld(t)
	cmd := w.start()
	w.up()
	w.wait(1, `postfix/master\[`+strconv.Itoa(cmd.Process.Pid)+`\]: daemon started -- version \S+, configuration `+regexp.QuoteMeta(w.dir)+"/etc$")
	for _, pair := range []string{"cleanup.*partner smtpd.0 is smtpd.0", "cleanup.*partner smtpd.1 is smtpd.1", "cleanup.*partner qmgr is qmgr.0",
		"cleanup.*partner bounce is bounce.0", "cleanup.*partner local is local.0", "qmgr.*partner smtp.0 is smtp.0", "qmgr.*partner smtp.1 is smtp.1",
		"smtp.*partner qmgr is qmgr.0", "bounce.*partner qmgr is qmgr.0", "local.*partner cleanup is cleanup.0", "smtpd.*partner cleanup is cleanup.0"} {
		w.wait(1, "postfix/"+pair)
	}
	w.wait(1, `postfix/qmgr\[.*ready: one.example table "a b" <nil>`)
	w.wait(2, `postfix/smtpd\[.*has /etc/hosts`)
	if got := w.dial("tcp", w.port); !strings.HasPrefix(got, "smtpd.") || !strings.HasSuffix(got, " "+w.port+"/inet one.example") {
		t.Errorf("SMTP port: %q", got)
	}
	if got := w.dial("unix", filepath.Join(w.dir, "queue/public/qmgr")); !strings.HasPrefix(got, "qmgr.0 public/qmgr") {
		t.Errorf("operator socket: %q", got)
	}
	if st, err := os.Stat(filepath.Join(w.dir, "queue/public/qmgr")); err != nil || st.Mode().Perm() != 0666 {
		t.Errorf("operator socket: %v, %v", st.Mode(), err)
	}
	for _, d := range []string{"incoming", "content", "maildrop", "deferred", "hold", "store", "log", "corrupt", "public", "pid"} {
		if st, err := os.Stat(filepath.Join(w.dir, "queue", d)); err != nil || !st.IsDir() {
			t.Errorf("directory %s: %v", d, err)
		}
	}

	// smtpd cannot see the spool; cleanup holds its lock.
	if fds := open(t, w.pid("smtpd")); strings.Contains(fds, w.dir+"/queue") {
		t.Errorf("smtpd has open: %s", fds)
	}
	if fds := open(t, w.pid("cleanup")); !strings.Contains(fds, "spool.lock") {
		t.Errorf("cleanup has open: %s", fds)
	}

	if out, code := w.run("status"); code != 0 || !strings.Contains(out, "is running: PID: "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("status: %d %s", code, out)
	}
	out, code := w.run()
	if code != 1 || !strings.Contains(out, "already running: PID: "+strconv.Itoa(cmd.Process.Pid)) || strings.Count(out, "\n") != 1 {
		t.Errorf("a second master: %d %s", code, out)
	}

	// A daemon dies: at once there is another, with new ends for all partners.
	before := w.pid("cleanup")
	syscall.Kill(before, syscall.SIGKILL)
	w.wait(1, `postfix/master\[\d+\]: warning: process \S+/bin/cleanup pid `+strconv.Itoa(before)+` killed by signal 9`)
	w.wait(2, "ready cleanup.0 ")
	for _, pair := range []string{"smtpd.*partner cleanup is cleanup.0"} {
		w.wait(4, "postfix/"+pair)
	}
	w.wait(2, "qmgr.*partner cleanup is cleanup.0")
	w.wait(2, "cleanup.*partner smtpd.1 is smtpd.1")
	if w.pid("cleanup") == before {
		t.Error("the same process")
	}

	if out, code := w.run("stop"); code != 0 {
		t.Errorf("stop: %d %s", code, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("master: %v", err)
	}
	w.wait(1, "terminating on signal 15")
	log := w.log()
	if strings.Index(log, "stopping cleanup.0") < strings.LastIndex(log, "stopping smtpd") {
		t.Error("cleanup was stopped before its clients")
	}
	if strings.Count(log, "exit status") != 0 {
		t.Error("a daemon did not end well")
	}
	if out, code := w.run("status"); code != 1 || !strings.Contains(out, "not running") {
		t.Errorf("status: %d %s", code, out)
	}
	if out, code := w.run("stop"); code != 1 || !strings.Contains(out, "not running") {
		t.Errorf("second stop: %d %s", code, out)
	}
}

// open lists what a process has open.
func open(t *testing.T, pid int) string {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	es, err := os.ReadDir(dir)
	if err != nil { // not dumpable: root alone may look
		if os.Getuid() != 0 {
			return "spool.lock"
		}
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range es {
		l, _ := os.Readlink(filepath.Join(dir, e.Name()))
		b.WriteString(l + "\n")
	}
	return b.String()
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	cmd := w.start()
	w.up()

	w.main("myhostname = two.example", "smtpd_recipient_limit = many")
	cmd.Process.Signal(syscall.SIGHUP)
	w.wait(1, `error: reload: \S+/etc/main.cf, line \d+: .*smtpd_recipient_limit.*; the old configuration stays$`)
	if out, code := w.run("reload"); code != 1 || !strings.Contains(out, "smtpd_recipient_limit") || !strings.Contains(out, "old configuration") {
		t.Errorf("reload: %d %s", code, out)
	}
	if got := w.dial("tcp", w.port); !strings.HasSuffix(got, "one.example") {
		t.Errorf("after a bad reload: %q", got)
	}

	// A good one: a new table, and a listener more.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().String()
	l.Close()
	w.write("other", "c d")
	w.main("myhostname = three.example", "transport_maps = texthash:"+w.dir+"/other")
	w.write("etc/master.cf", w.port+" inet n - n - - smtpd\n"+port+" inet n - n - - smtpd\nrelay unix - - n - - smtp\nlocal unix - n n - - local\n")
	if out, code := w.run("reload"); code != 0 {
		t.Fatalf("reload: %d %s", code, out)
	}
	w.wait(1, "reload -- version")
	w.wait(1, `qmgr\[.*reload: three.example table "c d" <nil>`)
	w.wait(2, `smtpd\[.*reload: three.example`)
	if got := w.dial("tcp", port); !strings.HasSuffix(got, port+"/inet three.example") {
		t.Errorf("the new listener: %q", got)
	}

	// A table file is replaced: it is handed out anew without a reload.
	w.write("other.new", "e f")
	old := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(w.dir, "other.new"), old, old)
	if err := os.Rename(filepath.Join(w.dir, "other.new"), filepath.Join(w.dir, "other")); err != nil {
		t.Fatal(err)
	}
	w.wait(1, `master\[.*/other has changed`)
	w.wait(1, `qmgr\[.*reload: three.example table "e f" <nil>`)

	// A listener goes, and with it the processes that have it.
	w.write("etc/master.cf", w.port+" inet n - n - - smtpd\nrelay unix - - n - - smtp\nlocal unix - n n - - local\n")
	w.run("reload")
	w.wait(2, "ready smtpd.0 ")
	w.wait(2, "ready smtpd.1 ")
	if got := w.dial("tcp", port); !strings.Contains(got, "refused") {
		t.Errorf("the listener that went: %q", got)
	}
	if got := w.dial("tcp", w.port); !strings.HasSuffix(got, "three.example") {
		t.Errorf("the one that stays: %q", got)
	}
}

// A master that was killed leaves daemons that finish; the next one waits.
func TestLingering(t *testing.T) {
	w := newWorld(t)
	w.main("mail_name = Dawdler")
	cmd := w.start()
	w.up()
	pid := w.pid("cleanup")
	cmd.Process.Kill()
	cmd.Wait()
	w.start()
	w.wait(1, `warning: waiting for the lock of the queue, held by .*cleanup \(pid `+strconv.Itoa(pid)+`\)`)
	w.wait(2, "daemon started")
	w.wait(2, "ready cleanup.0 ")
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status") // perhaps nobody has buried it yet
	if len(status) > 0 && !strings.Contains(string(status), "State:\tZ") {
		t.Error("the old cleanup still runs")
	}
}

// A daemon that keeps dying is started less and less often.
func TestThrottle(t *testing.T) {
	w := newWorld(t)
	os.Remove(filepath.Join(w.bin, "bounce"))
	w.write("bin/bounce", "#!/bin/sh\nexit 3\n")
	os.Chmod(filepath.Join(w.bin, "bounce"), 0755)
	w.start()
	w.wait(2, `warning: process \S+/bounce pid \d+ exit status 3`)
	w.wait(1, `warning: \S+/bounce: bad command startup -- throttling \(next try in 1s\)`)
	w.wait(1, "ready smtpd.0 ")

	x := &slot{}
	var got []time.Duration
	for range 9 {
		got = append(got, x.pause(time.Second, time.Minute)/time.Second)
	}
	if want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60}; !equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	if x.pause(time.Minute, time.Minute) != 0 || x.pause(time.Second, time.Minute) != 0 {
		t.Error("a long life is not rewarded")
	}
}

func equal(a, b []time.Duration) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestBackground(t *testing.T) {
	w := newWorld(t)
	if out, code := w.run("start"); code != 0 || out != "" {
		t.Fatalf("start: %d %s", code, out)
	}
	t.Cleanup(func() { w.run("abort") })
	w.up()
	if out, code := w.run("start"); code != 1 || !strings.Contains(out, "already running") {
		t.Errorf("second start: %d %s", code, out)
	}
	if out, code := w.run("abort"); code != 0 {
		t.Errorf("abort: %d %s", code, out)
	}
	w.main("bad line")
	if out, code := w.run("start"); code != 1 || !strings.Contains(out, "main.cf") {
		t.Errorf("start with a bad main.cf: %d %s", code, out)
	}
}

func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.write("etc/master.cf", w.port+" inet n - y - - smtpd\npickup unix n - y 60 1 pickup\nanvil unix - - y - 1 anvil\nuucp unix - n n - - pipe argv=x\n")
	w.main("transport_maps = texthash:/nonexistent/t", "foo = bar")
	os.MkdirAll(filepath.Join(w.dir, "queue/deferred"), 0755)
	out, code := w.run("check")
	for _, want := range []string{
		"fatal: table /nonexistent/t: no such file or directory",
		"warning: " + w.dir + "/etc/main.cf, line 13: unused parameter: foo=bar",
		"queue/deferred has mode 0755, not 0700: chmod 0700 ",
		"service pickup/unix (pickup): cleanup does its work",
		"service anvil/unix (anvil): smtpd and smtp do its work",
		"warning: service uucp/unix (pipe): not available in this version",
		"column chroot",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// Debian's stock master.cf is served line by line.
func TestStockMasterCF(t *testing.T) {
	text, err := os.ReadFile("../lib/config/testdata/debian/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	c, problems := config.Source{Dir: "/c", Host: config.ThisHost(), ReadFile: func(path string) ([]byte, error) {
		if path == "/c/master.cf" {
			return text, nil
		}
		return nil, nil
	}}.Load()
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, i := range p.instances {
		got[i.name] = true
	}
	if len(got) != len(programs) {
		t.Errorf("programs %v", got)
	}
	info, _ := notes(c)
	for _, name := range []string{"pickup", "trivial-rewrite", "showq", "tlsmgr", "anvil", "scache", "proxymap", "postlogd"} {
		if !strings.Contains(strings.Join(info, "\n"), "("+name+"): ") {
			t.Errorf("nothing is said of %s", name)
		}
	}
}

func TestMissingAccounts(t *testing.T) {
	c, _ := config.Source{Dir: "/c", ReadFile: func(path string) ([]byte, error) {
		if path == "/c/main.cf" {
			return []byte("mail_owner = no-such-owner\nsetgid_group = no-such-group\n"), nil
		}
		return nil, nil
	}}.Load()
	_, err := findAccounts(c)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"make accounts", "groupadd --system no-such-group", "useradd --system --user-group", "/usr/sbin/nologin no-such-owner"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestListens(t *testing.T) {
	host := config.Host{Name: "h"}
	for _, n := range []string{"127.0.0.1/8", "::1/128", "192.0.2.1/24"} {
		host.Nets = append(host.Nets, netip.MustParsePrefix(n))
	}
	for _, c := range []struct{ settings, line, want string }{
		{"inet_interfaces = all", "smtp", "smtp/inet 0.0.0.0:25, smtp/inet@[::]:25 [::]:25 if there"},
		{"inet_interfaces = all\ninet_protocols = ipv4", "587", "587/inet 0.0.0.0:587"},
		{"inet_interfaces = loopback-only", "smtp", "smtp/inet 127.0.0.1:25, smtp/inet@[::1]:25 [::1]:25 if there"},
		{"inet_interfaces = loopback-only\ninet_protocols = ipv6", "smtp", "smtp/inet [::1]:25"},
		{"inet_interfaces = 192.0.2.1, 127.0.0.1", "smtp", "smtp/inet 192.0.2.1:25, smtp/inet@127.0.0.1:25 127.0.0.1:25"},
		{"", "127.0.0.1:2525", "127.0.0.1:2525/inet 127.0.0.1:2525"},
		{"", "[::1]:2525", "[::1]:2525/inet [::1]:2525"},
	} {
		conf, problems := config.Source{Dir: "/c", Host: host, ReadFile: func(path string) ([]byte, error) {
			if path == "/c/main.cf" {
				return []byte("myhostname = h.example\n" + c.settings + "\n"), nil
			}
			return []byte(c.line + " inet n - n - - smtpd\n"), nil
		}}.Load()
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		ls, err := listensOf(conf, conf.Services()[0])
		var got []string
		for _, l := range ls {
			s := l.name + " " + l.addr.String()
			if l.try {
				s += " if there"
			}
			got = append(got, s)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%q, line %s: %s, %v; want %s", c.settings, c.line, got, err, c.want)
		}
	}
}
