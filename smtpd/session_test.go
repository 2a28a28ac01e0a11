package smtpd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// client is a connection that expects replies.
type client struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{conn, bufio.NewReader(conn), t}
}

// cmd sends a line and expects the last line of the reply to begin with want.
func (c *client) cmd(line, want string) string {
	c.t.Helper()
	if line != "" {
		if _, err := c.Write([]byte(line + "\r\n")); err != nil {
			c.t.Fatal(err)
		}
	}
	for {
		got, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%q: %v, want %q", line, err, want)
		}
		if len(got) > 3 && got[3] == '-' {
			continue
		}
		if !strings.HasPrefix(got, want) {
			c.t.Fatalf("%q: %q, want %q", line, got, want)
		}
		return got
	}
}

// start goes as far as the recipient.
func (c *client) start() {
	c.t.Helper()
	c.cmd("", "220")
	c.cmd("EHLO client.example", "250")
	c.envelope()
}

func (c *client) envelope() {
	c.t.Helper()
	c.cmd("MAIL FROM:<a@b.example>", "250 2.1.0")
	c.cmd("RCPT TO:<alice@ours.example>", "250 2.1.5")
}

// ended expects the end of the connection and nothing before.
func (c *client) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("%q, %v; want the end", rest, err)
	}
}

func TestReceived(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	c := dial(t, i.addr)
	c.start()
	c.cmd("DATA", "354")
	one := c.cmd("x\r\n.", "250")
	c.envelope()
	c.cmd("RCPT TO:<bob@ours.example>", "250")
	c.cmd("DATA", "354")
	c.cmd("x\r\n.", "250")
	const date = `(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [ \d]\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d [+-]\d{4} \([^)]+\)\r\n`
	head := `^Received: from client\.example \(unknown \[127\.0\.0\.1\]\)\r\n\tby mx\.ours\.example \(Postrider\) with ESMTP id `
	m := i.cleanup.Messages()
	id := string(m[0].Envelope.ID)
	for n, want := range []string{head + id + `\r\n\tfor <alice@ours\.example>; ` + date + "x\r\n$",
		head + string(m[1].Envelope.ID) + `;\r\n\t` + date + "x\r\n$"} {
		if !regexp.MustCompile(want).Match(m[n].Content) {
			t.Errorf("%q\nis not %s", m[n].Content, want)
		}
	}
	if !m[0].Envelope.ID.Valid() || !strings.Contains(one, "queued as "+id+"\r\n") || m[0].Envelope.Size != int64(len(m[0].Content)) ||
		m[0].Envelope.Arrival.IsZero() || m[0].Envelope.Client.Helo != "client.example" {
		t.Errorf("envelope %+v for %q", m[0].Envelope, one)
	}
}

// The outcome of cleanup is the client's reply; when nobody knows it, there is none.
func TestOutcome(t *testing.T) {
	var answer atomic.Pointer[proto.SubmitReply]
	i := run(t, "", &submittest.Cleanup{Reply: func(*submittest.Message) (proto.SubmitReply, bool) { return *answer.Load(), true }})
	c := dial(t, i.addr)
	c.cmd("", "220")
	c.cmd("EHLO c", "250")
	for _, size := range []int{10, 200 << 10} {
		body := strings.Repeat("x\r\n", size/3)
		for _, x := range []struct {
			reply proto.SubmitReply
			want  string
		}{
			{proto.SubmitReply{}, "250 2.0.0 Ok: queued as "},
			{proto.SubmitReply{Code: 452, DSN: "4.3.1", Text: "Insufficient system storage"}, "452 4.3.1 Insufficient system storage\r\n"},
			{proto.SubmitReply{Code: 554, DSN: "5.4.0", Text: "Error: too many hops"}, "554 5.4.0 Error: too many hops\r\n"},
		} {
			answer.Store(&x.reply)
			c.envelope()
			c.cmd("DATA", "354")
			c.cmd(body+".", x.want)
		}
	}
	answer.Store(&proto.SubmitReply{Code: proto.SubmitUnknown})
	c.envelope()
	c.cmd("DATA", "354")
	fmt.Fprint(c, "x\r\n.\r\n")
	c.ended()
	i.waitLog("may or may not be queued")
}

