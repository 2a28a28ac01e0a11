package satellite

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/source"
)

// dovecot is Debian's, private to a test: its auth server and its LMTP server, on sockets
// below dir and on ports of host.
type dovecot struct {
	t         *testing.T
	dir, host string
	cmd       *exec.Cmd
}

const dovecotConf = `base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
ssl = no
listen = HOST
protocols = lmtp
auth_mechanisms = plain login scram-sha-256
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:~/Maildir
passdb {
  driver = passwd-file
  args = DIR/users
}
userdb {
  driver = passwd-file
  args = DIR/users
}
service auth {
  unix_listener DIR/auth {
    mode = 0666
  }
  inet_listener {
    address = HOST
    port = 12345
  }
}
service lmtp {
  unix_listener DIR/lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = HOST
    port = 24024
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
auth_username_format = %Ln
`

func newDovecot(t *testing.T, host string) *dovecot {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: Dovecot's processes run under accounts of their own")
	}
	tool(t, "dovecot")
	dir, err := os.MkdirTemp("", "postrider-dovecot-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0755)
	d := &dovecot{t: t, dir: dir, host: host}
	users := ""
	for _, u := range []string{"alice", "bob"} {
		users += u + ":{PLAIN}" + password + ":65534:65534::" + dir + "/home/" + u + "\n"
		home := dir + "/home/" + u
		os.MkdirAll(home, 0755)
		os.Chown(home, 65534, 65534)
	}
	for name, text := range map[string]string{"conf": strings.NewReplacer("DIR", dir, "HOST", host).Replace(dovecotConf), "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0644); err != nil {
			t.Fatal(err)
		}
	}
	d.start()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			b, _ := os.ReadFile(dir + "/log")
			t.Logf("Dovecot's log:\n%s", b)
		}
		os.RemoveAll(dir)
	})
	return d
}

func (d *dovecot) start() {
	d.t.Helper()
	d.cmd = exec.Command("dovecot", "-F", "-c", d.dir+"/conf")
	d.cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for _, socket := range []string{"lmtp", "auth"} {
		for end := time.Now().Add(instance.Patience); ; time.Sleep(10 * time.Millisecond) {
			if conn, err := net.Dial("unix", d.dir+"/"+socket); err == nil {
				conn.Close()
				break
			}
			if time.Now().After(end) {
				d.t.Fatal("Dovecot does not come up")
			}
		}
	}
}

func (d *dovecot) stop() {
	if d.cmd != nil {
		// The whole group, and at once: its servers serve those who are connected to the end.
		syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		d.cmd.Wait()
		d.cmd = nil
	}
}

// saved are the messages in a user's Maildir.
func (d *dovecot) saved(user string) (texts []string) {
	names, _ := filepath.Glob(d.dir + "/home/" + user + "/Maildir/new/*")
	for _, n := range names {
		b, _ := os.ReadFile(n)
		texts = append(texts, string(b))
	}
	return texts
}

