package satellite

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// password is alice's, and hash what smtpd_sasl_type = file knows of it (openssl passwd -6).
const (
	password = "kLaVier7"
	hash     = "$6$postrider$oIqmaAKiq1CxSU64sQGmIDc8UtxHbqostMmY1CBNt8FYPe/yK6rwc6jHUBzoX6oYBUE9w0ZPiAnZnQ2C1up3o/"
)

// smart is a smart host: it relays for who logs in, and trusts no network.
type smart struct {
	*instance.Instance
	ca   *authority
	host string
	far  *sink.Sink
}

func newSmart(t *testing.T, lines ...string) *smart {
	t.Helper()
	s := &smart{ca: newAuthority(t, "test CA"), far: sink.New(t, nil)}
	s.Instance = instance.New(t)
	s.host, _, _ = net.SplitHostPort(s.Addr)
	s.install(s.ca.issue("smart.test", s.host))
	s.private("conf/users", "alice:"+hash+"\n")
	s.Set(append([]string{
		"myhostname = smart.test", "mynetworks = 192.0.2.1/32", "relayhost = " + s.far.NextHop(),
		"smtpd_relay_restrictions = permit_sasl_authenticated, reject",
		"smtpd_tls_security_level = may", "smtpd_tls_loglevel = 1", "smtpd_tls_received_header = yes",
		"smtpd_tls_cert_file = " + s.Conf + "/cert.pem", "smtpd_tls_key_file = " + s.Conf + "/key.pem",
		"smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = file", "smtpd_sasl_path = " + s.Conf + "/users",
		"smtpd_sasl_authenticated_header = yes", "smtpd_tls_auth_only = yes", "smtpd_error_sleep_time = 0"}, lines...)...)
	return s
}

func (s *smart) install(cert, key string) {
	s.private("conf/key.pem", key)
	s.WriteFile("conf/cert.pem", cert)
}

// private writes a file that only its owner can read.
func (s *smart) private(name, text string) {
	os.Chmod(s.WriteFile(name, text), 0600)
}

// quote is for addresses in patterns.
var quote = regexp.QuoteMeta

