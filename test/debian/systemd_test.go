package debian

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownCgroup gives this process a control group of its own, as the root of what it sees.
func ownCgroup(at, name string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("cgroup2", at, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	err := os.Mkdir(filepath.Join(at, name), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(at, name, "cgroup.procs"), []byte("0"), 0)
	}
	if err == nil {
		err = unix.Unshare(unix.CLONE_NEWCGROUP)
	}
	if err == nil {
		err = unix.Unmount(at, 0)
	}
	if err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	root := strings.TrimSuffix(at, "/fs/cgroup")
	return errors.Join(unix.Mount("sysfs", root, "sysfs", unix.MS_RDONLY, ""), unix.Mount("cgroup2", at, "cgroup2", 0, ""))
}

// removeCgroup removes it when its processes are gone.
func removeCgroup(t *testing.T, name string) {
	dir := t.TempDir()
	out, err := exec.Command("unshare", "--mount", "sh", "-ec", `mount -t cgroup2 none "$1"
		for try in 1 2 3 4 5 6 7 8 9; do
			find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null && exit; sleep 1
		done`, "sh", dir, name).CombinedOutput()
	if err != nil {
		t.Logf("control group %s: %v %s", name, err, out)
	}
}

// systemd becomes the first process, as in a container.
func systemd() error {
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for name, number := range map[string][2]uint32{"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}} {
		if err := unix.Mknod("/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))); err != nil {
			return err
		}
		os.Chmod("/dev/"+name, 0o666)
	}
	for _, dir := range []string{"shm", "pts", "mqueue", "hugepages"} { // which the unit's own /dev gets, too
		os.Mkdir("/dev/"+dir, 0o777)
	}
	os.Chmod("/dev/shm", os.ModeSticky|0o777)
	if err := unix.Mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"); err != nil {
		return err
	}
	os.Symlink("pts/ptmx", "/dev/ptmx")
	os.Symlink("/proc/self/fd", "/dev/fd")
	if err := os.WriteFile("/etc/hostname", []byte("fresh.example.com\n"), 0o644); err != nil {
		return err
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "container=test"}
	cmd := exec.Command("apt-get", "install", "-qq", "-y", "--no-install-recommends", "systemd-sysv")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install systemd: %w: %s", err, out)
	}
	fmt.Println("up")
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		unix.Dup3(int(null.Fd()), 1, 0)
		unix.Dup3(int(null.Fd()), 2, 0)
	}
	return unix.Exec("/lib/systemd/systemd", []string{"/lib/systemd/systemd"}, env)
}

