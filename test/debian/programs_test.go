package debian

import (
	"strings"
	"testing"
)

// programs has mail sent and read by programs, as root and as users.
func programs(t *testing.T, m *machine) {
	m.run("echo 'to root' | mail -s 'from mailx' root")
	m.received("root", "Subject: from mailx")
	m.as("joe", "printf 'Subject: by a program\n\nhello\n' | /usr/lib/sendmail ann")
	m.received("ann", "Subject: by a program")
	if from := m.mail("ann"); !strings.Contains(from, "From: joe@fresh.example.com") && !strings.Contains(from, "<joe@fresh.example.com>") {
		t.Errorf("no sender:\n%s", from)
	}
	for _, user := range []string{"root", "ann"} { // where mail(1), mutt and others look, and may lock it
		if got := strings.TrimSpace(m.run("stat -c '%a %U %G' /var/mail/" + user)); got != "600 "+user+" mail" {
			t.Errorf("/var/mail/%s: %s", user, got)
		}
	}
	if out := m.as("ann", "printf 'h\\nx\\n' | mail"); !strings.Contains(out, "by a program") {
		t.Errorf("mail:\n%s", out)
	}
	m.run("echo x | mail -s 'to the postmaster' postmaster")
	m.received("root", "Subject: to the postmaster")
}

// cron has a job fail: what it prints is mailed. @reboot is when cron starts.
func cron(t *testing.T, m *machine, start string) {
	m.run("echo '@reboot echo the backup failed; exit 3' | crontab -u joe -")
	m.write("/etc/cron.d/system", "MAILTO=root\n@reboot root ls /nonexistent\n", 0o644)
	m.run(start)
	m.received("joe", "the backup failed")
	m.received("root", "/nonexistent")
	if !strings.Contains(m.mail("joe"), "Subject: Cron <joe@fresh>") {
		t.Errorf("cron's mail:\n%s", m.mail("joe"))
	}
}
