package postsuper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/progress"
)

// postsuper -x and -s show on a terminal that they go on, above it what is wrong, and
// nothing but that in a pipe.
func TestProgress(t *testing.T) {
	progress.Delay = time.Millisecond
	defer func() { progress.Delay = time.Second }()
	dir := t.TempDir()
	for _, sub := range []string{"incoming", "maildrop", "log", "deferred", "content", "corrupt", "hold"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 2000 { // so that it takes a while
		if err := os.WriteFile(filepath.Join(dir, "maildrop", fmt.Sprintf("FILE%d", n)), []byte("no message"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for option, says := range map[string]string{"-x": "postsuper: extracting: ", "-s": "postsuper: reading the queue: "} {
		args := func() []string {
			if option == "-s" {
				return []string{"-s", dir}
			}
			return []string{"-x", filepath.Join(t.TempDir(), "out"), dir}
		}
		var pipe bytes.Buffer
		if code := run(t.Context(), args(), nil, &pipe, &pipe); code != 1 || strings.Contains(pipe.String(), says) || strings.Contains(pipe.String(), "\x1b") {
			t.Errorf("%s in a pipe: %d, %.300s", option, code, pipe.String())
		}
		terminal, seen := screen(t)
		if code := run(t.Context(), args(), nil, terminal, terminal); code != 1 {
			t.Errorf("%s: %d", option, code)
		}
		terminal.Close()
		text := <-seen
		if !strings.Contains(text, says) || strings.Count(text, "warning: maildrop/FILE") != 2000 {
			t.Errorf("%s: %d warnings, %.300q", option, strings.Count(text, "warning: maildrop/FILE"), text)
		}
		for line := range strings.SplitSeq(text, "\n") {
			if _, shown, _ := strings.Cut(line, "warning"); strings.Contains(shown, says) {
				t.Errorf("%s: a line with both: %q", option, line)
			}
		}
	}
}

// screen is a terminal and, once it is closed, what was seen on it.
func screen(t *testing.T) (terminal *os.File, seen chan string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
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
	seen = make(chan string, 1)
	go func() {
		defer unix.Close(fd)
		var text []byte
		b := make([]byte, 4096)
		for {
			n, err := unix.Read(fd, b)
			if err != nil && err != unix.EINTR { // EIO: the terminal is closed
				seen <- string(text)
				return
			}
			text = append(text, b[:max(n, 0)]...)
		}
	}()
	return terminal, seen
}
