package satellite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMailReaders: what people write and send mail with, by our sendmail command as it is by
// default and by submission: s-nail, mutt, git send-email, and PHP's way.
func TestMailReaders(t *testing.T) {
	t.Parallel()
	s := newSmart(t, "smtpd_sasl_auth_enable = no")
	s.AddService(debian...)
	ca := s.WriteFile("conf/ca.pem", s.ca.pem)
	s.Start()
	for _, name := range []string{"mutt", "s-nail", "git"} {
		tool(t, name)
	}
	if out, err := exec.Command("git", "send-email", "-h").CombinedOutput(); !strings.Contains(string(out), "git send-email") {
		t.Skipf("git send-email is not there (apt-get install git-email libauthen-sasl-perl libio-socket-ssl-perl): %v", err)
	}
	home, err := os.MkdirTemp("", "postrider-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	os.Chmod(home, 0o777)
	sendmail := filepath.Join(s.Bin, "sendmail")
	rc := s.WriteFile("conf/muttrc", "set sendmail=\""+sendmail+" -oem -oi\"\nset from=\"a@source.test\"\nset realname=\"Ann\"\nset use_from=yes\nset use_envelope_from=yes\nset record=\"\"\n")
	run := func(stdin string, args ...string) {
		t.Helper()
		env := []string{"-C", home, "HOME=" + home, "EMAIL=a@source.test", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ann", "GIT_COMMITTER_NAME=Ann",
			"GIT_AUTHOR_EMAIL=a@source.test", "GIT_COMMITTER_EMAIL=a@source.test", "GIT_TERMINAL_PROMPT=0"}
		if r := s.RunWith(stdin, "/usr/bin/env", append(env, args...)...); r.Code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
		}
	}
	run("", "git", "init", "-q", home+"/repo")
	run("", "git", "-C", home+"/repo", "commit", "-q", "--allow-empty", "-m", "first")
	os.WriteFile(home+"/repo/file", []byte("one\n.\ntwo\n"), 0o644)
	run("", "git", "-C", home+"/repo", "add", "file")
	run("", "git", "-C", home+"/repo", "commit", "-q", "-m", "from git")
	git := func(args ...string) []string {
		return append([]string{"git", "-C", home + "/repo", "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--from=Ann <a@source.test>", "--envelope-sender=auto", "--to=x@far.test", "--cc=y@far.test"}, append(args, "-1")...)
	}
	const body = "first\n.\nFrom the start\nlast\n"
	nail := func(mta string, more ...string) []string {
		args := []string{"s-nail", "-:/", "-S", "v15-compat", "-r", "a@source.test", "-S", "mta=" + mta}
		return append(append(args, more...), "-c", "y@far.test", "-s", "from s-nail", "x@far.test")
	}
	submission := "submission://alice:" + password + "@" + s.host + ":2587"

	for _, c := range []struct {
		subject, stdin string
		args           []string
		has            string
		hidden         int // recipients that no field names
	}{
		{"from mutt", body, []string{"mutt", "-n", "-F", rc, "-s", "from mutt", "-c", "y@far.test", "-b", "z@far.test", "--", "x@far.test"}, "first\r\n.\r\nFrom the start\r\nlast\r\n", 1},
		{"from s-nail", body, nail(sendmail), "first\r\n.\r\nFrom the start\r\nlast\r\n", 0},
		{"from s-nail", body, nail(submission, "-S", "smtp-use-starttls", "-S", "smtp-auth=plain", "-S", "tls-verify=ignore"), "first\r\n.\r\nFrom the start\r\nlast\r\n", 0},
		{"[PATCH] from git", "", git("--sendmail-cmd=" + sendmail), "\r\n+one\r\n+.\r\n+two\r\n", 0},
		{"[PATCH] from git", "", git("--smtp-server=" + sendmail), "\r\n+one\r\n+.\r\n+two\r\n", 0},
		{"[PATCH] from git", "", git("--smtp-server="+s.host, "--smtp-server-port=2587", "--smtp-encryption=tls", "--smtp-ssl-cert-path="+ca, "--smtp-user=alice", "--smtp-pass="+password), "\r\n+one\r\n+.\r\n+two\r\n", 0},
		{"from PHP", "To: x@far.test\nCc: y@far.test\nBcc: z@far.test\nFrom: a@source.test\nSubject: from PHP\n\n" + body, []string{sendmail, "-t", "-i", "-fa@source.test"}, "first\r\n.\r\nFrom the start\r\nlast\r\n", 1},
	} {
		before := len(s.far.Mails())
		run(c.stdin, c.args...)
		s.Await("a mail of "+c.args[0], func() bool { return len(s.far.Mails()) > before })
		m := s.far.Mails()[before]
		text := string(m.Content)
		if strings.Contains(text, "quoted-printable") { // s-nail's
			text = strings.NewReplacer("=2E", ".", "=46", "F").Replace(text)
		}
		for _, want := range []string{"Subject: " + c.subject + "\r\n", "<a@source.test>", c.has} {
			if !strings.Contains(text, want) && !(want == "<a@source.test>" && strings.Contains(text, "From: a@source.test\r\n")) {
				t.Errorf("%v: no %q in\n%s", c.args, want, text)
			}
		}
		if len(m.Recipients) != 2+c.hidden || m.Sender != "a@source.test" || strings.Contains(text, "z@far.test") {
			t.Errorf("%v: from %s to %v\n%s", c.args, m.Sender, m.Recipients, text)
		}
	}
	s.AwaitLog(`postfix/submission/smtpd\[\d+\]: \w+: client=unknown\[[\d.]+\], sasl_method=PLAIN, sasl_username=alice$`)
}
