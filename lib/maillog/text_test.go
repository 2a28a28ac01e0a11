package maillog

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

var start = time.Date(2025, 3, 4, 10, 11, 12, 345678000, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * 1e9)) }

var (
	peer     = mail.Client{Name: "mx.example.com", Addr: "192.0.2.1", Helo: "mx", Protocol: "ESMTP"}
	evil     = mail.Client{Name: "a\nb", Addr: "192.0.2.1", Helo: "h\r\nfatal: x\x1b[2J", Protocol: "SMTP"}
	delivery = Delivery{Queue: "4C1z1", To: "bob@example.org", Relay: "mx.example.org[192.0.2.7]:25", ConnUse: 1,
		Arrival: start, Active: at(0.05), Handed: at(0.051), Connected: at(0.5), Done: at(1.26),
		Status: mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "250 2.0.0 Ok: queued as X"}}
)

func without(e Delivery, f func(*Delivery)) Delivery { f(&e); return e }

var lines = []struct {
	event Event
	want  string
}{
	{Connect{peer}, "connect from mx.example.com[192.0.2.1]"},
	{Connect{mail.Client{Addr: "192.0.2.1"}}, "connect from unknown[192.0.2.1]"},
	{Disconnect{peer, []Count{{"ehlo", 1, 1}, {"mail", 1, 1}, {"rcpt", 0, 1}, {"data", 0, 1}, {"rset", 0, 0}, {"quit", 1, 1}}},
		"disconnect from mx.example.com[192.0.2.1] ehlo=1 mail=1 rcpt=0/1 data=0/1 quit=1 commands=3/5"},
	{Disconnect{peer, nil}, "disconnect from mx.example.com[192.0.2.1] commands=0"},
	{LostConnection{peer, "CONNECT", 0}, "lost connection after CONNECT from mx.example.com[192.0.2.1]"},
	{LostConnection{peer, "DATA", 1234}, "lost connection after DATA (1234 bytes) from mx.example.com[192.0.2.1]"},
	{Timeout{peer, "RCPT", 0}, "timeout after RCPT from mx.example.com[192.0.2.1]"},
	{TooManyErrors{peer, "RCPT", 0}, "too many errors after RCPT from mx.example.com[192.0.2.1]"},
	{Client{"4C1z1", peer}, "4C1z1: client=mx.example.com[192.0.2.1]"},
	{Reject{Stage: "RCPT", Client: peer, Reply: "554 5.7.1 <u@d>: Relay access denied", From: "s@x", To: "r@y"},
		"NOQUEUE: reject: RCPT from mx.example.com[192.0.2.1]: 554 5.7.1 <u@d>: Relay access denied; from=<s@x> to=<r@y> proto=ESMTP helo=<mx>"},
	{Reject{Queue: "4C1z1", Action: "hold", Stage: "DATA", Client: peer, Reply: "x"},
		"4C1z1: hold: DATA from mx.example.com[192.0.2.1]: x; from=<> proto=ESMTP helo=<mx>"},
	{Reject{Stage: "CONNECT", Client: mail.Client{Addr: "192.0.2.1", Protocol: "SMTP"}, Reply: "554 5.7.1 no"},
		"NOQUEUE: reject: CONNECT from unknown[192.0.2.1]: 554 5.7.1 no; proto=SMTP"},
	{Reject{Stage: "EHLO", Client: evil, Reply: "501 x"},
		"NOQUEUE: reject: EHLO from a?b[192.0.2.1]: 501 x; proto=SMTP helo=<h??fatal: x?[2J>"},
	{Content{Queue: "4C1z1", Action: "reject", Where: "header", Line: "Subject: a\nb", Client: peer, From: "s@x", To: "r@y", Text: "5.7.1 no"},
		"4C1z1: reject: header Subject: a?b from mx.example.com[192.0.2.1]; from=<s@x> to=<r@y> proto=ESMTP helo=<mx>: 5.7.1 no"},
	{Content{Queue: "4C1z1", Action: "hold", Where: "body", Line: "x", Client: peer, Local: true}, "4C1z1: hold: body x from local; from=<>"},
	{Pickup{Queue: "4C1z1", UID: 1000, From: "alice"}, "4C1z1: uid=1000 from=<alice>"},
	{Pickup{Queue: "4C1z1", UID: 1000, From: "alice", Orig: "4C1z0"}, "4C1z1: uid=1000 from=<alice> orig_id=4C1z0"},
	{MessageID{"4C1z1", "<m@x>", false}, "4C1z1: message-id=<m@x>"},
	{MessageID{"4C1z1", "", false}, "4C1z1: message-id=<>"},
	{MessageID{"4C1z1", "<m@x>", true}, "4C1z1: resent-message-id=<m@x>"},
	{MessageID{"4C1z1", "<m\x00\u0085\u2028\xff\u00e4>", false}, "4C1z1: message-id=<m????\u00e4>"},
	{QueueActive{"4C1z1", "", 321, 2}, "4C1z1: from=<>, size=321, nrcpt=2 (queue active)"},
	{QueueActive{"4C1z1", "a b@c", 321, 2}, `4C1z1: from=<"a b"@c>, size=321, nrcpt=2 (queue active)`},
	{Removed{"4C1z1"}, "4C1z1: removed"},
	{Expired{"4C1z1", "s@x", false}, "4C1z1: from=<s@x>, status=expired, returned to sender"},
	{Expired{"4C1z1", "s@x", true}, "4C1z1: from=<s@x>, status=force-expired, returned to sender"},
	{Held{"4C1z1"}, "4C1z1: placed on hold"},
	{Released{"4C1z1"}, "4C1z1: released from hold"},
	{BounceNotice{"4C1z1", SenderBounce, "4C2z1"}, "4C1z1: sender non-delivery notification: 4C2z1"},
	{Info{"4C1z1", "host x said: 450\nno"}, "4C1z1: host x said: 450?no"},
	{Warning{"4C1z1", "odd"}, "warning: 4C1z1: odd"},
	{delivery, "4C1z1: to=<bob@example.org>, relay=mx.example.org[192.0.2.7]:25, delay=1.3, delays=0.05/0/0.45/0.76, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"},
	{without(delivery, func(e *Delivery) { e.ConnUse, e.OrigTo = 3, "b@example.org" }),
		"4C1z1: to=<bob@example.org>, orig_to=<b@example.org>, relay=mx.example.org[192.0.2.7]:25, conn_use=3, delay=1.3, delays=0.05/0/0.45/0.76, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"},
	{without(delivery, func(e *Delivery) { e.OrigTo, e.Connected = "BOB@example.org", time.Time{} }),
		"4C1z1: to=<bob@example.org>, relay=mx.example.org[192.0.2.7]:25, delay=1.3, delays=0.05/0/0/1.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"},
	{without(delivery, func(e *Delivery) { e.Connected = at(-1) }), // a kept connection
		"4C1z1: to=<bob@example.org>, relay=mx.example.org[192.0.2.7]:25, delay=1.3, delays=0.05/0/0/1.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"},
	{Delivery{Queue: "4C1z1", To: "bob", Arrival: start, Active: at(2), Done: at(3600),
		Status: mail.Status{DSN: "4.4.1", Text: "delivery temporarily suspended: x\ny"}},
		"4C1z1: to=<bob>, relay=none, delay=3600, delays=2/3598/0/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: x?y)"},
	{Delivery{Queue: "4C1z1", To: "bob", Arrival: start, Done: at(3),
		Status: mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "no"}},
		"4C1z1: to=<bob>, relay=none, delay=3, delays=3/0/0/0, dsn=5.1.1, status=bounced (no)"},
}

