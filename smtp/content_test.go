package smtp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"postrider/lib/mail"
	"postrider/lib/proto"
)

// TestContent: what is on the wire.
func TestContent(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ name, in, want, set string }{
		{"plain", "A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n", ""},
		{"dots", ".\r\n..\r\nx.\r\n.y\r\n", "..\r\n...\r\nx.\r\n..y\r\n", ""},
		{"no final line end", "A: b\r\n\r\nx", "A: b\r\n\r\nx\r\n", ""},
		{"empty", "", "", ""},
		{"998", x(998) + "\r\n", x(998) + "\r\n", ""},
		{"999", x(999) + "\r\n", x(998) + "\r\n x\r\n", ""},
		{"3000", "a\r\n" + x(3000) + "\r\nb\r\n", "a\r\n" + x(998) + "\r\n " + x(997) + "\r\n " + x(997) + "\r\n " + x(8) + "\r\nb\r\n", ""},
		{"999 without end", x(999), x(998) + "\r\n x\r\n", ""},
		{"fold before a dot", x(998) + ".\r\n", x(998) + "\r\n .\r\n", ""},
		{"no limit", x(3000) + "\r\n", x(3000) + "\r\n", "smtp_line_length_limit=0"},
		{"small limit", x(30) + "\r\n", x(12) + "\r\n " + x(11) + "\r\n " + x(7) + "\r\n", "smtp_line_length_limit=1"},
		{"eight-bit", "A: b\r\n\r\nü\xff\r\n", "A: b\r\n\r\nü\xff\r\n", ""},
	} {
		s := listen(t, "127.0.0.1:0", nil)
		r := newRig(t, "127.0.0.1:1", strings.Fields(c.set)...)
		for _, large := range []bool{false, true} {
			in, want := c.in, c.want
			if large { // by a descriptor, in many blocks
				pad := strings.Repeat("P: x\r\n", 30000)
				in, want = pad+in, pad+want
			}
			wait(t, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), in, "a")))
			if got := s.got(); len(got) == 0 || got[len(got)-1] != want {
				t.Errorf("%s, large %v: %d bytes, want %d", c.name, large, len(got[len(got)-1]), len(want))
			}
		}
	}
}

// TestFolder: any division of the input gives the same, and a line is never too long.
func TestFolder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var b []byte
		for range rnd.IntN(8) {
			b = append(append(b, bytes.Repeat([]byte("y"), rnd.IntN(70))...), '\r', '\n')
		}
		whole := (&folder{limit: 20}).Append(nil, b)
		f := folder{limit: 20}
		var parts []byte
		for rest := b; len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			parts = f.Append(parts, rest[:n])
			rest = rest[n:]
		}
		if !bytes.Equal(whole, parts) {
			t.Fatalf("%q\n%q", whole, parts)
		}
		long := false
		for _, l := range bytes.Split(b, []byte("\r\n")) {
			long = long || len(l) > 20
		}
		if longLine(b, 20) != long || longLine(whole, 20) {
			t.Fatalf("longLine of %q, want %v", b, long)
		}
	}
}

// TestParameters: what MAIL and RCPT carry.
func TestParameters(t *testing.T) {
	for _, c := range []struct{ offered, want string }{
		{"250-x\n250-PIPELINING\n250-SIZE 1000\n250-8bitmime\n250-DSN\n250 SMTPUTF8", "MAIL FROM:<s@a.test> SIZE=16 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+2Bf\n" +
			"RCPT TO:<\"a b\"@b.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@y\nRCPT TO:<c@b.test> ORCPT=rfc822;o+2Bp@b.test\nRCPT TO:<d@b.test> NOTIFY=NEVER\nDATA"},
		{"250 x", "MAIL FROM:<s@a.test>\nRCPT TO:<\"a b\"@b.test>\nRCPT TO:<c@b.test>\nRCPT TO:<d@b.test>\nDATA"},
	} {
		s := listen(t, "127.0.0.1:0", script{"EHLO": {c.offered}})
		r := newRig(t, "127.0.0.1:1")
		d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), "A: b\r\n\r\n\xfc23456\r\n", "a b", "c", "d")
		d.UTF8, d.Ret, d.EnvID = true, "HDRS", "e+2Bf"
		d.Recipients[0].ORCPT, d.Recipients[0].Notify = "rfc822;x@y", mail.NotifySuccess|mail.NotifyFailure
		d.Recipients[1].Original, d.Recipients[1].ORCPT = "o+p@b.test", ""
		d.Recipients[2].Notify, d.Recipients[2].ORCPT = mail.NotifyNever, "rfc822;a b\r\nRSET"
		res := wait(t, r.ask(d))
		if got := s.commands(); got != "EHLO us.test\n"+c.want {
			t.Errorf("%s\nwant\n%s\n%s", got, c.want, render(res))
		}
	}
}

