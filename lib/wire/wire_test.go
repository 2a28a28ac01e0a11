package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// fakeConn gives a stream in pieces of a fixed size and keeps what is written.
type fakeConn struct {
	net.Conn
	in     []byte
	piece  int
	out    bytes.Buffer
	writes int
}

func (c *fakeConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}
func (c *fakeConn) Write(p []byte) (int, error)      { c.writes++; return c.out.Write(p) }
func (c *fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }

func TestReadLine(t *testing.T) {
	in := "a\r\nb\nc\r\r\n\r\n" + strings.Repeat("x", 30) + "\r\n" + strings.Repeat("y", 31) + "\r\n" +
		strings.Repeat("z", 5000) + "\nlast\r\nrest"
	for piece := 1; piece < 100; piece++ {
		r := NewReader(&fakeConn{in: []byte(in), piece: piece}, 64)
		for _, want := range []string{"a", "b", "c", "", strings.Repeat("x", 30), "!", "!", "last"} {
			line, err := r.ReadLine(30)
			if want == "!" {
				if err != ErrLineTooLong {
					t.Fatalf("piece %d: %q, %v; want ErrLineTooLong", piece, line, err)
				}
				continue
			}
			if string(line) != want || err != nil {
				t.Fatalf("piece %d: %q, %v; want %q", piece, line, err, want)
			}
		}
		if _, err := r.ReadLine(30); err != io.ErrUnexpectedEOF {
			t.Fatalf("piece %d: %v; want ErrUnexpectedEOF", piece, err)
		}
	}
}

func TestFlood(t *testing.T) {
	r := NewReader(&fakeConn{in: bytes.Repeat([]byte("x"), 2*maxSkip), piece: 1 << 16}, 4096)
	if _, err := r.ReadLine(2048); err != ErrFlood {
		t.Fatalf("%v; want ErrFlood", err)
	}
}

func TestSwap(t *testing.T) {
	r := NewReader(&fakeConn{in: []byte("one\r\ntwo\r\nthree\r\n"), piece: 100}, 64)
	if _, err := r.ReadLine(60); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 4); &r.Swap(b)[0] != &b[0] {
		t.Fatal("unread bytes were lost")
	}
	if old := r.Swap(make([]byte, 1000)); len(old) != 64 {
		t.Fatalf("old buffer of %d bytes", len(old))
	}
	for _, want := range []string{"two", "three"} {
		if line, err := r.ReadLine(60); string(line) != want || err != nil {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		in   string
		code int
		text string
		dsn  string
		err  error
	}{
		{"250 ok\r\n", 250, "ok", "", nil},
		{"250\r\n", 250, "", "", nil},
		{"250 \n", 250, "", "", nil},
		{"250-a\r\n250-b\r\n250 c\r\n", 250, "a\nb\nc", "", nil},
		{"250-\r\n250 c\r\n", 250, "\nc", "", nil},
		{"550 5.1.1 <x>: no\r\n", 550, "5.1.1 <x>: no", "5.1.1", nil},
		{"550-a\r\n550 5.7.123 no\r\n", 550, "a\n5.7.123 no", "5.7.123", nil},
		{"550 5.7.2\r\n", 550, "5.7.2", "5.7.2", nil},
		{"550 4.7.2 no\r\n", 550, "4.7.2 no", "", nil},
		{"550 5.7.1234 no\r\n", 550, "5.7.1234 no", "", nil},
		{"550 5..1 no\r\n", 550, "5..1 no", "", nil},
		{"550 5.7 no\r\n", 550, "5.7 no", "", nil},
		{"550 5.7.1x\r\n", 550, "5.7.1x", "", nil},
		{"421 a\x00b\rc\r\n", 421, "a?b?c", "", nil},
		{"250-a\r\n550 b\r\n", 0, "", "", ErrReply},
		{"999 a\r\n", 0, "", "", ErrReply},
		{"100 a\r\n", 0, "", "", ErrReply},
		{"25\r\n", 0, "", "", ErrReply},
		{"250x\r\n", 0, "", "", ErrReply},
		{"hello\r\n", 0, "", "", ErrReply},
		{"\r\n", 0, "", "", ErrReply},
		{"250-a\r\n", 0, "", "", io.EOF},
		{"250 a", 0, "", "", io.ErrUnexpectedEOF},
		{strings.Repeat("250-x\r\n", 2000) + "250 y\r\n", 0, "", "", ErrReply},
	} {
		for _, piece := range []int{1, 7, 4096} {
			var rep Reply
			err := NewReader(&fakeConn{in: []byte(c.in), piece: piece}, 4096).ReadReply(&rep)
			if !errors.Is(err, c.err) || err == nil && c.err != nil {
				t.Errorf("%.40q: error %v, want %v", c.in, err, c.err)
			} else if err == nil && (rep.Code != c.code || rep.Text() != c.text || rep.DSN() != c.dsn) {
				t.Errorf("%q: %d %q %q, want %d %q %q", c.in, rep.Code, rep.Text(), rep.DSN(), c.code, c.text, c.dsn)
			}
		}
	}
}