func TestLines(t *testing.T) {
	for _, c := range lines {
		l := line{resolution: 2}
		if c.event.text(&l); string(l.b) != c.want {
			t.Errorf("%#v\n got %s\nwant %s", c.event, l.b, c.want)
		}
	}
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		seconds    float64
		resolution int
		want       string
	}{
		{0, 2, "0"}, {0.004, 2, "0"}, {0.005, 2, "0.01"}, {0.05, 2, "0.05"}, {0.5, 2, "0.5"}, {0.554, 2, "0.55"}, {0.996, 2, "1"},
		{1.04, 2, "1"}, {1.25, 2, "1.3"}, {9.94, 2, "9.9"}, {9.96, 2, "10"}, {10.4, 2, "10"}, {37.5, 2, "38"}, {86400, 2, "86400"},
		{0.00123, 6, "0.0012"}, {0.000001, 6, "0.000001"}, {0.123456, 6, "0.12"}, {0.6, 0, "1"}, {1.4, 0, "1"}, {1.44, 1, "1.4"}, {0.12, 1, "0.1"},
	} {
		l := line{resolution: c.resolution}
		if l.delay(time.Duration(c.seconds*1e6) * time.Microsecond); string(l.b) != c.want {
			t.Errorf("%v with %d decimals: %s, want %s", c.seconds, c.resolution, l.b, c.want)
		}
	}
}

// TestJSON holds that every event renders as one JSON object in one line.
func TestJSON(t *testing.T) {
	s := newSink("postfix/smtpd", Options{Format: JSON, Host: "mail.example.com"})
	defer s.ring.close()
	s.now = func() time.Time { return start }
	for _, c := range lines {
		b := s.render("postfix/smtpd", 3, 7, "", c.event, nil)
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil || strings.Count(string(b), "\n") != 1 || m["event"] == "" {
			t.Errorf("%s: %v", b, err)
		}
	}
	s.pid = 5
	got := string(s.render("postfix/smtp", 3, 7, "", delivery, nil))
	want := `{"time":"2025-03-04T10:11:12.345678Z","host":"mail","tag":"postfix/smtp","pid":5,"session":7,"level":"info",` +
		`"event":"delivery","queue_id":"4C1z1","to":"bob@example.org","relay":"mx.example.org[192.0.2.7]:25","delay":1.26,"delays":[0.05,0.001,0.449,0.76],` +
		`"dsn":"2.0.0","status":"sent","text":"250 2.0.0 Ok: queued as X"}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestEveryEvent holds that the golden lines cover all types of events.
func TestEveryEvent(t *testing.T) {
	src, err := os.ReadFile("events.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range lines {
		seen[reflect.TypeOf(c.event).Name()] = true
	}
	for _, l := range strings.Split(string(src), "\n") {
		f := strings.Fields(l)
		if len(f) > 2 && f[0] == "type" && f[1] != "Event" && f[1] != "Count" && f[1] != "NoticeKind" && !seen[f[1]] {
			t.Errorf("no golden line for %s", f[1])
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("abc\r\n\x00\u0085\u2028\xff\u00e4\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range string(appendPrintable(nil, s)) {
			if r < ' ' || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfffd && !strings.ContainsRune(s, 0xfffd) {
				t.Errorf("%q lets %U through", s, r)
			}
		}
		var back string
		b := appendQuoted(nil, s)
		if err := json.Unmarshal(b, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && strings.ToValidUTF8(back, "") != back {
			t.Errorf("%q as JSON: %s: %v", s, b, err)
		}
		for _, c := range b {
			if c < ' ' || c == 0x7f {
				t.Errorf("%q as JSON holds %#x", s, c)
			}
		}
	})
}
