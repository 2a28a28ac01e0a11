//go:build bench

package bench

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// load is what smtp-source sends.
type load struct {
	name       string
	size       int // bytes of the body
	sessions   int
	kept       bool   // sessions; else a new one for each message
	recipients int    // of each message; 0 is 1
	to         string // the recipient; "" is r@example.net
	numbered   bool   // recipients are 1r@example.net, 2r@...: each message another one
	n          int    // messages for the fast systems
	slow       int    // messages for the other systems
}

// messages is how many a system gets in a round.
func (l load) messages(system string) int {
	if system != "Postrider" && l.slow > 0 {
		return l.slow
	}
	return l.n
}

// await polls until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// source runs smtp-source.
func (l load) source(t *testing.T, addr string, n int) {
	t.Helper()
	args := []string{"-s", strconv.Itoa(l.sessions), "-m", strconv.Itoa(n), "-l", strconv.Itoa(l.size), "-f", "sender@example.com", "-t", cmp.Or(l.to, "r@example.net")}
	if l.kept {
		args = append(args, "-d")
	}
	if l.recipients > 1 {
		args = append(args, "-r", strconv.Itoa(l.recipients))
	}
	if l.numbered {
		args = append(args, "-N")
	}
	if out, err := exec.Command(needTool(t, "smtp-source"), append(args, addr)...).CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
}

// counter is a running smtp-sink -c. Its count is the end of a file.
type counter struct {
	t    *testing.T
	port string
	file *os.File
}

// startCounter starts smtp-sink on 127.0.0.1, or another address.
func startCounter(t *testing.T, host ...string) *counter {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "sink"))
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{t: t, port: freePort(t), file: f}
	// As many sessions as a client wants: those that are kept must not shut others out.
	args := []string{"-c", "ulimit -n $(ulimit -H -n); exec \"$@\"", "sh", needTool(t, "smtp-sink"), "-c", "-m", "10000"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	cmd := exec.Command("sh", append(args, cmp.Or(append(host, "")[0], "127.0.0.1")+":"+c.port, "1000")...)
	cmd.Stdout = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); f.Close() })
	await(t, "smtp-sink", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+c.port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return c
}

func (c *counter) addr() string  { return "127.0.0.1:" + c.port }
func (c *counter) relay() string { return "[127.0.0.1]:" + c.port }

// count is how many messages have arrived: the last "mesg=N" that smtp-sink wrote.
func (c *counter) count() (n int) {
	st, err := c.file.Stat()
	if err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, 200)
	k, err := c.file.ReadAt(b, max(0, st.Size()-int64(len(b))))
	if err != nil && err != io.EOF {
		c.t.Fatal(err)
	}
	text := string(b[:k])
	if i := strings.LastIndex(text[:max(0, strings.LastIndexByte(text, '\r'))], "mesg="); i >= 0 {
		fmt.Sscanf(text[i:], "mesg=%d", &n)
	}
	return n
}

// run sends n messages to addr and returns how many a second arrived at the sink, and how
// many were accepted. More than were sent, or fewer, end the test.
func (l load) run(t *testing.T, addr string, sink *counter, n int) (perSecond, accepted float64) {
	t.Helper()
	want := sink.count() + n
	start := time.Now()
	l.source(t, addr, n)
	accepted = float64(n) / time.Since(start).Seconds()
	await(t, "all mail at smtp-sink", func() bool { return sink.count() >= want })
	took := time.Since(start)
	if got := sink.count(); got != want {
		t.Fatalf("%d messages sent, %d arrived", n, got-want+n)
	}
	return float64(n) / took.Seconds(), accepted
}
