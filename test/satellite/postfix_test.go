package satellite

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/postfix"
	"postrider/test/sink"
)

// TestPostfixSmartHost: a host with the usual main.cf of a satellite, whose smart host is
// Debian's Postfix with STARTTLS and Dovecot's logins. Mail of its users leaves it at each
// level of security, logged in, under addresses that others know.
func TestPostfixSmartHost(t *testing.T) {
	t.Parallel()
	if why := postfix.Missing(); why != "" {
		t.Skip(why)
	}
	far, ca := sink.New(t, nil), newAuthority(t, "test CA")
	d := newDovecot(t, "127.0.0.1")
	dir, err := os.MkdirTemp("", "postrider-smart-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	cert, key := ca.issue("smart.test", "127.0.0.1")
	for name, text := range map[string]string{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := postfix.Start(t, dir, "myhostname = smart.test", "mynetworks = 192.0.2.1/32", "relayhost = "+far.NextHop(), "smtpd_relay_restrictions = permit_sasl_authenticated, reject",
		"smtpd_tls_security_level = may", "smtpd_tls_auth_only = yes", "smtpd_tls_loglevel = 1", "smtpd_tls_cert_file = "+dir+"/cert.pem", "smtpd_tls_key_file = "+dir+"/key.pem",
		"smtpd_tls_received_header = yes", "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = "+d.dir+"/auth", "smtpd_sasl_security_options = noanonymous",
		"smtpd_sasl_authenticated_header = yes")
	_, port, _ := net.SplitHostPort(p.Addr)
	hop := "[127.0.0.1]:" + port

	i := instance.New(t, "myhostname = laptop.home.test", "myorigin = $myhostname", "mydestination = $myhostname, localhost", "relayhost = "+hop,
		"smtp_sasl_auth_enable = yes", "smtp_tls_security_level = encrypt", "smtp_tls_loglevel = 1")
	i.Set("smtp_tls_CAfile = "+i.WriteFile("conf/ca.pem", ca.pem), "smtp_sasl_password_maps = hash:"+i.WriteFile("conf/sasl_passwd", hop+" alice:"+password+"\n"),
		"smtp_generic_maps = hash:"+i.WriteFile("conf/generic", "root@laptop.home.test me@example.com\n@laptop.home.test box@example.com\n"))
	i.Must("postmap", i.Conf+"/sasl_passwd", i.Conf+"/generic")
	os.Chmod(i.Conf+"/sasl_passwd", 0o600)
	os.Chmod(i.Conf+"/sasl_passwd.cdb", 0o600)
	wrong := i.WriteFile("conf/wrong", hop+" alice:wrongPass1\n")
	tests := []struct{ name, options, want, also string }{
		{"usual", "", "status=sent \\(250 2\\.0\\.0 Ok: queued as \\w+\\)", "Trusted TLS connection established to 127.0.0.1"},
		{"plain", "smtp_sasl_mechanism_filter=plain smtp_sasl_tls_security_options=noanonymous", "status=sent", ""},
		{"login", "smtp_sasl_mechanism_filter=login smtp_sasl_tls_security_options=noanonymous", "status=sent", ""},
		{"may", "smtp_tls_security_level=may", "status=sent", ""},
		{"verify", "smtp_tls_security_level=verify", "status=sent", "Verified TLS connection established to 127.0.0.1"},
		{"secure", "smtp_tls_security_level=secure", "status=sent", "Verified TLS connection"},
		{"match", "smtp_tls_security_level=secure smtp_tls_secure_cert_match=smart.test", "status=sent", "Verified TLS connection"},
		{"other", "smtp_tls_security_level=secure smtp_tls_secure_cert_match=other.test", "dsn=4\\.7\\.5, status=deferred \\(Server certificate not verified\\)", ""},
		{"wrong", "smtp_sasl_password_maps=texthash:" + wrong, "dsn=4\\.7\\.8, status=deferred \\(SASL authentication failed; server 127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\] said: 535 5\\.7\\.8 Error: authentication failed: ", ""},
		{"none", "smtp_tls_security_level=none", "dsn=5\\.7\\.1, status=bounced \\(host 127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\] said: 554 5\\.7\\.1 <x@none\\.test>: Recipient address rejected: Access denied \\(in reply to RCPT TO command\\)\\)", ""},
	}
	routes := ""
	for _, c := range tests[1:] {
		routes += " {" + c.name + ".test = " + c.name + ":" + hop + "}"
		line := c.name + " unix - - n - - smtp"
		for _, o := range strings.Fields(c.options) {
			line += " -o " + o
		}
		i.AddService(line)
	}
	i.Set("transport_maps = inline:{" + routes + " }")
	i.Start()
	for _, c := range tests {
		from := "root"
		if c.name == "plain" {
			from = "backup"
		}
		r := i.RunWith("From: "+from+"\nTo: x@"+c.name+".test\nSubject: "+c.name+"\n\nhello\n", "sendmail", "-t", "-f", from)
		if r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		i.AwaitLog(`: to=<x@` + c.name + `\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:` + port + `, .*` + c.want)
		if c.also != "" {
			i.AwaitLog(c.also)
		}
		if !strings.Contains(c.want, "sent") {
			continue
		}
		subject := "Subject: " + c.name + "\r\n"
		var text string
		i.Await(c.name+" at the far end", func() bool {
			for _, m := range far.Mails() {
				if strings.Contains(string(m.Content), subject) {
					text = fmt.Sprintf("MAIL %s\r\n%s", m.Sender, m.Content)
				}
			}
			return text != ""
		})
		known := "me@example.com"
		if from == "backup" {
			known = "box@example.com"
		}
		for _, want := range []string{"MAIL " + known + "\r\n", "From: " + known + "\r\n", "(using TLSv1.3 with cipher TLS_", "(Authenticated sender: alice)"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, text)
			}
		}
	}
	b, _ := os.ReadFile(p.Log())
	for _, mech := range []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"} {
		if !strings.Contains(string(b), "sasl_method="+mech+", sasl_username=alice") {
			t.Errorf("Postfix saw no login by %s", mech)
		}
	}
	if log := i.Log(); strings.Contains(log, password) || strings.Contains(log, "wrongPass1") {
		t.Error("the log has a password")
	}
}