// A reply that is too large keeps its beginning and its last line.
func TestReadReplyCaps(t *testing.T) {
	in := strings.Repeat("250-"+strings.Repeat("x", 5000)+"\r\n", 100) + "250 last\r\n250 next\r\n"
	r := NewReader(&fakeConn{in: []byte(in), piece: 1000}, 4096)
	var rep Reply
	if err := r.ReadReply(&rep); err != nil {
		t.Fatal(err)
	}
	if n := len(rep.Text()); n > maxReplyText+1000 || !strings.HasSuffix(rep.Text(), "\nlast") {
		t.Fatalf("%d bytes", n)
	}
	if err := r.ReadReply(&rep); err != nil || rep.String() != "250 next" {
		t.Fatalf("%v %q", err, rep.String())
	}
}

func TestAppendReply(t *testing.T) {
	for _, c := range []struct {
		code      int
		dsn, text string
		want      string
	}{
		{250, "2.1.0", "Ok", "250 2.1.0 Ok\r\n"},
		{354, "", "End data", "354 End data\r\n"},
		{250, "", "host\nPIPELINING\nSIZE 1", "250-host\r\n250-PIPELINING\r\n250 SIZE 1\r\n"},
		{550, "5.1.1", "a\nb\rc\x00", "550-5.1.1 a\r\n550 5.1.1 b?c?\r\n"},
	} {
		if got := string(AppendReply(nil, c.code, c.dsn, c.text)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestWriter(t *testing.T) {
	c := &fakeConn{}
	w := NewWriter(c, 64)
	w.Reply(250, "2.1.0", "Ok")
	w.Line("MAIL FROM:<", "a@b", ">")
	if c.writes != 0 {
		t.Fatal("wrote at once")
	}
	w.Flush()
	w.Flush()
	if got := c.out.String(); c.writes != 1 || got != "250 2.1.0 Ok\r\nMAIL FROM:<a@b>\r\n" {
		t.Fatalf("%d writes, %q", c.writes, got)
	}
	c.out.Reset()
	body := strings.Repeat(".line\r\n", 1000)
	w.Content([]byte(body))
	w.EndContent()
	w.Flush()
	if got := c.out.String(); got != strings.Repeat("..line\r\n", 1000)+".\r\n" {
		t.Fatalf("%d bytes", len(got))
	}
}

func TestNoAllocation(t *testing.T) {
	in := []byte("250 2.0.0 Ok: queued as X\r\n")
	c := &fakeConn{piece: 4096}
	r := NewReader(c, 4096)
	w := NewWriter(c, 4096)
	var rep Reply
	rep.text = make([]byte, 0, 100)
	c.out.Grow(1 << 20)
	if n := testing.AllocsPerRun(100, func() {
		c.in = in
		if err := r.ReadReply(&rep); err != nil {
			t.Fatal(err)
		}
		w.Reply(250, "2.1.0", "Ok")
		w.Content(in)
		w.EndContent()
		w.Flush()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("250-a\r\n250 b\r\n"), 3)
	f.Add([]byte("550 5.1.1 x\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		var a, b Reply
		errA := NewReader(&fakeConn{in: in, piece: piece}, 4096).ReadReply(&a)
		errB := NewReader(&fakeConn{in: in, piece: 1 << 20}, 4096).ReadReply(&b)
		if (errA == nil) != (errB == nil) || errA == nil && (a.Code != b.Code || a.Text() != b.Text()) {
			t.Fatalf("%v %v %q %q", errA, errB, a.Text(), b.Text())
		}
		if errA == nil {
			out := AppendReply(nil, a.Code, "", a.Text())
			if bytes.Count(out, []byte("\n")) != strings.Count(a.Text(), "\n")+1 {
				t.Fatalf("%q", out)
			}
		}
	})
}