// TestSystemd: on a machine that systemd runs, the package starts the service, and the
// hardened unit lets local deliver to homes and mailboxes and run commands as users, who
// may submit in turn. A call that its filter does not allow would kill who makes it. The
// service outlives a killed master and a restarted journald, and an upgrade under load
// loses nothing.
func TestSystemd(t *testing.T) {
	m := fresh(t, true)
	// Before the package: the filter says so, instead of an error that is passed over.
	m.run("mkdir -p /etc/systemd/system/postrider.service.d")
	m.write("/etc/systemd/system/postrider.service.d/test.conf", "[Service]\nSystemCallErrorNumber=kill\n", 0o644)
	m.run(install)
	active := func() { m.t.Helper(); m.run("systemctl is-active postrider") }
	active()
	m.run("systemctl is-enabled postrider")
	if out := m.run("systemctl show -p SystemCallErrorNumber -p NoNewPrivileges -p ProtectHome -p NotifyAccess postrider"); !strings.Contains(out, "NoNewPrivileges=no") || !strings.Contains(out, "ProtectHome=no") ||
		strings.Contains(out, "EPERM") || strings.Contains(out, "=1\n") {
		t.Errorf("the unit:\n%s", out)
	}
	out := m.run("systemd-analyze security --no-pager postrider")
	found := regexp.MustCompile(`exposure level for postrider.service: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze:\n%s", out)
	}
	if score, _ := strconv.ParseFloat(found[1], 64); score > 3.4 {
		t.Errorf("exposure %s", found[1])
	}
	// Who may gain privileges: master and local, whose commands may; no other daemon.
	for name, want := range map[string]string{"master": "0", "local": "0", "smtpd": "1", "smtp": "1", "cleanup": "1", "qmgr": "1", "bounce": "1"} {
		ask := "pgrep -o -x " + name
		if name == "master" {
			ask = "systemctl show -p MainPID --value postrider"
		}
		pid := strings.TrimSpace(m.run(ask))
		m.await("the doors of "+name, func() bool {
			return strings.TrimSpace(m.run("sed -n 's/^NoNewPrivs:\t//p' /proc/"+pid+"/status")) == want
		})
	}

	t.Run("programs", func(t *testing.T) { programs(t, m) })
	t.Run("cron", func(t *testing.T) { cron(t, m, "rm -f /run/crond.reboot; systemctl restart cron") })
	t.Run("users", func(t *testing.T) { users(t, m) })
	t.Run("smtp", func(t *testing.T) { smtp(t, m) })

	t.Run("operate", func(t *testing.T) {
		m.as("joe", "printf 'Subject: away\n\nhello\n' | sendmail friend@elsewhere.example")
		m.await("it is in the queue", func() bool { return strings.Contains(m.run("mailq"), "friend@elsewhere.example") })
		m.run("systemctl reload postrider")
		m.await("a reload", func() bool { return strings.Contains(m.log(), "reload -- version") })
		lines := func() int {
			return strings.Count(m.run("journalctl --no-pager -q -t postfix/local -o cat"), "status=sent")
		}
		m.run("systemctl restart systemd-journald")
		before := lines()
		m.as("joe", "printf 'Subject: behind journald\n\nhello\n' | sendmail ann")
		m.received("ann", "Subject: behind journald")
		m.await("its line", func() bool { return lines() > before })
		old := m.run("systemctl show -p MainPID --value postrider")
		m.run("kill -9 " + old)
		m.await("another master", func() bool {
			pid := m.run("systemctl show -p MainPID --value postrider")
			return pid != old && pid != "0\n" && strings.TrimSpace(m.run("systemctl is-active postrider || true")) == "active"
		})
		m.as("joe", "printf 'Subject: behind the kill\n\nhello\n' | sendmail ann")
		m.received("ann", "Subject: behind the kill")
	})
	t.Run("upgrade", func(t *testing.T) { upgrade(t, m); active() })

	if log := m.log(); strings.Contains(log, "SIGSYS") || strings.Contains(log, "signal 31") || strings.Contains(log, "bad system call") {
		t.Error("a call was refused by the unit's filter")
	}
	t.Run("purge", func(t *testing.T) {
		m.run("postsuper -d ALL; rm -r /etc/systemd/system/postrider.service.d; apt-get purge -y postrider")
		if out, _ := m.try("systemctl is-active postrider; systemctl list-unit-files | grep postrider; ls -d /var/spool/postrider /etc/postrider /var/lib/postrider 2>/dev/null"); strings.TrimSpace(out) != "inactive" {
			t.Errorf("left: %s", out)
		}
	})
}

// upgrade installs a newer package while users submit: what sendmail took arrives, once,
// and what waited in the queue waits on.
func upgrade(t *testing.T, m *machine) {
	top := deb(t)
	dir := t.TempDir()
	must(t, "sh", "-ec", `dpkg-deb -R "$1/build/postrider.deb" "$2/x" && sed -i 's/^Version: .*/&+later/' "$2/x/DEBIAN/control" && dpkg-deb -Znone --root-owner-group --build "$2/x" "$2/later.deb"`, "sh", top, dir)
	text, err := os.ReadFile(dir + "/later.deb")
	if err != nil {
		t.Fatal(err)
	}
	m.write("/later.deb", string(text), 0o644)
	waiting := m.run("mailq | grep -c elsewhere.example || true")
	m.write("/usr/local/bin/load", `#!/bin/sh
n=0
while test ! -e /var/note/stop; do
	n=$((n+1))
	printf "Subject: upgraded $n.\n\nhello\n" | sendmail ann && echo "upgraded $n." >>/var/note/accepted
done
touch /var/note/stopped
`, 0o755)
	m.run("rm -f /var/note/stop*; su -s /bin/sh joe -c 'nohup /usr/local/bin/load >/var/note/load 2>&1 &'")
	lines := func() int {
		text, _ := os.ReadFile(m.path("/var/note/accepted"))
		return strings.Count(string(text), "\n")
	}
	m.await("mail before", func() bool { return lines() > 20 })
	m.run("dpkg -i /later.deb")
	if !m.systemd {
		m.run("postrider status")
	}
	after := lines()
	m.await("mail behind", func() bool { return lines() > after+20 })
	m.run("touch /var/note/stop")
	m.await("the end", func() bool { _, err := os.Stat(m.path("/var/note/stopped")); return err == nil })
	accepted, _ := os.ReadFile(m.path("/var/note/accepted"))
	all := strings.Fields(strings.ReplaceAll(string(accepted), "upgraded ", ""))
	m.await("all of it", func() bool { return strings.Count(m.mail("ann"), "Subject: upgraded ") >= len(all) })
	mail := m.mail("ann")
	for _, n := range all {
		if k := strings.Count(mail, "Subject: upgraded "+n+"\n"); k != 1 {
			t.Errorf("%s arrived %d times", n, k)
		}
	}
	if now := m.run("mailq | grep -c elsewhere.example || true"); now != waiting {
		t.Errorf("in the queue: %s, were %s", now, waiting)
	}
	if out := m.run("dpkg-query -W -f '${Version}' postrider"); !strings.HasSuffix(out, "+later") {
		t.Errorf("version %s", out)
	}
	m.run("rm /later.deb")
	failed, _ := os.ReadFile(m.path("/var/note/load"))
	t.Logf("%d accepted, refused: %q", len(all), failed)
}
