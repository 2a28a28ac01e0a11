package smtpd

import (
	"strings"
	"testing"
	"time"

	"postrider/lib/submit/submittest"
)

// noticesOf waits for n messages to cleanup and returns them.
func noticesOf(t *testing.T, cleanup *submittest.Cleanup, n int) []*submittest.Message {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(cleanup.Messages()) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d messages, want %d", len(cleanup.Messages()), n)
		}
	}
	return cleanup.Messages()
}

// The postmaster hears of a session with an error of a class he wants to hear of.
func TestTranscript(t *testing.T) {
	for _, c := range []struct {
		classes, says string
		lines         []string
	}{
		{"policy", "554 5.7.1 <u@elsewhere.example>: Relay access denied", []string{"EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@elsewhere.example>", "QUIT"}},
		{"protocol", "502 5.5.2 Error: command not recognized", []string{"EHLO c", "FROBNICATE", "QUIT"}},
		{"software", "451 4.3.5 Server configuration error", []string{"EHLO c", "MAIL FROM:<soft@b.example>", "RCPT TO:<alice@ours.example>", "QUIT"}},
		{"data", "451 4.3.0 <data@b.example>: Temporary lookup failure", []string{"EHLO c", "MAIL FROM:<data@b.example>", "RCPT TO:<alice@ours.example>", "QUIT"}},
	} {
		if c.classes == "protocol" {
			c.says = "500 5.5.2 Error: command not recognized"
		}
		t.Run(c.classes, func(t *testing.T) {
			var cleanup submittest.Cleanup
			i := run(t, "smtpd_peername_lookup = no\nsmtpd_relay_restrictions = reject_unauth_destination\nnotify_classes = "+c.classes+"\nerror_notice_recipient = ops\nmyorigin = ours.example\n"+
				"smtpd_sender_restrictions = check_sender_access inline:{ {soft@b.example=reject_the_moon} {data@b.example=reject_sender_login_mismatch} }\nsmtpd_sender_login_maps = fail:x\n", &cleanup)
			i.talk(c.lines...)
			m := noticesOf(t, &cleanup, 1)[0]
			text := string(m.Content)
			if !strings.Contains(text, "Subject: Postrider SMTP server: errors from unknown[127.0.0.1]\r\n") || !strings.Contains(text, " Out: 220 mx.ours.example ESMTP Postrider\r\n In:  EHLO c\r\n Out: 250-mx.ours.example\r\n") ||
				!strings.Contains(strings.ReplaceAll(text, "\r\n    ", " "), " Out: "+c.says+"\r\n") || !strings.Contains(text, " In:  QUIT\r\n Out: 221 2.0.0 Bye\r\n") || m.Envelope.Recipients[0].Address != "ops@ours.example" {
				t.Errorf("%+v\n%s", m.Envelope, text)
			}
		})
	}
}

// Nobody is told of what he does not want to hear of, and nobody of errors with a notice.
func TestNoTranscript(t *testing.T) {
	var cleanup submittest.Cleanup
	i := run(t, "smtpd_peername_lookup = no\nsmtpd_relay_restrictions = reject_unauth_destination\nnotify_classes = policy, data\n", &cleanup)
	i.talk("EHLO c", "FROBNICATE", "QUIT")
	i.talk("EHLO c", "MAIL FROM:<double-bounce@mx.ours.example>", "RCPT TO:<u@elsewhere.example>", "QUIT")
	i.talk("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@elsewhere.example>", "QUIT")
	if m := noticesOf(t, &cleanup, 1); strings.Contains(string(m[0].Content), "FROB") || strings.Contains(string(m[0].Content), "double-bounce") {
		t.Errorf("%s", m[0].Content)
	}
	if i.server.notices.Submit != &i.server.submit {
		t.Error("another cleanup")
	}
	off := run(t, "notify_classes =\n", &submittest.Cleanup{})
	off.talk("EHLO c", "QUIT")
	off.server.mu.Lock()
	defer off.server.mu.Unlock()
	for f := range off.server.fronts {
		if f.chat != nil {
			t.Error("a chat is kept")
		}
	}
}
