package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// TestRotate: the log is moved away and opened anew by a reload, several times while mail
// comes in, as logrotate does it; no line is lost and none is cut.
func TestRotate(t *testing.T) {
	t.Parallel()
	i := instance.Started(t)
	log := i.Dir + "/maillog"
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
		if err := os.Rename(log, fmt.Sprintf("%s.%d", log, n)); err != nil {
			t.Fatal(err)
		}
		i.Must("master", "reload")
		i.Await("the new log", func() bool {
			b, _ := os.ReadFile(log)
			return strings.Contains(string(b), "reload -- version") && strings.Contains(string(b), "/smtpd[")
		})
		rotated.Add(1)
	}
	all := <-sent
	count := func(what string) (n int) {
		files, _ := filepath.Glob(log + "*")
		for _, f := range files {
			b, _ := os.ReadFile(f)
			n += strings.Count(string(b), what)
			if len(b) > 0 && b[len(b)-1] != '\n' {
				t.Errorf("%s ends within a line", f)
			}
		}
		return n
	}
	for _, what := range []string{": client=", ": message-id=<rotate-", "(queue active)", "status=sent (delivered to maildir)", ": removed\n"} {
		i.Await("each line", func() bool { return count(what) >= all })
		if n := count(what); n != all {
			t.Errorf("%d lines %q, %d messages", n, what, all)
		}
	}
}
