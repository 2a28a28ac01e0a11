package debian

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the first process of a machine.
func TestMain(m *testing.M) {
	if root := os.Getenv("DEBIAN_TEST_ROOT"); root != "" {
		if err := boot(root); err != nil {
			fmt.Fprintln(os.Stderr, "boot:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// boot is the first process: it mounts what a machine has, and then is init, which
// buries orphans, and syslogd, which writes /var/log/syslog.
func boot(root string) error {
	if err := unix.Sethostname([]byte("fresh.example.com")); err != nil {
		return err
	}
	for _, m := range []struct {
		what, where, kind string
		flags             uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"tmpfs", root, "tmpfs", 0}, // so that nothing waits for a disk, and nothing is left
		{"proc", root + "/proc", "proc", 0},
		{"tmpfs", root + "/run", "tmpfs", 0},
		{"tmpfs", root + "/dev/shm", "tmpfs", 0},
	} {
		if m.where != root {
			os.MkdirAll(m.where, 0o755)
		}
		if err := unix.Mount(m.what, m.where, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
		if m.where != root {
			continue
		}
		if out, err := exec.Command("tar", "-C", root, "-xpf", os.Getenv("DEBIAN_TEST_TAR")).CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w: %s", err, out)
		}
		os.Chmod(root, 0o755)
	}
	cgroup := os.Getenv("DEBIAN_TEST_CGROUP")
	if cgroup != "" {
		if err := ownCgroup(root+"/sys/fs/cgroup", cgroup); err != nil {
			return err
		}
	}
	if err := unix.Chroot(root); err != nil {
		return err
	}
	os.Chdir("/")
	if err := loopback(); err != nil {
		return err
	}
	if cgroup != "" {
		return systemd()
	}
	os.Remove("/dev/log")
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		return err
	}
	os.Chmod("/dev/log", 0o666)
	file, err := os.OpenFile("/var/log/syslog", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := log.Read(b)
			if err != nil {
				return
			}
			file.Write(append(bytes.TrimRight(b[:n], "\x00\n"), '\n'))
		}
	}()
	fmt.Println("up")
	for {
		if pid, err := syscall.Wait4(-1, nil, 0, nil); pid <= 0 && err != syscall.EINTR {
			time.Sleep(20 * time.Millisecond) // no child now
		}
	}
}

// loopback brings the interface up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// machine is a Debian root in namespaces of its own.
type machine struct {
	t    *testing.T
	root string // as it is seen from out here
	pid  int    // of its first process, out here

	systemd bool // which has the log, then
}

// log is the system's log so far.
func (m *machine) log() string {
	if m.systemd {
		out, _ := m.try("journalctl --no-pager -q -o short")
		return out
	}
	text, _ := os.ReadFile(m.path("/var/log/syslog"))
	return string(text)
}

// start unpacks a fresh root and starts it, with systemd as its first process or with the
// test.
func start(t *testing.T, tar string, systemd bool) *machine {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"DEBIAN_TEST_ROOT=" + root, "DEBIAN_TEST_TAR=" + tar, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if systemd {
		cgroup := fmt.Sprintf("postrider-debian-%d-%d", os.Getpid(), time.Now().UnixNano())
		cmd.Env = append(cmd.Env, "DEBIAN_TEST_CGROUP="+cgroup)
		t.Cleanup(func() { removeCgroup(t, cgroup) })
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // and with it every process of the machine, by the kernel
		cmd.Wait()
	})
	if n, err := out.Read(make([]byte, 3)); n != 3 {
		t.Fatalf("the machine does not start: %v", err)
	}
	m := &machine{t: t, root: fmt.Sprintf("/proc/%d/root", cmd.Process.Pid), pid: cmd.Process.Pid, systemd: systemd}
	t.Cleanup(func() {
		if t.Failed() {
			log := m.log()
			t.Logf("the log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	if systemd {
		m.await("systemd", func() bool {
			out, _ := m.try("systemctl is-system-running")
			return out == "running\n" || out == "degraded\n"
		})
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

// try runs a shell script in the machine, as root.
func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(m.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", "SHELL=/bin/sh"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try of what must not fail.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out[max(0, len(out)-4000):])
	}
	return out
}

// as runs a script as a user.
func (m *machine) as(user, script string) string {
	m.t.Helper()
	return m.run("su -s /bin/sh " + user + " -c '" + strings.ReplaceAll(script, "'", `'\''`) + "'")
}

// write makes a file.
func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	os.Chmod(m.path(name), mode)
}

// await polls for a condition.
func (m *machine) await(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// mail is everything that a user has received, wherever it is delivered.
func (m *machine) mail(user string) string {
	home := "/home/" + user
	if user == "root" {
		home = "/root"
	}
	files, _ := filepath.Glob(m.path(home + "/Maildir/new/*"))
	files = append(files, m.path("/var/mail/"+user))
	var all []byte
	for _, f := range files {
		b, _ := os.ReadFile(f)
		all = append(all, b...)
	}
	return string(all)
}

// received waits until a user has a mail with the text in it.
func (m *machine) received(user, text string) {
	m.t.Helper()
	m.await(user+" has mail with "+text, func() bool { return strings.Contains(m.mail(user), text) })
}
