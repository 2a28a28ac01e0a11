package e2e

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// Nobody but mynetworks may send to other people's addresses, however they are written.
func TestRelayDenied(t *testing.T) {
	t.Parallel()
	i := instance.New(t, "relay_domains = relayed.test", "local_recipient_maps = inline:{known=x}", "relay_recipient_maps = inline:{{known@relayed.test=x}}",
		"transport_maps = inline:{{relayed.test=retry:later}}")
	i.AddService("2526 inet n - n - - smtpd", "  -o mynetworks=192.0.2.0/24",
		"2527 inet n - n - - smtpd", "  -o mynetworks=192.0.2.0/24", "  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination")
	i.Start()
	host, _, _ := net.SplitHostPort(i.Addr)
	for _, c := range []struct{ port, to, want string }{
		{"2526", "known@local.test", "250 2.1.5 Ok"},
		{"2526", "known+tag@local.test", "250 2.1.5 Ok"},
		{"2526", "known@relayed.test", "250 2.1.5 Ok"},
		{"2526", "postmaster", "250 2.1.5 Ok"},
		{"2526", "nobody@local.test", "550 5.1.1 <nobody@local.test>: Recipient address rejected: User unknown in local recipient table"},
		{"2526", "nobody@relayed.test", "550 5.1.1 <nobody@relayed.test>: Recipient address rejected: User unknown in relay recipient table"},
		{"2526", "x@other.test", "454 4.7.1 <x@other.test>: Relay access denied"},
		{"2527", "x@other.test", "554 5.7.1 <x@other.test>: Relay access denied"},
		{"2527", "x%other.test@local.test", "554 5.7.1 "},
		{"2527", `"x@other.test"@local.test`, "554 5.7.1 "},
		{"2527", "other.test!x@local.test", "554 5.7.1 "},
		{"2527", "@local.test:x@other.test", "554 5.7.1 "},
		{"2527", "x@[192.0.2.1]", "554 5.7.1 "},
		{"2525", "x@other.test", "250 2.1.5 Ok"},
		{"2525", "nobody@local.test", "550 5.1.1 "},
	} {
		s, err := source.Dial(host + ":" + c.port)
		if err != nil {
			t.Fatal(err)
		}
		s.Command("250", "MAIL FROM:<a@source.test>")
		if got, _ := s.Command("250", "RCPT TO:<%s>", c.to); !strings.HasPrefix(got, c.want) {
			t.Errorf("port %s, %s: %q, not %q", c.port, c.to, got, c.want)
		}
		s.Close()
	}
	i.AwaitLog(`smtpd\[\d+\]: NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 554 5\.7\.1 <x@other\.test>: Relay access denied; from=<a@source\.test> to=<x@other\.test> proto=ESMTP helo=<source\.test>$`)
	i.AwaitLog(`disconnect from unknown\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4$`)
}

