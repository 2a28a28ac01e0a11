package master

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// systemd hears of the start, a reload and the stop, and no child can speak to it.
func TestNotify(t *testing.T) {
	socket := t.TempDir() + "/notify"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 1000)
		l.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := l.Read(b)
		if err != nil || !regexp.MustCompile(want).Match(b[:n]) {
			t.Fatalf("heard %q, %v; want %s", b[:n], err, want)
		}
	}
	m := theManager()
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Error("children inherit the socket")
	}
	m.ready()
	hear("^READY=1\n")
	m.reloading()
	hear("^RELOADING=1\nMONOTONIC_USEC=[0-9]+\n$")
	m.stopping()
	hear("^STOPPING=1\n")
	manager{}.ready() // nobody to tell
	manager{socket + ".none"}.ready()
}

// The unit is as tight as doc/security.md says (systemd-analyze: Debian's systemd).
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze (Debian: systemd)")
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=34", "../conf/postrider.service").CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for postrider.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze: %v\n%s", err, out)
	}
	if score, _ := strconv.ParseFloat(string(m[1]), 64); score > 3.4 || err != nil {
		t.Errorf("exposure %.1f, %v", score, err)
	}
	if strings.Contains(string(out), "ignoring") {
		t.Errorf("%s", out)
	}
}
