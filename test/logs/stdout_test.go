package logs

import (
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
)

// stdout gives master a pipe for standard output, as a container's runtime does.
func stdout(t *testing.T, i *instance.Instance) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	i.Set("maillog_file = /dev/stdout")
	i.Stdout = w
	return r
}

// TestStdoutStandsStill: a reader of standard output that stands still holds nobody up, nor
// does the end; when it reads again every line is there, whole.
func TestStdoutStandsStill(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	r := stdout(t, i)
	i.Start()
	const n = 200 // of which the pipe takes some
	mail(t, i, "pipe", n)
	delivered(i, n)
	var mu sync.Mutex
	var text strings.Builder
	go func() {
		b := make([]byte, 4096)
		for {
			k, err := r.Read(b)
			mu.Lock()
			text.Write(b[:k])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	read := func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
	for _, what := range []string{": client=", ": message-id=<", "(queue active)", "status=sent (delivered to maildir)", ": removed\n"} {
		i.Await("the lines "+what, func() bool { return strings.Count(read(), what) >= n })
		if got := strings.Count(read(), what); got != n {
			t.Errorf("%d lines %q of %d", got, what, n)
		}
	}
	for line := range strings.Lines(read()) {
		if !strings.Contains(line, " postfix/") || strings.Count(line, " postfix/") > 1 {
			t.Errorf("not one whole line: %q", line)
		}
	}
	// A full pipe again: the end does not wait for it.
	mail(t, i, "full", n)
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}

// TestStdoutIsGone: who read standard output has gone. Mail flows on.
func TestStdoutIsGone(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	r := stdout(t, i)
	i.Start()
	mail(t, i, "before", 5)
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	before := i.Processes()
	i.Stdout.Close()
	r.Close()
	mail(t, i, "after", 50)
	i.Must("master", "reload")
	mail(t, i, "later", 50)
	delivered(i, 105)
	after := i.Processes()
	if len(before) != len(after) || before[0] != after[0] {
		t.Errorf("processes: %v, were %v", after, before)
	}
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}

// TestFifo: a FIFO as maillog_file, which nobody reads yet, keeps nobody waiting; who
// begins to read it gets the lines.
func TestFifo(t *testing.T) {
	t.Parallel()
	i := instance.New(t)
	fifo := i.Dir + "/fifo"
	mkfifo(t, fifo)
	i.Set("maillog_file = " + fifo)
	i.Start()
	mail(t, i, "early", 5)
	delivered(i, 5)
	f, err := os.OpenFile(fifo, os.O_RDWR, 0) // which waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	b := make([]byte, 4096)
	for strings.Count(text.String(), ": removed\n") < 5 {
		k, err := f.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b[:k])
	}
	if i.Run("postsuper", "-d", "ALL").Code != 0 { // writes there, too
		t.Error("postsuper")
	}
}