// Garbage gets a clear answer, and the session, or at least the server, lives on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.Started(t, route("sink.test", far), "smtpd_error_sleep_time = 0", "message_size_limit = 100000")
	dial := func() *source.Session {
		t.Helper()
		s, err := source.Dial(i.Addr)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// One session takes all of these and then delivers.
	s := dial()
	for _, c := range []struct{ line, want string }{
		{"NO\x00P \x01\x02\xff\xfe", "5"},
		{strings.Repeat("x", 600), "5"},
		{"NOOP " + strings.Repeat("y", 5000), "500 5.5.2"},
		{"MAIL FROM:a@b c d", "555 5.5.4"},
		{"MAIL FROM:<" + strings.Repeat("a", 400) + "@b.test>", "5"},
		{"MAIL FROM:<a@b> SIZE=99999999999999999999", "5"},
		{"MAIL FROM:<a@b> SIZE=100001", "552 5.3.4"},
		{"MAIL FROM:<a@b> FOO=BAR", "555 5.5.4"},
		{"RCPT TO:<r@sink.test>", "503 5.5.1"},
		{"DATA", "503 5.5.1"},
		{"BDAT 99999999999999999999", "5"},
		{"MAIL FROM:<a\x00b@c.test>", "5"},
	} {
		if _, err := s.Write([]byte(c.line + "\r\n")); err != nil {
			t.Fatalf("%.40q: %v", c.line, err)
		}
		if got, err := s.Reply(); err != nil || !strings.HasPrefix(got, c.want) {
			t.Errorf("%.40q: %q, %v; want %s", c.line, got, err, c.want)
		}
	}
	if o, err := s.Send(source.New("after", "a@source.test", 1000, "r@sink.test"), &l); err != nil || len(o.Acked) != 1 {
		t.Errorf("after all that: %+v, %v", o, err)
	}
	// A content above the limit is refused when it has been read, and the session lives.
	if o, err := s.Send(&source.Message{ID: "big", Sender: "a@source.test", Recipients: []string{"r@sink.test"}, Content: ledger.Content("big", 99_000)}, &l); err != nil || len(o.Acked) != 1 {
		t.Errorf("just below the limit: %+v, %v", o, err)
	}
	big := ledger.Content("huge", 300_000)
	fmt.Fprintf(s, "MAIL FROM:<a@source.test>\r\nRCPT TO:<r@sink.test>\r\nDATA\r\n")
	for range 2 {
		s.Reply()
	}
	s.Expect("354")
	s.Write(source.Stuff(big))
	if got, err := s.Reply(); err != nil || !strings.HasPrefix(got, "552 5.3.4") {
		t.Errorf("above the limit: %q, %v", got, err)
	}
	s.Close()

	// What no SMTP client says ends the session.
	s = dial()
	if got, err := s.Command("221 2.7.0", "\x16\x03\x01\x02\x00\x01"); err != nil {
		t.Errorf("TLS to a plain port: %q, %v", got, err)
	}
	s.Abort()

	// A line without end is not read for ever.
	s = dial()
	if got, err := s.Command("5", "%s", strings.Repeat("z", 1<<20)); err != nil && got != "" && !strings.HasPrefix(got, "421 ") {
		t.Errorf("a line of 1 MB: %q, %v", got, err)
	}
	s.Abort()

	// Too many errors end the session.
	s = dial()
	var last string
	for range 30 {
		got, err := s.Command("250", "FOO")
		if err != nil && got == "" {
			break
		}
		last = got
	}
	if !strings.HasPrefix(last, "421 4.7.0") || !strings.Contains(last, "too many errors") {
		t.Errorf("30 bad commands ended in %q", last)
	}
	s.Abort()

	// Bare line feeds do not end a message.
	s = dial()
	m := &source.Message{ID: "lf", Sender: "a@source.test", Recipients: []string{"r@sink.test"}}
	m.Content = append(ledger.Content("lf", 500), "a\n.\nMAIL FROM:<evil@source.test>\r\n.\nb\r\n"...)
	raw := append(bytes.Clone(m.Content), "\r\n.\r\n"...)
	fmt.Fprintf(s, "MAIL FROM:<a@source.test>\r\nRCPT TO:<r@sink.test>\r\nDATA\r\n")
	for range 2 {
		s.Reply()
	}
	s.Expect("354")
	s.Write(raw)
	if got, err := s.Reply(); err != nil || !strings.HasPrefix(got, "250 2.0.0 Ok: queued as ") {
		t.Errorf("bare line feeds: %q, %v", got, err)
	}
	s.Close()
	i.Await("the message with bare line feeds", func() bool { return len(far.Find("lf")) == 1 })
	if c := far.Find("lf")[0].Content; !bytes.Contains(c, []byte("MAIL FROM:<evil@source.test>\r\n")) || bytes.Contains(bytes.ReplaceAll(c, []byte("\r\n"), nil), []byte("\n")) {
		t.Errorf("arrived as %q", c)
	}
	i.Await("deliveries", func() bool { return l.Open() == 0 })
}
