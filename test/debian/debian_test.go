package debian

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// build is done once for all tests.
var build sync.Once

// deb makes the package and returns the top folder.
func deb(t *testing.T) string {
	t.Helper()
	if os.Getenv("POSTRIDER_DEBIAN") == "" {
		t.Skip("installs Debian in a directory: make debian")
	}
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	build.Do(func() { must(t, "make", "-s", "-C", top, "deb") })
	return top
}

// fresh starts a machine with the package beside it.
func fresh(t *testing.T, systemd bool) *machine {
	t.Helper()
	top := deb(t)
	const cache = "/var/cache/postrider-test" // which a fresh clone finds again
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	m := start(t, base(t, cache), systemd)
	text, err := os.ReadFile(filepath.Join(top, "build", "postrider.deb"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("/postrider.deb", string(text), 0o644)
	m.run("useradd -m joe && useradd -m ann")
	return m
}

// install is what an administrator types, with mail(1), which wants a mail system.
const install = "apt-get install -y --no-install-recommends /postrider.deb bsd-mailx"

// A fresh Debian machine gets the package, and its programs have mail; purged, it
// leaves only mail.
func TestFresh(t *testing.T) {
	m := fresh(t, false)
	before := m.files()
	m.run(install)

	for name, want := range map[string]string{
		"/usr/sbin/postdrop":  "2755 root postdrop",
		"/usr/sbin/sendmail":  "755 root root",
		"/usr/sbin/postqueue": "755 root root",
		"/etc/postrider":      "755 root root",
	} {
		if got := strings.TrimSpace(m.run("stat -Lc '%a %U %G' " + name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if out := m.run("postrider check"); strings.Contains(out, "warning") || strings.Contains(out, "fatal") {
		t.Errorf("check after the installation:\n%s", out)
	}
	for _, name := range []string{"/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases", "/etc/aliases", "/usr/lib/systemd/system/postrider.service"} {
		m.run("test -e " + name)
	}
	m.run("postrider start && postrider status")

	t.Run("root", func(t *testing.T) { programs(t, m) })
	t.Run("cron", func(t *testing.T) { cron(t, m, "cron") })

	// No network: mail for others waits.
	t.Run("queue", func(t *testing.T) {
		m.as("joe", "printf 'Subject: away\n\nhello\n' | sendmail friend@elsewhere.example")
		m.await("it is in the queue", func() bool {
			return strings.Contains(m.as("ann", "mailq"), "friend@elsewhere.example")
		})
		out := m.as("ann", "mailq")
		if !strings.Contains(out, "joe@fresh.example.com") || !strings.Contains(out, "-- ") {
			t.Errorf("mailq:\n%s", out)
		}
	})

	t.Run("users", func(t *testing.T) { users(t, m) })
	t.Run("smtp", func(t *testing.T) { smtp(t, m) })

	t.Run("upgrade", func(t *testing.T) { upgrade(t, m) })

	t.Run("restart", func(t *testing.T) {
		m.run("postrider stop")
		if out, err := m.try("postrider status"); err == nil {
			t.Errorf("status after stop: %s", out)
		}
		m.as("joe", "printf 'Subject: meanwhile\n\nhello\n' | sendmail ann")
		m.run("postrider start")
		m.received("ann", "Subject: meanwhile")
	})

	// Removed and installed again, everything is there; configuration that was
	// changed too.
	t.Run("reinstall", func(t *testing.T) {
		m.run("postconf -e 'message_size_limit = 20000000'")
		m.run("apt-get remove -y postrider")
		if out, err := m.try("postqueue -p"); err == nil {
			t.Errorf("the commands are still there: %s", out)
		}
		m.run(install)
		m.run("postrider start")
		if got := strings.TrimSpace(m.run("postconf -h message_size_limit")); got != "20000000" {
			t.Errorf("message_size_limit = %s", got)
		}
		if out := m.run("mailq"); !strings.Contains(out, "friend@elsewhere.example") {
			t.Errorf("mail is gone:\n%s", out)
		}
	})

	// A purge leaves mail that is in the queue; without any, nothing.
	t.Run("purge", func(t *testing.T) {
		m.run("apt-get purge -y postrider bsd-mailx")
		m.run("test -d /var/spool/postrider/incoming && getent passwd postrider")
		m.run("test ! -e /var/lib/postrider && test ! -e /etc/postrider")
		m.run(install)
		m.run("postrider start")
		if out := m.run("mailq"); !strings.Contains(out, "friend@elsewhere.example") {
			t.Errorf("mail is gone:\n%s", out)
		}
		m.run("postsuper -d ALL")
		m.run("apt-get purge -y postrider bsd-mailx libbsd0 liblockfile1 liblockfile-bin && crontab -u joe -r")
		if left := m.run("ps -eo args"); strings.Contains(left, "postrider") {
			t.Errorf("running after the purge:\n%s", left)
		}
		var left []string
		for _, name := range m.files() {
			if !slices.Contains(before, name) && !expected(name) {
				left = append(left, name)
			}
		}
		if left != nil {
			t.Errorf("left after the purge: %s", strings.Join(left, " "))
		}
		if out, _ := m.try("grep postrider /etc/passwd /etc/group; grep postdrop /etc/group"); out != "" {
			t.Errorf("accounts left:\n%s", out)
		}
	})
}

// files are the names of all files of the machine.
func (m *machine) files() []string {
	var all []string
	filepath.WalkDir(m.root+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name := strings.TrimPrefix(path, m.root)
		if d.IsDir() && (name == "/proc" || name == "/run" || name == "/dev" || name == "/tmp") {
			return filepath.SkipDir
		}
		all = append(all, name)
		return nil
	})
	return all
}

// expected says what may be new on a machine that had mail: the mail, logs, what apt and
// dpkg keep, and backups of /etc/passwd.
func expected(name string) bool {
	for _, prefix := range []string{"/var/mail/", "/root/Maildir", "/home/", "/var/log/", "/var/cache/", "/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/systemd/",
		"/etc/cron.d/system", "/etc/aliases" /* changed since */, "/usr/local/bin/", "/var/note", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/alternatives/", "/etc/mail.rc", "/var/spool/cron"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// make uninstall takes away what make install put there, but configuration and aliases.
func TestUninstall(t *testing.T) {
	top := deb(t)
	dir := t.TempDir()
	// Without go in the path nothing is built again.
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	if path, err := exec.LookPath("go"); err == nil {
		t.Logf("%s builds again", path)
	}
	args := []string{"-s", "-C", top, "PREFIX=/usr", "CONFDIR=/etc/postrider", "DESTDIR=" + dir}
	must(t, "make", append(args, "install")...)
	for _, name := range []string{"usr/sbin/postrider", "usr/sbin/sendmail", "usr/bin/mailq", "usr/lib/sendmail", "usr/lib/systemd/system/postrider.service", "usr/share/man/man8/qmgr.8"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("install: %v", err)
		}
	}
	// Another mail system's mailq stays.
	mailq := filepath.Join(dir, "usr/bin/mailq")
	if err := errors.Join(os.Remove(mailq), os.Symlink("../sbin/exim4", mailq)); err != nil {
		t.Fatal(err)
	}
	must(t, "make", append(args, "uninstall")...)
	var left []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if got, want := strings.Join(left, " "), "/etc/aliases /etc/postrider/main.cf /etc/postrider/master.cf /etc/postrider/sched.cf.sample /usr/bin/mailq"; got != want {
		t.Errorf("left: %s", got)
	}
}

// A machine that runs Debian's Postfix: apt replaces it by the package, which takes over
// mail; Postfix's main.cf and master.cf are read as they are.
func TestReplacesPostfix(t *testing.T) {
	m := fresh(t, false)
	m.run("echo postfix postfix/main_mailer_type select Local only | debconf-set-selections; apt-get install -y --no-install-recommends postfix")
	m.run("test -e /etc/postfix/main.cf")
	out := m.run(install)
	if !strings.Contains(out, "The following packages will be REMOVED:\n  postfix") {
		t.Errorf("apt says:\n%s", out)
	}
	if !strings.Contains(out, "the configuration of Postfix stays in /etc/postfix") {
		t.Errorf("the package says nothing of /etc/postfix:\n%s", out)
	}
	m.run("postrider start && echo x | mail -s 'after the switch' root")
	m.received("root", "Subject: after the switch")
	m.run("postrider stop")

	m.run("cp /etc/postfix/main.cf /etc/postfix/master.cf /etc/postrider/")
	out = m.run("postrider check")
	if strings.Contains(out, "fatal") || strings.Contains(out, "unused") {
		t.Errorf("check with Postfix's files:\n%s", out)
	}
	m.run("postrider start && echo x | mail -s 'with the files of Postfix' root")
	m.received("root", "Subject: with the files of Postfix")
}