// TestDovecotAuth: logins through Dovecot's auth server, over both kinds of socket, by SCRAM
// with Postfix's default options; one that was restarted is found again.
func TestDovecotAuth(t *testing.T) {
	t.Parallel()
	s := newSmart(t)
	d := newDovecot(t, s.host)
	s.Set("smtpd_sasl_type = dovecot", "smtpd_sasl_path = "+d.dir+"/auth")
	s.AddService("2526 inet n - n - - smtpd -o syslog_name=postfix/other -o smtpd_sasl_path=inet:" + s.host + ":12345")
	s.Start()
	i := instance.New(t, "smtp_sasl_auth_enable = yes", "smtp_tls_security_level = encrypt", "smtp_tls_loglevel = 1")
	i.Set("smtp_sasl_password_maps = inline:{ {"+s.host+" = alice:"+password+"} }",
		"transport_maps = inline:{ {one.test = smtp:["+s.host+"]:2525} {two.test = smtp:["+s.host+"]:2526} }")
	i.Start()
	send := func(id, to string) {
		t.Helper()
		if _, err := source.Send1(i.Addr, source.New(id, "a@source.test", 1000, to), nil); err != nil {
			t.Fatal(err)
		}
		s.Await(id+" at the far end", func() bool { return len(s.far.Find(id)) == 1 })
	}
	send("one", "x@one.test")
	send("two", "x@two.test")
	s.AwaitLog(`postfix/smtpd\[\d+\]: \w+: client=unknown\[[\d.]+\], sasl_method=SCRAM-SHA-256, sasl_username=alice$`)
	s.AwaitLog(`postfix/other/smtpd\[\d+\]: \w+: client=unknown\[[\d.]+\], sasl_method=SCRAM-SHA-256, sasl_username=alice$`)

	c := s.talk(t, s.Addr)
	c.say("EHLO c", "250-")
	c.secure()
	if r := c.say("EHLO c", "250-"); !strings.Contains(r, "250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n") {
		t.Error(r)
	}
	c.say("AUTH PLAIN "+encoded("\x00alice\x00wrong"), "535 5.7.8 Error: authentication failed: ")
	c.say("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n")
	c.say(encoded("bob"), "334 UGFzc3dvcmQ6\r\n")
	d.stop()
	c.say(encoded(password), "454 4.7.0 Temporary authentication failure: Connection lost to authentication server")
	c.say("AUTH PLAIN "+encoded("\x00alice\x00"+password), "454 4.7.0 Temporary authentication failure: Can't connect to authentication server")
	d.start()
	c.say("AUTH PLAIN "+encoded("\x00bob\x00"+password), "235 2.7.0 ")
	s.AwaitLog(`warning: unknown\[[\d.]+\]: SASL PLAIN authentication failed: .*, sasl_username=alice$`)
	if strings.Contains(s.Log()+i.Log(), password) {
		t.Error("the password is in a log")
	}
}

// TestDovecotLMTP: mail goes into Dovecot's mailboxes over a Unix socket and over TCP, and
// each recipient of a message has an outcome of his own.
func TestDovecotLMTP(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	host, _, _ := net.SplitHostPort(i.Addr)
	d := newDovecot(t, host)
	i.AddService("lmtp unix - - n - - lmtp", "dovecot unix - - n - - lmtp")
	i.Set("transport_maps = inline:{ {unix.test = lmtp:unix:"+d.dir+"/lmtp} {inet.test = dovecot:inet:"+host+":24024} {down.test = lmtp:unix:private/none} }",
		"lmtp_destination_concurrency_limit = 2", "dovecot_destination_recipient_limit = 10")
	i.Start()
	for n, c := range []struct{ domain, relay string }{
		{"unix.test", quote(instance.Hostname + "[" + d.dir + "/lmtp]")}, {"inet.test", quote(host + "[" + host + "]:24024")},
	} {
		m := source.New(c.domain, "a@source.test", 20_000*(1+20*n), "alice@"+c.domain, "carol@"+c.domain, "bob@"+c.domain)
		o, err := source.Send1(i.Addr, m, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := string(o.QueueID)
		for _, u := range []string{"alice", "bob"} {
			i.AwaitLog(id + ": to=<" + u + "@" + c.domain + ">, relay=" + c.relay + `, delay=[\d.]+, delays=\S+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 <` + u + `@` + quote(c.domain) + `> \S+ Saved\)$`)
			i.Await("the mail of "+u, func() bool { return len(d.saved(u)) == n+1 })
			want := strings.ReplaceAll(string(m.Content), "\r\n", "\n")
			found := false
			for _, text := range d.saved(u) {
				found = found || strings.HasSuffix(text, want)
			}
			if !found {
				t.Errorf("%s: not what was sent", u)
			}
		}
		i.AwaitLog(id + ": to=<carol@" + c.domain + ">, relay=" + c.relay + `, .*dsn=5\.1\.1, status=bounced \(host .* said: 550 5\.1\.1 <carol@.*> User doesn't exist: \S+ \(in reply to RCPT TO command\)\)$`)
		if got := len(i.Grep(id + ": to=<")); got != 3 {
			t.Errorf("%d outcomes", got)
		}
	}
	o, err := source.Send1(i.Addr, source.New("down", "a@source.test", 1000, "alice@down.test"), nil)
	if err != nil {
		t.Fatal(err)
	}
	i.AwaitLog(string(o.QueueID) + `: to=<alice@down\.test>, relay=none, .*dsn=4\.4\.1, status=deferred \(connect to mx\.instance\.test\[private/none\]: No such file or directory\)$`)
}
