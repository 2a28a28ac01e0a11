package maillog

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) (*os.File, func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0600)
	if err != nil {
		t.Fatal(err)
	}
	return f, func() string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

func TestLogger(t *testing.T) {
	f, text := open(t)
	l := New("postfix/smtpd", Options{Host: "mail.example.com"})
	l.sink.pid = 4711
	l.sink.now = func() time.Time { return start }
	l.number = 4711
	l.Infof("before the log is %s", "there")
	l.Open(f, File)
	l.Session(12).Event(Connect{peer})
	l.Named("postfix/submission/smtpd").Warnf("odd: %s", "a\nb")
	l.Errorf("100%")
	l.Fatalf("x")
	l.Panicf("y")
	l.Hclog().Info("from a library", "key", "v\n")
	l.Close()
	l.Infof("after the end")
	want := `Mar 04 10:11:12 mail postfix/smtpd[4711]: before the log is there
Mar 04 10:11:12 mail postfix/smtpd[12]: connect from mx.example.com[192.0.2.1]
Mar 04 10:11:12 mail postfix/submission/smtpd[4711]: warning: odd: a?b
Mar 04 10:11:12 mail postfix/smtpd[4711]: error: 100%
Mar 04 10:11:12 mail postfix/smtpd[4711]: fatal: x
Mar 04 10:11:12 mail postfix/smtpd[4711]: panic: y
Mar 04 10:11:12 mail postfix/smtpd[4711]: from a library key=v?
`
	if got := text(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A stuck log blocks nobody; what was lost is told when it moves again.
func TestStuck(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := New("postfix/smtpd", Options{Host: "mail", Buffer: 8 << 10})
	l.Open(w, Stdout)
	for range 10000 { // far more than pipe and buffer take
		l.Event(Connect{peer})
	}
	read := make(chan string)
	go func() {
		var b []byte
		buf := make([]byte, 1<<16)
		for {
			n, err := r.Read(buf)
			b = append(b, buf[:n]...)
			if err != nil {
				read <- string(b)
				return
			}
		}
	}()
	l.Flush()
	l.Infof("again")
	l.Close()
	got := <-read
	m := regexp.MustCompile(`warning: (\d+) lines of the log were lost`).FindStringSubmatch(got)
	if m == nil || !strings.HasSuffix(got, "again\n") {
		t.Fatalf("no line about lost ones, or not the last line: ...%s", got[max(0, len(got)-300):])
	}
	if n := strings.Count(got, "connect from"); n == 0 || n == 10000 {
		t.Errorf("%d lines came through", n)
	}
}

// After an error the lines wait for the log to be opened anew.
func TestReopen(t *testing.T) {
	closed, _ := open(t)
	closed.Close()
	l := New("postfix/smtpd", Options{Host: "mail"})
	l.Open(closed, File)
	l.Infof("one")
	f, text := open(t)
	l.Open(f, File)
	l.Infof("two")
	l.Close()
	if got := text(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "one\n") {
		t.Errorf("got %q", got)
	}
}

func TestSyslog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	srv, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l := New("postfix/smtpd", Options{Facility: FacilityByName("local3")})
	l.sink.now = func() time.Time { return start }
	l.number = 9
	l.Open(f, Syslog)
	l.Infof("a")
	l.Warnf("b")
	l.Close()
	for _, want := range []string{"<158>Mar  4 10:11:12 postfix/smtpd[9]: a", "<156>Mar  4 10:11:12 postfix/smtpd[9]: warning: b"} {
		b := make([]byte, 1024)
		srv.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := srv.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Errorf("got %q, %v; want %q", b[:n], err, want)
		}
	}
}

func TestLongText(t *testing.T) {
	f, text := open(t)
	l := New("postfix/smtpd", Options{Host: "mail"})
	l.Open(f, File)
	l.Infof("%s", strings.Repeat("\u00e4", 100000))
	l.Close()
	if got := text(); len(got) > 8<<10 || !strings.HasSuffix(got, "\u00e4...\n") {
		t.Errorf("%d bytes, end %q", len(got), got[len(got)-10:])
	}
}

func BenchmarkDelivery(b *testing.B) {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	l := New("postfix/smtp", Options{})
	l.Open(f, File)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		l.Event(delivery)
	}
}

func BenchmarkClient(b *testing.B) {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	l := New("postfix/smtpd", Options{}).Session(70000)
	l.Open(f, File)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		l.Event(Client{"4C1z1", peer})
	}
}

// Lines that come faster than they gather are not lost while the log takes them.
func TestBurst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := New("postfix/test", Options{Buffer: 4 << 10})
	l.Open(f, File)
	const lines = 20000
	for i := range lines {
		l.Infof("line %d", i)
	}
	l.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n != lines || strings.Contains(string(b), "lost") {
		t.Errorf("%d lines of %d in the log", n, lines)
	}
}
