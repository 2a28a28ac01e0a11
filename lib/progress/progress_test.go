package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal and what is seen on it.
func pty(t *testing.T) (terminal, screen *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	screen = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, screen
}

// On a terminal a line comes, counts, and goes; in a pipe there is nothing.
func TestLine(t *testing.T) {
	Delay = 10 * time.Millisecond
	defer func() { Delay = time.Second }()
	terminal, screen := pty(t)
	l := Start(terminal, "postsuper: deleting")
	l.Add()
	l.Add()
	screen.SetReadDeadline(time.Now().Add(30 * time.Second))
	var seen strings.Builder
	buf := make([]byte, 4096)
	until := func(text string) {
		t.Helper()
		seen.Reset()
		for !strings.Contains(seen.String(), text) {
			n, err := screen.Read(buf)
			if err != nil {
				t.Fatalf("%v, after %q", err, seen.String())
			}
			seen.Write(buf[:n])
		}
	}
	until("postsuper: deleting: 2, 0 s")
	l.Above(func() { fmt.Fprint(terminal, "warning") })
	until("\r\x1b[Kwarning")
	until("postsuper: deleting: 2, 0 s")
	l.Stop()
	l.Stop()
	fmt.Fprint(terminal, "end")
	until("\r\x1b[Kend")

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l = Start(w, "x") // a nil line, that nobody writes
	l.Add()
	l.Stop()
	w.Close()
	if b, _ := io.ReadAll(r); len(b) > 0 || l != nil {
		t.Errorf("in a pipe: %q, %v", b, l)
	}
}
