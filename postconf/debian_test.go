package postconf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Debian's postconf and ours are given the same files and the same arguments; what they
// print and what they leave is the same. (Debian: postfix)
func TestAsPostfix(t *testing.T) {
	const theirs = "/usr/sbin/postconf"
	if out, err := exec.Command(theirs, "-h", "-d", "mail_name").Output(); err != nil || strings.TrimSpace(string(out)) != "Postfix" {
		t.Skip("no postconf of Postfix (Debian: postfix)")
	}
	stock, err := os.ReadFile("../lib/config/testdata/debian/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	const main = "# first\nmyhostname = a.example.com\nmynetworks = 127.0.0.0/8\n  10.0.0.0/8 # no comment\n# between\n  192.168.0.0/16 172.16.0.0/12 [::1]/128 [fe80::]/10 [fd00::]/8\nrelayhost = [gw.$mydomain]\n" +
		"gw = $relayhost\ntransport_maps = $gw\nempty =\nbiff = $empty${empty:no}\n"
	const master = string("\n# ours\ntwo unix - n n - 3 pipe\n  flags=FRX user=list argv=/usr/lib/mailman/bin/postfix-to-mailman.py ${nexthop} ${user} and some more words\n" +
		"three inet n - n - - smtpd -v -o myhostname=b.example.com\n# inside\n -o { smtpd_banner = $myhostname ESMTP } -o relayhost=\n")
	for _, args := range [][]string{
		{"-n"}, {"-nf"}, {"-nh"}, {"-nH"}, {"-nx"}, {"mynetworks", "gw"}, {"-x", "gw", "mydomain"}, {"-o", "myhostname=c.d", "-x", "mydomain", "myorigin"}, {"nosuch"},
		{"-d", "hopcount_limit", "smtp_helo_timeout", "notify_classes"}, {"-h", "relayhost"}, {"-f", "mynetworks"},
		{"-M"}, {"-Mf"}, {"-M", "smtp"}, {"-M", "smtp/inet", "relay/unix"}, {"-Mf", "two", "three"}, {"-M", "nosuch"}, {"-M", "*/inet"}, {"-Mx", "three/inet"},
		{"-F"}, {"-F", "smtp/inet"}, {"-F", "*/*/chroot"}, {"-Fh", "relay/unix/command"}, {"-F", "two"},
		{"-P"}, {"-P", "three/inet"}, {"-P", "*/*/relayhost"}, {"-Px", "three"}, {"-Ph", "three/inet/myhostname"},
		{"-e", "relayhost=[b]", "new = 1 2  3", "mynetworks=x"}, {"relayhost = "}, {"-X", "mynetworks", "relayhost"}, {"-#", "mynetworks"}, {"-#", "relayhost", "gw"},
		{"-M", "smtp/inet=smtp inet n - n - 7 smtpd -v -o a=b"}, {"-M", "more/unix=more unix - - n - - smtp -o smtp_helo_timeout=5 -o b=c"}, {"-MX", "smtp/inet"}, {"-MX", "two/unix", "three/inet"},
		{"-M#", "relay/unix"}, {"-F", "smtp/inet/chroot=n"}, {"-F", "*/unix/chroot=n"}, {"-F", "three/inet/command=smtpd -o x=y"}, {"-Fe", "qmgr/unix/wakeup=400"},
		{"-P", "smtp/inet/relayhost=[x]"}, {"-P", "three/inet/myhostname=z"}, {"-PX", "three/inet/relayhost"}, {"-PX", "relay/unix/syslog_name"}, {"-P", "*/inet/new=1"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var out, left [2]string
			for i := range out {
				dir := t.TempDir()
				for name, text := range map[string]string{"main.cf": main, "master.cf": string(stock) + master} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
						t.Fatal(err)
					}
					old := time.Now().Add(-time.Minute) // Postfix waits until a new file is old enough
					os.Chtimes(filepath.Join(dir, name), old, old)
				}
				all := append([]string{"-c", dir}, args...)
				var b, e bytes.Buffer
				if i == 0 {
					cmd := exec.Command(theirs, all...)
					cmd.Stdout, cmd.Stderr = &b, &e
					cmd.Run()
				} else {
					run(all, &b, &e)
				}
				out[i] = strings.ReplaceAll(b.String(), dir, "DIR")
				for line := range strings.Lines(e.String()) { // of warnings those about the arguments
					_, line, _ = strings.Cut(line, "postconf: ")
					if strings.Contains(line, "unknown parameter") || strings.Contains(line, "unmatched") || strings.Contains(line, "fatal") {
						out[i] += line
					}
				}
				out[i] = regexp.MustCompile(`(?m)^(config_directory = DIR|config_directory|DIR)\n`).ReplaceAllString(out[i], "") // -n has it when -c is given
				for _, name := range []string{"main.cf", "master.cf"} {
					text, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil {
						t.Fatal(err)
					}
					left[i] += apart(strings.ReplaceAll(string(text), "= \n", "=\n"))
				}
			}
			if out[0] != out[1] {
				t.Errorf("Postfix prints, and we:\n%s", difference(out[0], out[1]))
			}
			if left[0] != left[1] {
				t.Errorf("Postfix leaves, and we:\n%s", difference(left[0], left[1]))
			}
		})
	}
}

// apart puts settings before comments and empty lines: Postfix moves those that follow a
// changed entry in front of it, and we leave them where they are.
func apart(text string) string {
	var settings, comments string
	for line := range strings.Lines(text) {
		if s := strings.TrimSpace(line); s == "" || s[0] == '#' {
			comments += line
		} else {
			settings += line
		}
	}
	return settings + comments
}

// difference is the lines in which two texts differ, between their common ends.
func difference(a, b string) string {
	x, y := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	return "-" + strings.Join(x, "-") + "\n+" + strings.Join(y, "+")
}
