package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// TestOneServer has one server that fails at every stage there is (the numbers 38 to
// 42 of the client's part of the list of bad input), and holds the texts, codes and
// the blame of the destination.
func TestOneServer(t *testing.T) {
	const h = "127.0.0.1[127.0.0.1]"
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name   string
		script script
		to     string // recipients
		set    string
		body   string
		utf8   bool
		want   string
	}{
		{name: "good", want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
		{name: "no enhanced code", script: script{".": {"250 OK"}}, want: "10 sent 2.0.0 250 OK\n"},
		{name: "bare reply", script: script{".": {"250"}}, want: "10 sent 2.0.0 250\n"},
		{name: "enhanced code without text", script: script{"RCPT": {"550 5.7.2"}}, want: "10 bounced 5.7.2 host " + h + " said: 550 5.7.2 (in reply to RCPT TO command)\n"},
		{name: "no PIPELINING", script: script{"EHLO": {"250 mx.test"}}, to: "a b", want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n11 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
		{name: "HELO only", script: script{"EHLO": {"500 what"}}, want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},

		{name: "greeting 421", script: script{"greeting": {"421 4.3.2 no"}}, want: "10 deferred 4.3.2 host " + h + " refused to talk to me: 421 4.3.2 no\nhop deferred 4.3.2\n"},
		{name: "greeting 554", script: script{"greeting": {"554 5.7.1 no"}}, want: "10 deferred 4.7.1 host " + h + " refused to talk to me: 554 5.7.1 no\nhop deferred 4.7.1\n"},
		{name: "greeting 554 for good", set: "smtp_skip_5xx_greeting=no", script: script{"greeting": {"554 no"}}, want: "10 bounced 5.0.0 host " + h + " refused to talk to me: 554 no\n"},
		{name: "greeting closes", script: script{"greeting": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while receiving the initial server greeting\nhop deferred 4.4.2\n"},
		{name: "MAIL reset", script: script{"MAIL": {"reset"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while sending MAIL FROM\nhop deferred 4.4.2\n"},
		{name: "greeting hangs", set: "smtp_helo_timeout=1s", script: script{"greeting": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while receiving the initial server greeting\nhop deferred 4.4.2\n"},
		{name: "greeting code 999", script: script{"greeting": {"999 hello"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while receiving the initial server greeting\nhop deferred 4.5.0\n"},
		{name: "greeting is no SMTP", script: script{"greeting": {"HTTP/1.1 400 Bad Request"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while receiving the initial server greeting\nhop deferred 4.5.0\n"},
		{name: "greeting of mixed codes", script: script{"greeting": {"220-a\n221 b"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while receiving the initial server greeting\nhop deferred 4.5.0\n"},
		{name: "greeting of 1200 lines", script: script{"greeting": {strings.Repeat("220-x\n", 1200) + "220 y"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while receiving the initial server greeting\nhop deferred 4.5.0\n"},
		{name: "greeting of 900 lines", script: script{"greeting": {strings.Repeat("220-x\n", 900) + "220 y"}}, want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
		{name: "greeting of 10 MB", script: script{"greeting": {"220 " + strings.Repeat("x", 10<<20)}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while receiving the initial server greeting\nhop deferred 4.5.0\n"},

		{name: "EHLO 421", script: script{"EHLO": {"421 busy"}}, want: "10 deferred 4.0.0 host " + h + " refused to talk to me: 421 busy\nhop deferred 4.0.0\n"},
		{name: "HELO 550", script: script{"EHLO": {"550 no"}, "HELO": {"550 5.7.1 no"}}, want: "10 bounced 5.7.1 host " + h + " refused to talk to me: 550 5.7.1 no\n"},
		{name: "EHLO closes", script: script{"EHLO": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while performing the EHLO handshake\nhop deferred 4.4.2\n"},
		{name: "HELO closes", script: script{"EHLO": {"500 no"}, "HELO": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while performing the HELO handshake\nhop deferred 4.4.2\n"},
		{name: "EHLO hangs", set: "smtp_helo_timeout=1s", script: script{"EHLO": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while performing the EHLO handshake\nhop deferred 4.4.2\n"},
		{name: "EHLO of 100 KB", script: script{"EHLO": {"250-mx.test\n" + strings.Repeat("250-X"+strings.Repeat("Y", 200)+"\n", 500) + "250 PIPELINING"}}, want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
		{name: "EHLO is us", script: script{"EHLO": {"250-US.test hello\n250 PIPELINING"}}, want: "10 bounced 5.4.6 mail for 127.0.0.1 loops back to myself\n"},

		{name: "MAIL 450", script: script{"MAIL": {"450 4.1.8 later"}, "RCPT": {"503 5.5.1 need MAIL"}, "DATA": {"503 5.5.1 need MAIL"}}, want: "10 deferred 4.1.8 host " + h + " said: 450 4.1.8 later (in reply to MAIL FROM command)\n"},
		{name: "MAIL 550", script: script{"MAIL": {"550 5.1.8 never"}, "RCPT": {"503 need MAIL"}, "DATA": {"503 need MAIL"}}, to: "a b", want: "10 bounced 5.1.8 host " + h + " said: 550 5.1.8 never (in reply to MAIL FROM command)\n11 bounced 5.1.8 host " + h + " said: 550 5.1.8 never (in reply to MAIL FROM command)\n"},
		{name: "MAIL 421", script: script{"MAIL": {"421 4.3.2 down+close"}}, want: "10 deferred 4.3.2 host " + h + " said: 421 4.3.2 down (in reply to MAIL FROM command)\n"},
		{name: "MAIL closes", script: script{"MAIL": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while sending MAIL FROM\nhop deferred 4.4.2\n"},
		{name: "MAIL hangs", set: "smtp_mail_timeout=1s", script: script{"MAIL": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while sending MAIL FROM\nhop deferred 4.4.2\n"},
		{name: "MAIL garbage", script: script{"MAIL": {"yes please"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while sending MAIL FROM\nhop deferred 4.5.0\n"},

		{name: "RCPT mixed", to: "a b c d e", script: script{"RCPT": {"250 ok", "550 5.1.1 no such user", "451 4.7.1 greylisted", "552 too many", "250 ok"}},
			want: "11 bounced 5.1.1 host " + h + " said: 550 5.1.1 no such user (in reply to RCPT TO command)\n10 sent 2.0.0 250 2.0.0 Ok: queued as X\n14 sent 2.0.0 250 2.0.0 Ok: queued as X\n" +
				"12 deferred 4.7.1 host " + h + " said: 451 4.7.1 greylisted (in reply to RCPT TO command)\n13 deferred 4.0.0 host " + h + " said: 452 too many (in reply to RCPT TO command)\n"},
		{name: "RCPT all refused", to: "a b", script: script{"RCPT": {"550 5.1.1 no"}, "DATA": {"554 no valid recipients"}}, want: "10 bounced 5.1.1 host " + h + " said: 550 5.1.1 no (in reply to RCPT TO command)\n11 bounced 5.1.1 host " + h + " said: 550 5.1.1 no (in reply to RCPT TO command)\n"},
		{name: "RCPT all refused, 354", script: script{"RCPT": {"550 5.1.1 no"}, ".": {"554 no valid recipients"}}, want: "10 bounced 5.1.1 host " + h + " said: 550 5.1.1 no (in reply to RCPT TO command)\n"},
		{name: "RCPT 421", to: "a b c", script: script{"RCPT": {"250 ok", "421 4.2.1 enough+close"}}, want: "10 deferred 4.2.1 host " + h + " said: 421 4.2.1 enough (in reply to RCPT TO command)\n11 deferred 4.2.1 host " + h + " said: 421 4.2.1 enough (in reply to RCPT TO command)\n12 deferred 4.2.1 host " + h + " said: 421 4.2.1 enough (in reply to RCPT TO command)\n"},
		{name: "RCPT closes", to: "a b", script: script{"RCPT": {"550 5.1.1 no", "close"}}, want: "10 bounced 5.1.1 host " + h + " said: 550 5.1.1 no (in reply to RCPT TO command)\n11 deferred 4.4.2 lost connection with " + h + " while sending RCPT TO\nhop deferred 4.4.2\n"},
		{name: "RCPT hangs", set: "smtp_rcpt_timeout=1s", script: script{"RCPT": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while sending RCPT TO\nhop deferred 4.4.2\n"},
		{name: "RCPT multi-line", script: script{"RCPT": {"550-5.7.1 first\n550 5.7.1 second"}, "DATA": {"554 no"}}, want: "10 bounced 5.7.1 host " + h + " said: 550 5.7.1 first 5.7.1 second (in reply to RCPT TO command)\n"},
		{name: "RCPT control characters", script: script{"RCPT": {"550 a\x00b\rc\x1bd\x7f"}, "DATA": {"554 no"}}, want: "10 bounced 5.0.0 host " + h + " said: 550 a?b?c?d? (in reply to RCPT TO command)\n"},
		{name: "RCPT long", script: script{"RCPT": {"450 " + long}, "DATA": {"554 no"}}, want: "10 deferred 4.0.0 host " + h + " said: 450 " + long[:maxText-4] + " (in reply to RCPT TO command)\n"},

		{name: "DATA 451", script: script{"DATA": {"451 4.3.0 disk"}}, want: "10 deferred 4.3.0 host " + h + " said: 451 4.3.0 disk (in reply to DATA command)\n"},
		{name: "DATA 554", script: script{"DATA": {"554 5.7.1 no"}}, want: "10 bounced 5.7.1 host " + h + " said: 554 5.7.1 no (in reply to DATA command)\n"},
		{name: "DATA 250", script: script{"DATA": {"250 what"}}, want: "10 deferred 4.5.0 host " + h + " said: 250 what (in reply to DATA command)\n"},
		{name: "DATA 421", script: script{"DATA": {"421 bye+close"}}, want: "10 deferred 4.0.0 host " + h + " said: 421 bye (in reply to DATA command)\n"},
		{name: "DATA closes", script: script{"DATA": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while sending DATA command\nhop deferred 4.4.2\n"},
		{name: "DATA hangs", set: "smtp_data_init_timeout=1s", script: script{"DATA": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while sending DATA command\nhop deferred 4.4.2\n"},
		{name: "354 and 250 at once", script: script{"DATA": {"354 go\n250 2.0.0 thanks"}}, want: "10 deferred 4.5.0 protocol error in reply of " + h + " while sending message body\nhop deferred 4.5.0\n"},

		{name: "dot 451", script: script{".": {"451 4.3.0 later"}}, want: "10 deferred 4.3.0 host " + h + " said: 451 4.3.0 later (in reply to end of DATA command)\n"},
		{name: "dot 552", to: "a b", script: script{".": {"552 5.3.4 too big"}}, want: "10 bounced 5.3.4 host " + h + " said: 552 5.3.4 too big (in reply to end of DATA command)\n11 bounced 5.3.4 host " + h + " said: 552 5.3.4 too big (in reply to end of DATA command)\n"},
		{name: "dot 421", script: script{".": {"421 4.3.2 sorry+close"}}, want: "10 deferred 4.3.2 host " + h + " said: 421 4.3.2 sorry (in reply to end of DATA command)\n"},
		{name: "dot closes", script: script{".": {"close"}}, want: "10 deferred 4.4.2 lost connection with " + h + " while sending end of data -- message may be sent more than once\nhop deferred 4.4.2\n"},
		{name: "dot hangs", set: "smtp_data_done_timeout=1s", script: script{".": {"hang"}}, want: "10 deferred 4.4.2 conversation with " + h + " timed out while sending end of data -- message may be sent more than once\nhop deferred 4.4.2\n"},
		{name: "dot then closes", script: script{".": {"250 2.0.0 thanks+close"}}, want: "10 sent 2.0.0 250 2.0.0 thanks\n"},

		{name: "too large", script: script{"EHLO": {"250-mx.test\n250 SIZE 20"}}, want: "10 bounced 5.3.4 message size 21 exceeds size limit 20 of server " + h + "\n"},
		{name: "SIZE without a limit", script: script{"EHLO": {"250-mx.test\n250-SIZE\n250 SIZE x"}}, want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
		{name: "no SMTPUTF8", script: script{"EHLO": {"250-mx.test\n250 PIPELINING"}}, to: "ü", utf8: true, want: "10 bounced 5.6.7 SMTPUTF8 is required, but was not offered by host " + h + "\n"},
		{name: "no SMTPUTF8, header", script: script{"EHLO": {"250-mx.test\n250 PIPELINING"}}, body: "Subject: ü\r\n\r\nx\r\n", utf8: true, want: "10 bounced 5.6.7 SMTPUTF8 is required, but was not offered by host " + h + "\n"},
		{name: "no SMTPUTF8, not needed", script: script{"EHLO": {"250-mx.test\n250 PIPELINING"}}, body: "Subject: u\r\n\r\nü\r\n", utf8: true, want: "10 sent 2.0.0 250 2.0.0 Ok: queued as X\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, "127.0.0.1:0", c.script)
			r := newRig(t, "127.0.0.1:1", strings.Fields(c.set)...)
			to := strings.Fields(c.to)
			if len(to) == 0 {
				to = []string{"a"}
			}
			if c.body == "" {
				c.body = testMail
			}
			d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), c.body, to...)
			d.UTF8 = c.utf8
			res := wait(t, r.ask(d))
			if got := render(res); got != c.want {
				t.Errorf("got  %swant %s", got, c.want)
			}
			for _, rr := range res.Recipients {
				if said := strings.Contains(rr.Status.Text, "said:"); said != (rr.Status.Diag != "" && !strings.Contains(rr.Status.Text, "refused to talk") && rr.Status.Text != rr.Status.Diag) {
					t.Errorf("Diag %q for %q", rr.Status.Diag, rr.Status.Text)
				}
			}
		})
	}
}
