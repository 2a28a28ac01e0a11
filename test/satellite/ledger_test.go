package satellite

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// TestLedger: an operator tries a system that wants TLS and a login with smtp-ledger.
func TestLedger(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(back)
	s := newSmart(t, "transport_maps = inline:{ {ledger.test=smtp:[127.0.0.1]:"+port+"} }", "smtpd_tls_security_level = encrypt")
	s.Start()
	s.private("conf/login", "alice:"+password+"\n")
	s.private("conf/wrong", "alice:no\n")
	for _, c := range []struct {
		name, want string
		options    []string
	}{
		{"TLS and a login", "nothing lost", []string{"--tls", "starttls", "--insecure", "--login", s.Conf + "/login"}},
		{"no TLS", "Must issue a STARTTLS command first", nil},
		{"an unknown authority", "certificate", []string{"--tls", "starttls", "--login", s.Conf + "/login"}},
		{"a wrong password", "535", []string{"--tls", "starttls", "--insecure", "--login", s.Conf + "/wrong"}},
	} {
		args := append([]string{"5s", s.Bin + "/smtp-ledger", "-y", "-m", "20", "-s", "2", "--wait", "20s", "-c", s.Conf, "--listen", back, s.Addr}, c.options...)
		if c.want == "nothing lost" {
			args[0] = "60s"
		}
		out, err := exec.Command("timeout", args...).CombinedOutput()
		if c.want == "nothing lost" {
			if err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), "acknowledged 20") {
				t.Errorf("%s: %v\n%s", c.name, err, out)
			}
		} else if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, no %q in\n%s", c.name, err, c.want, out)
		}
	}
}