// TestSatellite: a host whose mail goes by relayhost, with each level of security and each
// way in which it can go wrong.
func TestSatellite(t *testing.T) {
	t.Parallel()
	s := newSmart(t)
	s.Start()
	i := instance.New(t, "smtp_tls_CAfile = ", "smtp_tls_loglevel = 1", "smtp_sasl_auth_enable = yes")
	ca := i.WriteFile("conf/ca.pem", s.ca.pem)
	other := i.WriteFile("conf/other.pem", newAuthority(t, "another CA").pem)
	hop := "[" + s.host + "]:2525"
	good := i.WriteFile("conf/good", hop+"  alice:"+password+"\n")
	bad := i.WriteFile("conf/bad", hop+"  alice:wrongPass1\n")
	os.Chmod(good, 0600)
	i.Set("smtp_tls_CAfile = "+ca, "smtp_sasl_password_maps = texthash:"+good)

	plain := "-o smtp_sasl_tls_security_options=noanonymous"
	at := quote("["+s.host+"]:2525") + ": TLSv1\\.3 with cipher TLS_AES_\\d+_GCM_SHA\\d+ \\(\\d+/\\d+ bits\\) key-exchange X25519\\S*"
	name := quote(s.host + "[" + s.host + "]")
	tests := []struct {
		name, options string
		want          string // what the log says of the delivery
		also          string // and of the session
	}{
		{"encrypt", plain + " -o smtp_tls_security_level=encrypt", "status=sent \\(250 2\\.0\\.0 Ok: queued as \\w+\\)", "Trusted TLS connection established to " + quote(s.host) + at},
		{"may", plain + " -o smtp_tls_security_level=may -o smtp_tls_CAfile=" + other, "status=sent", "Untrusted TLS connection established to " + quote(s.host) + at},
		{"login", plain + " -o smtp_tls_security_level=may -o smtp_sasl_mechanism_filter=login", "status=sent", ""},
		{"verify", plain + " -o smtp_tls_security_level=verify", "status=sent", "Verified TLS connection established to " + quote(s.host) + at},
		{"secure", plain + " -o smtp_tls_security_level=secure", "status=sent", "Verified TLS connection established to " + quote(s.host) + at},
		{"match", plain + " -o smtp_tls_policy_maps=inline:{{" + hop + "=secure\tmatch=.wrong.test:smart.test}}", "status=sent", "Verified TLS"},
		{"wrongname", plain + " -o smtp_tls_policy_maps=inline:{{" + hop + "=secure\tmatch=other.test}}",
			"dsn=4\\.7\\.5, status=deferred \\(Server certificate not verified\\)", "num=62:hostname mismatch \\(the certificate is for smart\\.test, "},
		{"untrusted", plain + " -o smtp_tls_security_level=secure -o smtp_tls_CAfile=" + other,
			"dsn=4\\.7\\.5, status=deferred \\(Server certificate not trusted\\)", "certificate verification failed for .*: untrusted issuer CN=test CA"},
		{"badpolicy", "-o smtp_tls_policy_maps=inline:{{" + hop + "=dane}}",
			"dsn=4\\.7\\.5, status=deferred \\(client TLS configuration problem\\)", "warning: TLS policy for .*dane.* is not supported"},
		{"wrongpassword", plain + " -o smtp_tls_security_level=encrypt -o smtp_sasl_password_maps=texthash:" + bad,
			"dsn=4\\.7\\.8, status=deferred \\(SASL authentication failed; server " + name + " said: 535 5\\.7\\.8 Error: authentication failed: \\(reason unavailable\\)\\)", ""},
		{"noplaintext", "-o smtp_tls_security_level=encrypt",
			"dsn=4\\.7\\.0, status=deferred \\(SASL authentication failed; cannot authenticate to server " + name + ": no mechanism available\\)", "No worthy mechs found"},
		{"inclear", plain + " -o smtp_tls_security_level=none -o smtp_tls_note_starttls_offer=yes", "status=bounced \\(host .* said: 554 5\\.7\\.1 .*Recipient address rejected: Access denied", "Host offered STARTTLS: "},
		{"tls13", plain + " -o smtp_tls_security_level=encrypt -o smtp_tls_mandatory_protocols=>=TLSv1.3", "status=sent", ""},
	}
	routes := ""
	for _, c := range tests {
		routes += fmt.Sprintf(" {%s.test = %s:%s}", c.name, c.name, hop)
		var b strings.Builder
		for _, o := range strings.Split(c.options, "-o ")[1:] {
			o = strings.TrimSpace(o)
			if strings.ContainsAny(o, "\t {") {
				o = "{ " + strings.ReplaceAll(o, "\t", " ") + " }"
			}
			b.WriteString(" -o " + o)
		}
		i.AddService(c.name + " unix - - n - - smtp" + b.String())
	}
	i.Set("transport_maps = inline:{" + routes + " }")
	i.Start()
	for _, c := range tests {
		o, err := source.Send1(i.Addr, source.New(c.name, "a@source.test", 1000, "x@"+c.name+".test"), nil)
		if err != nil {
			t.Fatal(c.name, err)
		}
		i.AwaitLog(string(o.QueueID) + ": to=<x@" + c.name + "\\.test>, .*" + c.want)
		if c.also != "" {
			i.AwaitLog(c.also)
		}
		if !strings.Contains(c.want, "sent") {
			continue
		}
		s.Await(c.name+" at the far end", func() bool { return len(s.far.Find(c.name)) == 1 })
		head := string(s.far.Find(c.name)[0].Content)
		for _, want := range []string{"(using TLSv1.3 with cipher TLS_", "(Authenticated sender: alice)", "with ESMTPSA id "} {
			if !strings.Contains(head, want) {
				t.Errorf("%s: no %q in\n%.800s", c.name, want, head)
			}
		}
	}
	s.AwaitLog(`client=unknown\[[\d.]+\], sasl_method=PLAIN, sasl_username=alice$`)
	s.AwaitLog(`client=unknown\[[\d.]+\], sasl_method=LOGIN, sasl_username=alice$`)
	s.AwaitLog(`Anonymous TLS connection established from unknown\[[\d.]+\]: TLSv1\.3 with cipher TLS_`)
	s.AwaitLog(`warning: unknown\[[\d.]+\]: SASL PLAIN authentication failed: \(reason unavailable\), sasl_username=alice$`)
	for _, log := range []string{i.Log(), s.Log()} {
		for _, secret := range []string{password, "wrongPass1", "AGFsaWNl"} {
			if strings.Contains(log, secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	}
}
