package smtpd

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/lib/submit/submittest"
)

// scripted is a connection whose client says what it has to say in pieces, whatever it
// hears.
type scripted struct {
	in    []byte
	piece int
	out   bytes.Buffer
	gone  chan struct{}
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}
func (c *scripted) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scripted) Close() error                     { close(c.gone); return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 5} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// queue is a listener that is given its connections.
type queue struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}
func (q *queue) Close() error   { q.once.Do(func() { close(q.done) }); return nil }
func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "test"} }

var replyLine = regexp.MustCompile(`^[2-5][0-9]{2}[ -][^\x00-\x1f\x7f]*$`)

// Whatever a client sends: the session ends, every line it hears is a reply, nothing of
// it makes the server panic, and what reaches cleanup is in good order and for
// recipients of ours.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@ours.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
		"HELO c\nMAIL FROM:<> SIZE=1 BODY=8BITMIME SMTPUTF8\nRCPT TO:<\"a\\\"b\"@ours.example>\nRCPT TO:<@x:bob@ours.example>\nDATA\na\n.\r\nb\r.\r\n\r\n.\r\nRSET\r\n",
		"NOOP \r\nVRFY x\r\nHELP\r\nMAIL FROM:<a>\r\nMAIL FROM:<a>\r\nRCPT TO:postmaster\r\nDATA\r\n.\r\nDATA\r\n",
		"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01", "MAIL FROM:<@a,@b:\"\"@c>\r\n",
	} {
		f.Add([]byte(s), byte(0))
		f.Add([]byte(s), byte(10))
	}
	i := run(f, "smtpd_error_sleep_time = 0\nmynetworks = 192.0.2.9", &submittest.Cleanup{})
	conns := &queue{conns: make(chan net.Conn), done: make(chan struct{})}
	i.listen("fuzz/inet", conns, i.log, settingsFor(f, i.log, "smtpd_error_sleep_time = 0"), 0)
	seen := 0
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		// A line at a time, as a client that waits; or in pieces without regard.
		c := &scripted{in: in, piece: int(piece) + 1, gone: make(chan struct{})}
		var conn net.Conn = c
		if piece == 0 {
			conn = &polite{c}
		}
		conns.conns <- conn
		select {
		case <-c.gone:
		case <-time.After(4 * time.Second):
			t.Fatalf("the session does not end; heard so far: %q", c.out.String())
		}
		out := c.out.String()
		for line := range strings.SplitSeq(strings.TrimSuffix(out, "\r\n"), "\r\n") {
			if !replyLine.MatchString(line) || strings.Contains(line, "internal error") {
				t.Fatalf("reply %q", line)
			}
		}
		all := i.cleanup.Messages()
		for _, m := range all[seen:] {
			body := withoutReceived(t, m.Content)
			rest := strings.ReplaceAll(body, "\r\n", "")
			if strings.ContainsAny(rest, "\r\n") || body != "" && !strings.HasSuffix(body, "\r\n") {
				t.Fatalf("content %q", body)
			}
			for _, r := range m.Envelope.Recipients {
				rt, err := settingsOf(i).access.resolver.Resolve(t.Context(), "", r.Address)
				if err != nil || !rt.Authorised() {
					t.Fatalf("recipient %q", r.Address)
				}
			}
		}
		seen = len(all)
	})
}

func settingsOf(i *instance) *settings { return i.services["fuzz/inet"].set.Load() }

// polite gives at most one line with each read.
type polite struct{ *scripted }

func (c *polite) Read(p []byte) (int, error) {
	n := bytes.IndexByte(c.in, '\n') + 1
	if n == 0 {
		n = len(c.in)
	}
	c.piece = max(n, 1)
	return c.scripted.Read(p)
}
