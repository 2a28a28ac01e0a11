package logs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// TestFail2ban: the filter "postfix" of Debian's fail2ban finds in our smtpd's lines what
// it finds in Postfix's, in each of its modes.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	need(t, "fail2ban-regex")
	i := instance.New(t, "smtpd_relay_restrictions =", "smtpd_recipient_restrictions = reject_unlisted_recipient, reject_unauth_destination",
		"relay_domains =", "smtpd_helo_required = yes", "local_recipient_maps = inline:{ {known = x} }", "smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 2", "smtpd_hard_error_limit = 3",
		"smtpd_sasl_auth_enable = yes", "smtpd_tls_auth_only = no")
	i.Set("smtpd_sasl_type = file", "smtpd_sasl_path = "+i.WriteFile("conf/users", "alice:$6$postrider$oIqmaAKiq1CxSU64sQGmIDc8UtxHbqostMmY1CBNt8FYPe/yK6rwc6jHUBzoX6oYBUE9w0ZPiAnZnQ2C1up3o/\n"))
	i.Start()

	say := func(lines ...string) {
		t.Helper()
		s, err := source.Dial(i.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if _, err := fmt.Fprintf(s, "%s\r\n", l); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Reply(); err != nil {
				break // it has had enough of us
			}
		}
		s.Abort()
	}
	say("MAIL FROM:<a@source.test>", "RCPT TO:<x@elsewhere.test>")
	i.AwaitLog(`Relay access denied`)
	say("MAIL FROM:<a@source.test>", "RCPT TO:<unknown@"+instance.Domain+">")
	i.AwaitLog(`User unknown`)
	say("AUTH PLAIN AGFsaWNlAHg=")
	i.AwaitLog(`SASL PLAIN authentication failed`)
	say("NOSUCH", "NOSUCH", "NOSUCH", "NOSUCH", "NOSUCH")
	i.AwaitLog(`too many errors after`)
	say("AUTH PLAIN")
	i.AwaitLog(`lost connection after AUTH`)
	c, err := net.Dial("tcp", i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	i.AwaitLog(`lost connection after CONNECT`)
	early, err := net.Dial("tcp", i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	fmt.Fprint(early, "EHLO x\r\nMAIL FROM:<a@source.test>\r\nRCPT TO:<b@"+instance.Domain+">\r\nDATA\r\n")
	i.AwaitLog(`improper command pipelining after`)

	log := filepath.Join(t.TempDir(), "maillog")
	if err := os.WriteFile(log, []byte(i.Log()), 0o644); err != nil {
		t.Fatal(err)
	}
	const (
		relay, unknown    = `reject: RCPT .*Relay access denied`, `reject: RCPT .*User unknown`
		auth              = `SASL PLAIN authentication failed`
		errors, pipelined = `too many errors after`, `improper command pipelining after`
		lostAuth, lost    = `lost connection after AUTH`, `lost connection after CONNECT`
	)
	for mode, want := range map[string][]string{
		"normal":     {relay, unknown, errors, pipelined},
		"more":       {relay, unknown, errors, pipelined},
		"auth":       {auth},
		"extra":      {relay, unknown, errors, pipelined, auth},
		"ddos":       {lostAuth, lost},
		"errors":     {errors},
		"aggressive": {relay, unknown, errors, pipelined, auth, lostAuth, lost},
	} {
		out, err := exec.Command("fail2ban-regex", "--print-all-matched", log, "postfix[mode="+mode+"]").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", mode, err, out)
		}
		_, matched, _ := strings.Cut(string(out), "Matched line(s):")
		matched, _, _ = strings.Cut(matched, "Missed line(s)")
		for _, line := range want {
			if !regexp.MustCompile(line).MatchString(matched) {
				t.Errorf("mode %s does not match %q:\n%s", mode, line, out)
			}
		}
		for _, good := range []string{": connect from", ": client="} {
			if strings.Contains(matched, good) {
				t.Errorf("mode %s matches %q:\n%s", mode, good, out)
			}
		}
	}
}
