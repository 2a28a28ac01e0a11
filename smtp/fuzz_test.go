package smtp

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
)

// FuzzServer is a server that says anything: whatever it is, the delivery ends with
// one outcome for each recipient, and is sent only where a 250 was read after the dot.
func FuzzServer(f *testing.F) {
	f.Add([]byte("220 x ESMTP\r\n250-x\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n550 5.1.1 c\r\n354 d\r\n250 2.0.0 e\r\n"))
	f.Add([]byte("220-x\r\n220 y\r\n500 z\r\n250 x\r\n421 4.4.2 bye\r\n"))
	f.Add([]byte("220 x\r\n250-x\r\n250-SIZE 99999999999999999999\r\n250 SIZE -1\r\n250 a\r\n452 b\r\n552 b\r\n354 c\r\n250 d\r\n"))
	f.Add([]byte("999 x\r\n"))
	f.Add([]byte("220\n250-PIPELINING\x00\n250 DSN\n250\n250\n250\n354\n250"))
	conf, err := config.FromSnapshot(config.Snapshot{Dir: "/x"})
	if err != nil {
		f.Fatal(err)
	}
	st := newSettings("smtp", false, 1, conf, files{}, maillog.New("x", maillog.Options{}))
	st.timeout = timeouts{time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	f.Fuzz(func(t *testing.T, say []byte) {
		served := make(chan struct{})
		go func() {
			defer close(served)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			c.(*net.TCPConn).SetLinger(0) // leave no port waiting
			c.Write(say)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}()
		c := &client{}
		e := &environment{make: func(string) *settings { return st }}
		c.env.Store(e)
		r := &agent.Request{Content: agent.NewInline([]byte(testMail), agent.Checksum([]byte(testMail))), Lane: 1}
		r.Service, r.NextHop, r.Queue = "smtp", "["+strings.Replace(l.Addr().String(), ":", "]:", 1), "Q1"
		for i := range 3 {
			r.Recipients = append(r.Recipients, deliverTo("", "", "a").Recipients[0])
			r.Recipients[i].Index = uint32(i)
		}
		res := c.deliver(t.Context(), r)
		c.stop()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Fatal("no connection came")
		}
		seen := map[uint32]bool{}
		for _, rr := range res.Recipients {
			if seen[rr.Index] || rr.Status.DSN == "" || rr.Status.Text == "" || strings.ContainsAny(rr.Status.Text, "\r\n\x00") {
				t.Errorf("outcome %+v", rr)
			}
			seen[rr.Index] = true
			if rr.Status.Class == mail.Sent && (rr.Status.DSN[0] != '2' || !bytes.Contains(say, []byte("3"))) {
				t.Errorf("sent without a 354 and a 250: %+v", rr)
			}
		}
		if len(seen) != 3 {
			t.Errorf("%d outcomes of 3", len(seen))
		}
	})
}

// FuzzHop feeds next hops and replies to EHLO.
func FuzzHop(f *testing.F) {
	f.Add("[IPv6:2001:db8::1]:25", "x\nSIZE 1\nPIPELINING")
	f.Add("a:b", "\n\n")
	f.Fuzz(func(t *testing.T, next, text string) {
		if h, err := (&settings{port: 25}).parseHop(next); err == nil && (h.port == 0 || h.name == "" || h.addr.IsValid() && !h.noMX) {
			t.Errorf("%q: %+v", next, h)
		}
		if _, limit, _ := parseEHLO(text); limit < 0 {
			t.Error(limit)
		}
	})
}