// When cleanup dies: silence for who has sent the dot, 451 for who is in the middle, and
// the next message goes to its successor.
func TestCleanupDies(t *testing.T) {
	got := make(chan bool, 1)
	i := run(t, "", &submittest.Cleanup{Reply: func(*submittest.Message) (proto.SubmitReply, bool) {
		got <- true
		return proto.SubmitReply{}, false
	}})
	waiting, middle := dial(t, i.addr), dial(t, i.addr)
	waiting.start()
	waiting.cmd("DATA", "354")
	middle.start()
	middle.cmd("DATA", "354")
	fmt.Fprint(middle, strings.Repeat("0123456789abcdef\r\n", 10000))
	fmt.Fprint(waiting, "x\r\n.\r\n")
	<-got
	for i.cleanup.Opened() == 0 {
		time.Sleep(time.Millisecond)
	}
	i.cleanup.Close()
	waiting.ended()

	i.cleanup = &submittest.Cleanup{}
	i.connect()
	middle.cmd(".", "451 4.3.0 Error: queue file write error")
	middle.envelope()
	middle.cmd("DATA", "354")
	middle.cmd("y\r\n.", "250")
	if m := i.cleanup.Messages(); len(m) != 1 || withoutReceived(t, m[0].Content) != "y\r\n" {
		t.Fatalf("%d messages", len(m))
	}
}

// A large message goes through whole, and memory does not grow with it.
func TestLarge(t *testing.T) {
	i := run(t, "message_size_limit = 0", &submittest.Cleanup{})
	content := []byte(strings.Repeat(".hidden dot\r\n"+strings.Repeat("0123456789abcdef", 60)+"\r\n", 20000))
	wire := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	send := func() {
		c := dial(t, i.addr)
		c.start()
		c.cmd("DATA", "354")
		if _, err := c.Write(append([]byte("."), wire...)); err != nil {
			t.Fatal(err)
		}
		c.cmd(".", "250")
	}
	send()
	m := i.cleanup.Messages()[0]
	if got := withoutReceived(t, m.Content); sha256.Sum256([]byte(got)) != sha256.Sum256(content) {
		t.Fatalf("%d bytes of %d, or not the same", len(got), len(content))
	}
	i.cleanup.Close()
	i.cleanup = &submittest.Cleanup{Discard: true}
	i.connect()
	var before, after runtime.MemStats
	wire = append([]byte("."), wire...)[1:] // no allocation between here and there
	runtime.ReadMemStats(&before)
	send()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(len(wire))+8<<20 { // the client's copy, and little more
		t.Errorf("%d bytes allocated for a message of %d", n, len(wire))
	}
}

// At the end of the daemon: a transaction is finished, all else gets 421.
func TestStop(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	idle, busy, body := dial(t, i.addr), dial(t, i.addr), dial(t, i.addr)
	idle.cmd("", "220")
	idle.cmd("EHLO c", "250")
	busy.start()
	body.start()
	body.cmd("DATA", "354")
	fmt.Fprint(body, "x\r\n")
	i.stop()
	idle.cmd("", "421 4.3.2 mx.ours.example Service shutting down")
	idle.ended()
	body.cmd("y\r\n.", "250")
	body.cmd("", "421 4.3.2")
	body.ended()
	busy.cmd("DATA", "354")
	busy.cmd("z\r\n.", "250")
	busy.cmd("", "421 4.3.2")
	busy.ended()
	if _, err := net.Dial("tcp", i.addr); err == nil {
		t.Error("still listening")
	}
}

// A client that talks before the greeting is sent away.
func TestEarlyTalker(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, l.Addr().String())
	fmt.Fprint(c, "EHLO c\r\n")
	i.listen("other/inet", l, i.log, settingsFor(t, i.log, ""), 0)
	c.cmd("", "554 5.5.0 Error: SMTP protocol synchronization")
	c.ended()
	i.waitLog("improper command pipelining after CONNECT from unknown[127.0.0.1]: EHLO c")
}

