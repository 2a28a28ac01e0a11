package operator

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/sysexits"
)

// impatient makes the limits short for a test.
func impatient(t *testing.T) {
	hello, answer := helloTime, answerTime
	t.Cleanup(func() { helloTime, answerTime = hello, answer })
	helloTime, answerTime = 100*time.Millisecond, 100*time.Millisecond
}

// queueManager listens as master does for qmgr, and serves connections by f.
func queueManager(t *testing.T, f func(*net.UnixConn, *ipc.Conn)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "public"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, proto.OperatorSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c.(*net.UnixConn), ipc.New(c.(*net.UnixConn), 0))
		}
	}()
	return dir
}

var greeting = ipc.Hello{Protocol: proto.OperatorName, Version: proto.OperatorVersion}

// A queue manager that hangs, or that is not there while master holds the socket, is
// waited for no longer than the limit.
func TestNoHello(t *testing.T) {
	impatient(t)
	hang := make(chan struct{})
	defer close(hang)
	dir := queueManager(t, func(*net.UnixConn, *ipc.Conn) { <-hang })
	if _, err := Dial(dir); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "mail system is starting or stopping") || !strings.HasSuffix(err.Error(), "try again") {
		t.Errorf("silent: %v", err)
	}
}

// With the listener's queue full there is a limit as well, and who waits gets in when
// there is room.
func TestFullBacklog(t *testing.T) {
	impatient(t)
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "public"), 0o755)
	path := filepath.Join(dir, proto.OperatorSocket)
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(l, &unix.SockaddrUnix{Name: path}), unix.Listen(l, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	for {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: path}); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Dial(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("a full queue: %v", err)
	}
	helloTime = 10 * time.Second
	got := make(chan error)
	go func() {
		sock, err := connect(path, helloTime)
		if err == nil {
			sock.Close()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c, _, err := unix.Accept(l)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(c)
	if err := <-got; err != nil {
		t.Errorf("with room: %v", err)
	}
}

// After the hello a queue manager has to show that it lives; a long answer is waited for
// as long as it does.
func TestAnswerTime(t *testing.T) {
	impatient(t)
	answerTime = time.Second // ten times what is between two frames, for a busy machine
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	dir := queueManager(t, func(_ *net.UnixConn, c *ipc.Conn) {
		go func() {
			c.Greet(greeting)
			c.Next()
			for range 12 {
				time.Sleep(answerTime / 10)
				c.Send(proto.TypeBusy, nil)
			}
			c.Send(proto.TypeDone, &proto.Done{Count: 7})
			c.Next()
			<-over
		}()
	})
	q, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if d, err := q.Do(&proto.Verb{Kind: proto.VerbFlush}); err != nil || d.Count != 7 {
		t.Errorf("a slow answer: %+v, %v", d, err)
	}
	if _, err := q.Do(&proto.Verb{Kind: proto.VerbFlush}); ExitCode(err) != sysexits.TempFail || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("no answer: %v", err)
	}
}

// Who is refused reads why, although the connection is closed before he has spoken.
func TestRefusedConnection(t *testing.T) {
	dir := queueManager(t, func(s *net.UnixConn, _ *ipc.Conn) {
		b := ipc.AppendFrame(nil, ipc.TypeHello, &greeting)
		s.Write(ipc.AppendFrame(b, proto.TypeDone, &proto.Done{Code: sysexits.TempFail, Text: "too many"}))
		s.Close()
	})
	for range 50 {
		q, err := Dial(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.List(&proto.List{}, nil); ExitCode(err) != sysexits.TempFail || err.Error() != "too many" {
			t.Fatalf("%v", err)
		}
		q.Close()
	}
}
