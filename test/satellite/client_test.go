package satellite

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postrider/test/instance"
)

// tool finds a program of others.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (apt-get install %s)", name, name)
	}
	return path
}

// debian are the lines of Debian's master.cf for submission and smtps, with numbers for ports.
var debian = []string{
	`2587 inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=yes
  -o smtpd_reject_unlisted_recipient=no
  -o smtpd_recipient_restrictions=
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o milter_macro_daemon_name=ORIGINATING`,
	`2465     inet  n       -       y       -       -       smtpd
  -o syslog_name=postfix/smtps
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_reject_unlisted_recipient=no
  -o smtpd_recipient_restrictions=
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o milter_macro_daemon_name=ORIGINATING`,
}

// TestClients: what people use to send mail logs in and sends, by submission and by smtps.
func TestClients(t *testing.T) {
	t.Parallel()
	s := newSmart(t, "smtpd_sasl_auth_enable = no", "smtpd_peername_lookup = no")
	s.AddService(debian...)
	ca := s.WriteFile("conf/ca.pem", s.ca.pem)
	letter := s.WriteFile("letter", "Subject: hello\r\nFrom: a@source.test\r\nTo: x@far.test\r\n\r\nhello\r\n")
	s.Start()
	run := func(name, stdin string, args ...string) (string, error) {
		cmd := exec.Command(tool(t, name), args...)
		cmd.Stdin = strings.NewReader(stdin)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		kill := time.AfterFunc(instance.Patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		err := cmd.Run()
		return out.String(), err
	}
	python := `
import smtplib, ssl, sys
c = ssl.create_default_context(cafile=sys.argv[3])
s = smtplib.SMTP(sys.argv[1], 2587)
s.starttls(context=c)
try:
    s.login("alice", "nope-nope")
    sys.exit("a wrong password is taken")
except smtplib.SMTPAuthenticationError as e:
    if e.smtp_code != 535: raise
s.login("alice", sys.argv[2])
s.sendmail("a@source.test", ["x@far.test"], "Subject: python\r\n\r\nhello\r\n")
s.quit()
s = smtplib.SMTP_SSL(sys.argv[1], 2465, context=c)
s.login("alice", sys.argv[2])
s.sendmail("a@source.test", ["x@far.test"], "Subject: python\r\n\r\nhello\r\n")
s.quit()
`
	swaks := func(args ...string) []string {
		return append([]string{"-f", "a@source.test", "-t", "x@far.test", "-s", s.host, "-au", "alice", "-ap", password}, args...)
	}
	sent := 0
	for _, c := range []struct {
		name, stdin string
		args        []string
		mails       int
	}{
		{"swaks", "", swaks("-p", "2587", "-tls", "-a", "PLAIN"), 1},
		{"swaks", "", swaks("-p", "2587", "-tls", "-a", "LOGIN"), 1},
		{"swaks", "", swaks("-p", "2465", "-tlsc", "-a", "PLAIN"), 1},
		{"swaks", "", swaks("-p", "2525", "-tls", "-a", "PLAIN"), -1}, // no AUTH is offered there
		{"swaks", "", swaks("-p", "2587", "-a", "PLAIN"), -1},         // nor without TLS
		{"python3", "", []string{"-c", python, s.host, password, ca}, 2},
		{"msmtp", "Subject: m\n\nhello\n", []string{"-C", "/dev/null", "--host=" + s.host, "--port=2587", "--tls=on", "--tls-trust-file=" + ca, "--auth=on", "--user=alice",
			"--passwordeval=echo " + password, "-f", "a@source.test", "x@far.test"}, 1},
		{"curl", "", []string{"-sS", "--ssl-reqd", "--cacert", ca, "--url", "smtps://" + s.host + ":2465", "--mail-from", "a@source.test", "--mail-rcpt", "x@far.test", "-u", "alice:" + password, "-T", letter}, 1},
		{"curl", "", []string{"-sS", "--ssl-reqd", "--cacert", ca, "--url", "smtp://" + s.host + ":2587", "--mail-from", "a@source.test", "--mail-rcpt", "x@far.test", "-u", "alice:" + password, "-T", letter}, 1},
	} {
		out, err := run(c.name, c.stdin, c.args...)
		if (err == nil) != (c.mails > 0) {
			t.Errorf("%s %v: %v\n%s", c.name, c.args, err, out)
		}
		sent += max(c.mails, 0)
	}
	s.Await(fmt.Sprint(sent, " messages"), func() bool { return len(s.far.Mails()) == sent })
	s.AwaitLog(`postfix/submission/smtpd\[\d+\]: \w+: client=unknown\[[\d.]+\], sasl_method=PLAIN, sasl_username=alice$`)
	s.AwaitLog(`postfix/smtps/smtpd\[\d+\]: \w+: client=unknown\[[\d.]+\], sasl_method=`)

	// Which versions of TLS there are.
	for flag, want := range map[string]bool{"-tls1_1": false, "-tls1_2": true, "-tls1_3": true} {
		out, err := run("openssl", "QUIT\r\n", "s_client", "-connect", s.host+":2587", "-starttls", "smtp", flag, "-cipher", "ALL:@SECLEVEL=0", "-CAfile", ca, "-verify_return_error", "-quiet")
		if (err == nil) != want {
			t.Errorf("openssl %s: %v\n%s", flag, err, out)
		}
	}
	s.AwaitLog(`SSL_accept error from unknown\[[\d.]+\]: -1$`)
	s.AwaitLog(`disconnect from unknown\[[\d.]+\] ehlo=1 starttls=0/1 commands=1/2$`)
}

// talk is a session in which each line has an expected answer.
type talk struct {
	net.Conn
	t *testing.T
}

func (s *smart) talk(t *testing.T, addr string) *talk {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(instance.Patience))
	c := &talk{conn, t}
	c.say("", "220 ")
	return c
}