// TestManyRecipients: 1,000 recipients, sent ahead in bounded pieces.
func TestManyRecipients(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	r := newRig(t, "127.0.0.1:1")
	d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail)
	for i := range 1000 {
		d.Recipients = append(d.Recipients, proto.DeliverRecipient{Recipient: mail.Recipient{Address: mail.Address(fmt.Sprintf("%s%d@b.test", strings.Repeat("u", 40), i))}})
	}
	res := wait(t, r.ask(d))
	if len(res.Recipients) != 1000 || len(s.got()) != 1 {
		t.Fatal(len(res.Recipients), len(s.got()))
	}
	for _, rr := range res.Recipients {
		if rr.Status.Class != mail.Sent {
			t.Fatal(rr)
		}
	}
}

// TestChecksum: content that is not what was announced is never completed.
func TestChecksum(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	r := newRig(t, "127.0.0.1:1")
	for _, body := range []string{testMail, strings.Repeat("0123456789abcde\r\n", 10000)} {
		d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), body, "a", "b")
		d.CRC = 1
		want := "10 deferred 4.3.0 content checksum mismatch\n11 deferred 4.3.0 content checksum mismatch\n"
		if got := render(wait(t, r.ask(d))); got != want {
			t.Error(got)
		}
	}
	until(t, "the end of the session", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.open == 0 })
	if got := s.got(); len(got) != 0 {
		t.Errorf("%d messages were completed", len(got))
	}
}

// TestEarly: a server that refuses, or says yes, before the content is over.
func TestEarly(t *testing.T) {
	body := strings.Repeat("0123456789abcde\r\n", 500000) // more than fits between the two
	for _, c := range []struct{ early, want string }{
		{"552 5.3.4 too big", "10 bounced 5.3.4 host 127.0.0.1[127.0.0.1] said: 552 5.3.4 too big (in reply to end of DATA command)\n"},
		{"250 2.0.0 thanks", "10 deferred 4.5.0 protocol error in reply of 127.0.0.1[127.0.0.1] while sending message body\nhop deferred 4.5.0\n"},
	} {
		s := listen(t, "127.0.0.1:0", nil)
		s.early = c.early
		r := newRig(t, "127.0.0.1:1")
		if got := render(wait(t, r.ask(deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), body, "a")))); got != c.want {
			t.Errorf("got  %swant %s", got, c.want)
		}
		if len(s.got()) != 0 {
			t.Error("the message was completed")
		}
	}
}

// peer is a go-smtp server that keeps the sum of what it gets.
type peer struct{ sums chan [32]byte }

func (p *peer) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &peerSession{p}, nil }

type peerSession struct{ p *peer }

func (s *peerSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *peerSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (s *peerSession) Reset()                                 {}
func (s *peerSession) Logout() error                          { return nil }
func (s *peerSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		s.p.sums <- sha256.Sum256(b)
	}
	return err
}

// TestRealPeer sends messages of all sizes to go-smtp and compares their sums.
func TestRealPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{make(chan [32]byte, 1)}
	srv := gosmtp.NewServer(p)
	srv.Domain = "peer.test"
	srv.EnableSMTPUTF8, srv.EnableDSN = true, true
	go srv.Serve(l)
	defer srv.Close()
	r := newRig(t, "127.0.0.1:1")
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1 << 10, 4 << 10, 64 << 10, 1 << 20, 5 << 20} {
		var b bytes.Buffer
		b.WriteString("Subject: size\r\n\r\n")
		for b.Len() < n {
			if rnd.IntN(5) == 0 {
				b.WriteByte('.')
			}
			b.WriteString(strings.Repeat("z", rnd.IntN(200)))
			b.WriteString("\r\n")
		}
		want := sha256.Sum256(b.Bytes())
		res := wait(t, r.ask(deliverTo(l.Addr().String(), b.String(), "a", "b")))
		if len(res.Recipients) != 2 || res.Recipients[0].Status.Class != mail.Sent {
			t.Fatal(render(res))
		}
		if got := <-p.sums; got != want {
			t.Errorf("%d bytes arrived changed", n)
		}
	}
}
