package transcript

import (
	"fmt"
	"strings"
	"testing"

	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/submit"
	"postrider/lib/submit/submittest"
)

func settings(t *testing.T, lines ...config.Setting) Settings {
	t.Helper()
	c, err := config.FromSnapshot(config.Snapshot{Dir: t.TempDir(), Settings: append([]config.Setting{
		{Name: "myhostname", Value: "mx.example.com"}, {Name: "myorigin", Value: "example.com"}}, lines...)})
	if err != nil {
		t.Fatal(err)
	}
	return NewSettings(c)
}

func TestClasses(t *testing.T) {
	if s := settings(t); s.Classes != Resource|Software || s.to.Address != "postmaster@example.com" || !s.IsNotice("Double-Bounce@mx.example.com") || s.IsNotice("") {
		t.Errorf("%+v", s)
	}
	s := settings(t, config.Setting{Name: "notify_classes", Value: "bounce, policy, data, protocol"}, config.Setting{Name: "error_notice_recipient", Value: "ops@elsewhere.example"})
	if s.Classes != Policy|Data|Protocol || s.to.Address != "ops@elsewhere.example" {
		t.Errorf("%+v", s)
	}
}

// The message is Postfix's; what peers say cannot break out of its lines.
func TestText(t *testing.T) {
	s := settings(t)
	c := Begin()
	c.Out([]byte("220 mx.example.com ESMTP"))
	c.In([]byte("EHLO x\x1b[2J\x80"))
	c.Out([]byte("250-mx.example.com\r\n250 DSN\r\n"))
	c.In([]byte("MAIL FROM:<" + strings.Repeat("long ", 30) + ">"))
	got := string(s.text(&Report{Side: "server", Peer: "evil\n[192.0.2.1]", Why: "timeout", Chat: c}))
	want := "From: Mail Delivery System <MAILER-DAEMON>\r\nTo: postmaster@example.com (Postmaster)\r\n" +
		"Subject: Postrider SMTP server: errors from evil?[192.0.2.1]\r\n\r\nTranscript of session follows.\r\n\r\n" +
		" Out: 220 mx.example.com ESMTP\r\n In:  EHLO x?[2J?\r\n Out: 250-mx.example.com\r\n Out: 250 DSN\r\n" +
		" In:  MAIL FROM:<long long long long long long long long long long long long\r\n    long long long long long long long long long long long long long long long\r\n    long long long >\r\n" +
		"\r\nSession aborted, reason: timeout\r\n\r\nFor other details, see the local mail logfile\r\n"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// A session without end keeps its beginning and its end, and no more memory.
func TestBounded(t *testing.T) {
	c := Begin()
	for n := range 5001 {
		c.In(fmt.Appendf(nil, "NOOP %d %s", n, strings.Repeat("x", n%500)))
		c.Out([]byte("250 2.0.0 Ok"))
	}
	if len(c.b) > most || cap(c.b) > 4*most {
		t.Errorf("%d bytes, %d held", len(c.b), cap(c.b))
	}
	s := settings(t)
	text := string(s.text(&Report{Side: "server", Peer: "x", Chat: c}))
	for _, want := range []string{" In:  NOOP 0 \r\n", " [...]\r\n", " In:  NOOP 5000 \r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	var none *Chat
	none.In([]byte("x"))
	none.End()
}

// A storm of errors makes one notice a second.
func TestStorm(t *testing.T) {
	var cleanup submittest.Cleanup
	defer cleanup.Close()
	sock, err := cleanup.Serve()
	if err != nil {
		t.Fatal(err)
	}
	var client submit.Client
	client.Connect(sock)
	defer client.Close()
	n := Sender{Submit: &client, IDs: &mail.IDs{Number: 1}}
	s := settings(t)
	c := Begin()
	c.In([]byte("x"))
	for range 50 {
		if _, err := n.Send(&s, Report{Side: "server", Peer: "x", Chat: c}); err != nil {
			t.Fatal(err)
		}
	}
	m := cleanup.Messages()
	if len(m) == 0 || len(m) > 5 {
		t.Fatalf("%d notices", len(m))
	}
	if e := m[0].Envelope; e.Origin != mail.FromBounce || e.Sender != "double-bounce@mx.example.com" || e.Recipients[0].Address != "postmaster@example.com" || !m[0].Local {
		t.Errorf("%+v", e)
	}
}