// maxproc bounds the sessions: another client waits until one leaves.
func TestMaxproc(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i.of = 2
	i.listen("other/inet", l, i.log, settingsFor(t, i.log, ""), 3) // 2 of 3 for one of two
	a, b, c := dial(t, l.Addr().String()), dial(t, l.Addr().String()), dial(t, l.Addr().String())
	a.cmd("", "220")
	b.cmd("", "220")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.r.ReadByte(); !isTimeout(err) {
		t.Fatalf("served beyond the limit: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	a.cmd("QUIT", "221")
	c.cmd("", "220")
}

func TestClientLimit(t *testing.T) {
	i := run(t, "smtpd_client_connection_count_limit = 1", &submittest.Cleanup{})
	a, b := dial(t, i.addr), dial(t, i.addr)
	a.cmd("", "220")
	b.cmd("", "421 4.7.0 mx.ours.example Error: too many connections from 127.0.0.1")
	b.ended()
	a.cmd("QUIT", "221")
	a.ended()
	i.waitLog("disconnect from unknown[127.0.0.1] quit=1")
	dial(t, i.addr).cmd("", "220")
}

// After the soft limit every reply is delayed.
func TestErrorSleep(t *testing.T) {
	i := run(t, "smtpd_soft_error_limit = 1\nsmtpd_error_sleep_time = 1s", &submittest.Cleanup{})
	c := dial(t, i.addr)
	c.cmd("", "220")
	c.cmd("FOO", "500")
	begin := time.Now()
	c.cmd("NOOP", "250")
	if d := time.Since(begin); d < 900*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
}

// New settings are for new sessions.
func TestReload(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	a := dial(t, i.addr)
	a.cmd("", "220 mx.ours.example")
	v := i.services["smtp/inet"]
	i.listen("smtp/inet", v.listener, i.log, settingsFor(t, i.log, "myhostname = new.example"), 100)
	dial(t, i.addr).cmd("", "220 new.example")
	a.cmd("HELO c", "250 mx.ours.example")
	i.drop(map[string]bool{})
	a.cmd("NOOP", "250")
	if _, err := net.Dial("tcp", i.addr); err == nil {
		t.Error("still listening")
	}
}

// Other people's clients.
func TestClients(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	body := "Subject: x\r\n\r\n.dot\r\n..\r\nlast\r\n"
	if err := netsmtp.SendMail(i.addr, nil, "a@b.example", []string{"alice@ours.example"}, []byte(body)); err != nil {
		t.Error(err)
	}
	c, err := smtp.Dial(i.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if err := c.SendMail("ü@b.example", []string{"bob@ours.example", "alice@ours.example"}, strings.NewReader(body)); err != nil {
			t.Error(err)
		}
	}
	var refused *smtp.SMTPError
	err = c.SendMail("a@b.example", []string{"nobody@ours.example"}, strings.NewReader(body))
	if !errors.As(err, &refused) || refused.Code != 550 || refused.EnhancedCode != (smtp.EnhancedCode{5, 1, 1}) {
		t.Errorf("%v", err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	m := i.cleanup.Messages()
	if len(m) != 4 {
		t.Fatalf("%d messages", len(m))
	}
	for _, m := range m {
		if got := withoutReceived(t, m.Content); got != body {
			t.Errorf("%q", got)
		}
	}
}

// Sessions leave nothing behind, however they end.
func TestNoLeak(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for n := range 60 {
		wg.Go(func() {
			c, err := net.Dial("tcp", i.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for _, line := range []string{"EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@ours.example>", "DATA", "x\r\n.", "QUIT"}[:n%7] {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				fmt.Fprint(c, line+"\r\n")
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		i.mu.Lock()
		left, clients := len(i.fronts), len(i.clients)
		i.mu.Unlock()
		if left == 0 && clients == 0 && runtime.NumGoroutine() <= before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions, %d clients, %d goroutines (%d before)", left, clients, runtime.NumGoroutine(), before)
		}
	}
	i.submit.Close()
}

// A panic ends its session only, with 421.
func TestPanic(t *testing.T) {
	i := run(t, "", &submittest.Cleanup{})
	set := settingsFor(t, i.log, "")
	set.access.resolver = nil
	a := dial(t, i.addr)
	a.cmd("", "220")
	i.listen("smtp/inet", i.services["smtp/inet"].listener, i.log, set, 100)
	b := dial(t, i.addr)
	b.cmd("", "220")
	b.cmd("HELO c", "250")
	b.cmd("MAIL FROM:<a@b.example>", "250")
	b.cmd("RCPT TO:<alice@ours.example>", "421 4.3.0 mx.ours.example Error: internal error")
	b.ended()
	c := dial(t, i.addr)
	c.cmd("", "220")
	c.cmd("MAIL FROM:<root>", "421 4.3.0")
	a.cmd("HELO c", "250")
	a.envelope()
}