// say sends a line and returns the reply, which must begin with want.
func (c *talk) say(line, want string) string {
	c.t.Helper()
	if line != "" {
		fmt.Fprintf(c, "%s\r\n", line)
	}
	var reply []byte
	for b := make([]byte, 1); ; {
		if _, err := c.Read(b); err != nil {
			c.t.Fatalf("%q: %v after %q", line, err, reply)
		}
		if reply = append(reply, b[0]); b[0] != '\n' {
			continue
		}
		if last := string(reply[bytes.LastIndexByte(reply[:len(reply)-1], '\n')+1:]); len(last) > 3 && last[3] == ' ' {
			break
		}
	}
	if !strings.HasPrefix(string(reply), want) {
		c.t.Fatalf("%q: %q, want %q", line, reply, want)
	}
	return string(reply)
}

// secure is STARTTLS; it returns the number of the certificate.
func (c *talk) secure() string {
	c.t.Helper()
	c.say("STARTTLS", "220 2.0.0 Ready to start TLS\r\n")
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn = conn
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestCommands: STARTTLS and AUTH where they must be refused (reliability.md, C1.8 and C3.31).
func TestCommands(t *testing.T) {
	t.Parallel()
	s := newSmart(t, "mynetworks = 127.0.0.0/8", "smtpd_tls_auth_only = no", "smtpd_sasl_security_options = noanonymous, noplaintext",
		"smtpd_sasl_tls_security_options = noanonymous", "smtpd_relay_restrictions = reject_sender_login_mismatch, permit_sasl_authenticated, reject",
		"smtpd_sender_login_maps = inline:{ {alice@source.test = alice} {bob@source.test = bob} }")
	s.Start()
	c := s.talk(t, s.Addr)
	c.say("STARTTLS\r\nEHLO injected", "554 5.5.0 Error: SMTP protocol synchronization")

	c = s.talk(t, s.Addr)
	c.say("AUTH PLAIN AGFsaWNlAHg=", "503 5.5.1 Error: send HELO/EHLO first")
	if r := c.say("EHLO c", "250-"); !strings.Contains(r, "250-STARTTLS\r\n") || strings.Contains(r, "AUTH") {
		t.Error("offered in the clear:", r)
	}
	c.say("AUTH PLAIN AGFsaWNlAHg=", "535 5.7.8 Error: authentication failed: Invalid authentication mechanism")
	c.say("STARTTLS x", "501 5.5.4 Syntax: STARTTLS")
	c.say("MAIL FROM:<before@source.test>", "250")
	c.secure()
	c.say("RCPT TO:<x@far.test>", "503 5.5.1 Error: need MAIL command") // all is forgotten
	c.say("AUTH PLAIN", "503 5.5.1 Error: send HELO/EHLO first")
	if r := c.say("EHLO c", "250-"); strings.Contains(r, "STARTTLS") || !strings.Contains(r, "250-AUTH PLAIN LOGIN\r\n") {
		t.Error("offered under TLS:", r)
	}
	c.say("STARTTLS", "554 5.5.1 Error: TLS already active")
	c.say("AUTH", "501 5.5.4 Syntax: AUTH mechanism")
	c.say("AUTH PLAIN x y", "501 5.5.4 Syntax: AUTH mechanism")
	c.say("AUTH PLAIN =", "535 5.7.8 ")
	c.say("AUTH PLAIN not-base64", "535 5.7.8 ")
	c.say("AUTH PLAIN", "334 \r\n")
	c.say("*", "501 5.7.0 Authentication aborted")
	c.say("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n")
	c.say(strings.Repeat("A", 20000), "500 5.5.6 SASL response limit exceeded")
	c.say("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n")
	c.say("YWxpY2U=", "334 UGFzc3dvcmQ6\r\n")
	c.say("eA==", "535 5.7.8 ")
	c.say("AUTH GSSAPI", "535 5.7.8 Error: authentication failed: Invalid authentication mechanism")
	c.say("MAIL FROM:<bob@source.test>", "250")
	c.say("AUTH PLAIN", "503 5.5.1 Error: MAIL transaction in progress")
	c.say("RCPT TO:<x@far.test>", "553 5.7.1 <bob@source.test>: Sender address rejected: not logged in")
	c.say("RSET", "250")
	c.say("AUTH PLAIN "+encoded("\x00alice\x00"+password), "235 2.7.0 Authentication successful")
	c.say("AUTH PLAIN", "503 5.5.1 Error: already authenticated")
	c.say("MAIL FROM:<bob@source.test>", "250")
	c.say("RCPT TO:<x@far.test>", "553 5.7.1 <bob@source.test>: Sender address rejected: not owned by user alice")
	c.say("RSET", "250")
	c.say("MAIL FROM:<alice@source.test>", "250")
	c.say("RCPT TO:<x@far.test>", "250")
	c.say("QUIT", "221")
	s.AwaitLog(`NOQUEUE: reject: RCPT from .*not owned by user alice; from=<bob@source\.test> to=<x@far\.test> proto=ESMTP helo=<c> sasl_method=PLAIN sasl_username=<alice>$`)
}

// TestCertificateChanges: a new certificate counts when it and its key are both there,
// without a reload, and ends no session; a broken pair leaves the old one in use.
func TestCertificateChanges(t *testing.T) {
	t.Parallel()
	s := newSmart(t)
	s.Start()
	old := s.talk(t, s.Addr)
	old.say("EHLO c", "250-")
	first := old.secure()
	serial := func() string {
		c := s.talk(t, s.Addr)
		c.say("EHLO c", "250-")
		n := c.secure()
		c.say("QUIT", "221")
		return n
	}
	cert, key := s.ca.issue("smart.test", s.host)
	s.WriteFile("conf/cert.pem", cert)
	s.AwaitLog(`error: certificate .*cert\.pem and .*key\.pem: .*: the old one stays in use$`)
	if n := serial(); n != first {
		t.Errorf("certificate %s without its key is used; the old one was %s", n, first)
	}
	s.private("conf/new.pem", key)
	if err := os.Rename(s.Conf+"/new.pem", s.Conf+"/key.pem"); err != nil {
		t.Fatal(err)
	}
	s.AwaitLog(`certificate .*cert\.pem and .*key\.pem has changed -- handing it out anew$`)
	s.Await("the new certificate", func() bool { return serial() != first })
	s.private("conf/key.pem", "no key\n")
	s.Await("the complaint", func() bool { return strings.Count(s.Log(), "the old one stays in use") == 2 })
	if n := serial(); n == first {
		t.Error("the first certificate is back")
	}
	old.say("EHLO again", "250-")
	old.say("QUIT", "221")
	if r := s.Run("master", "check"); !strings.Contains(r.Stdout+r.Stderr, "there is no TLS with it") {
		t.Errorf("check says %q %q", r.Stdout, r.Stderr)
	}
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
