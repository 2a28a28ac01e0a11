package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// each are the lines that every message of rotated has, once.
var each = []string{": client=", ": message-id=<rotate-", "(queue active)", "status=sent (delivered to maildir)", ": removed\n"}

// rotated rotates the log several times while mail comes in, and counts the lines of all
// files: none is lost, and none is cut.
func rotated(t *testing.T, i *instance.Instance, rotate func(n int)) {
	t.Helper()
	const mails, rotations = 200, 4
	var next, rotated atomic.Int64
	sent := make(chan int)
	go func() {
		sent <- source.Load(context.Background(), i.Addr, 4, nil, func() *source.Message {
			k := next.Add(1)
			if k > mails && rotated.Load() == rotations {
				return nil
			}
			return source.New(fmt.Sprintf("rotate-%d", k), "a@source.test", 500, "u@"+instance.Domain)
		})
	}()
	for n := range rotations {
		before := next.Load()
		i.Await("some mail", func() bool { return next.Load() > before+mails/rotations/2 })
		rotate(n)
		rotated.Add(1)
	}
	all := <-sent
	for _, what := range each {
		i.Await("each line", func() bool { return countLines(t, i, what) >= all })
		if n := countLines(t, i, what); n != all {
			t.Errorf("%d lines %q, %d messages", n, what, all)
		}
	}
}

// countLines counts a text in the log and what it was rotated to.
func countLines(t *testing.T, i *instance.Instance, what string) (n int) {
	t.Helper()
	files, _ := filepath.Glob(i.Dir + "/maillog*")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if strings.HasSuffix(f, ".gz") {
			b, err = exec.Command("gzip", "-dc", f).Output()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", f, err)
		}
		n += strings.Count(string(b), what)
		if len(b) > 0 && b[len(b)-1] != '\n' {
			t.Errorf("%s ends within a line", f)
		}
	}
	return n
}

// TestRotate: the log is moved away and opened anew by a reload, several times while mail
// comes in, as logrotate does it.
func TestRotate(t *testing.T) {
	t.Parallel()
	i := instance.Started(t)
	log := i.Dir + "/maillog"
	rotated(t, i, func(n int) {
		if err := os.Rename(log, fmt.Sprintf("%s.%d", log, n)); err != nil {
			t.Fatal(err)
		}
		i.Must("master", "reload")
		i.Await("the new log", func() bool {
			b, _ := os.ReadFile(log)
			return strings.Contains(string(b), "reload -- version") && strings.Contains(string(b), "/smtpd[")
		})
	})
}

// TestLogrotate: the same by postrider logrotate, which compresses the old log at once:
// nobody writes to it any more.
func TestLogrotate(t *testing.T) {
	t.Parallel()
	i := instance.Started(t, "maillog_file_rotate_suffix = %Y%m%d-%H%M%S.%N")
	rotated(t, i, func(n int) {
		i.Must("master", "logrotate")
		if old, _ := filepath.Glob(i.Dir + "/maillog.*.gz"); len(old) != n+1 {
			t.Errorf("%d rotations: %q", n+1, old)
		}
	})

	// A configuration that is refused does not keep the log from being rotated.
	i.Set("message_size_limit = many")
	i.Must("master", "logrotate")
	i.AwaitLog(`error: reload: .*message_size_limit.*the old configuration stays`)
	if _, err := source.Send1(i.Addr, source.New("rotate-after", "a@source.test", 500, "u@"+instance.Domain), nil); err != nil {
		t.Fatal(err)
	}
	i.AwaitLog(`message-id=<rotate-after`)
}

// TestLogrotateRefuses: what cannot be rotated, or compressed, is one clear line, and
// nothing is overwritten.
func TestLogrotateRefuses(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	log := i.Dir + "/maillog"
	fails := func(says string) {
		t.Helper()
		if r := i.Run("master", "logrotate"); r.Code != 1 || !strings.Contains(r.Stderr, says) || strings.Count(r.Stderr, "\n") != 1 {
			t.Errorf("%+v, want %q", r, says)
		}
	}
	fails("no such file")
	i.WriteFile("maillog", "one\n")
	i.Must("master", "logrotate") // while the system is down
	if n := countLines(t, i, "one\n"); n != 1 {
		t.Errorf("%d lines", n)
	}

	i.WriteFile("maillog", "two\n")
	i.Set("maillog_file_rotate_suffix = old")
	i.WriteFile("maillog.old", "three\n")
	fails("file exists")
	if n := countLines(t, i, "t"); n != 2 {
		t.Errorf("%d files", n)
	}
	i.Set("maillog_file_rotate_suffix = x/y")
	fails("slash")
	i.Set("maillog_file_rotate_suffix = %Y", "maillog_file_compressor = /nonexistent")
	fails("/nonexistent")
	if _, err := os.Stat(log); err == nil {
		t.Error("the log is still there") // the next line makes a new one
	}
	i.Set("maillog_file_compressor =")
	fails("empty 'maillog_file_compressor' parameter value")
	i.Set("maillog_file = /dev/stdout", "maillog_file_compressor = gzip")
	fails("not rotating '/dev/stdout'")
	i.Set("maillog_file =")
	fails("empty 'maillog_file' parameter value - logfile rotation failed")
}
