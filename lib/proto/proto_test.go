package proto

import (
	"reflect"
	"testing"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
)

type message interface {
	ipc.Appender
	Decode([]byte) error
}

func messages() []message {
	at := time.UnixMicro(1741083072123456)
	st := mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "no", RemoteMTA: "mx", Diag: "550 no"}
	rc := mail.Recipient{Address: "a@b", Original: "c@d", ORCPT: "rfc822;c@d", Notify: mail.NotifyDelay}
	return []message{
		&Setup{"smtpd", 1, 2, []byte("snap"), "SIGSEGV"},
		&Grant{GrantTable, "texthash:/x"},
		&Stop{30000},
		&Silent{"smtp.0"},
		&Died{"smtp.0", 17, "SIGSEGV"},
		&Alone{"smtp", true},
		&SubmitHello{17},
		&Profile{"cpu", 10},
		&Submit{7, true, []byte("env"), []byte("content")},
		&SubmitPart{7, []byte("more")},
		&SubmitReplies{[]SubmitReply{{Tx: 1}, {2, 452, "4.3.1", "full", true}}},
		&JournalHello{9, Durable{10, 4096}},
		&Durable{1 << 40, 1 << 33},
		&Drain{"bounce", 17, []uint64{1, 2}},
		&Drained{"bounce", 17, Durable{3, 4}},
		&Freed{[]string{"1", "2"}},
		&Pressure{1 << 40},
		&Full{All: true, Keys: []FullKey{{"sender", "a@b"}}, Free: []FullKey{{"all", ""}}},
		&Lookup{7, "/etc/postrider/vip", "a@b"},
		&Found{7, "high", true, "why"},
		&Deliver{ID: DeliveryID{1, 2}, Service: "bounce", NextHop: "failure", Queue: "Q", File: 3, Slot: 4, Sender: "s@t", EnvID: "e", Ret: "FULL",
			Body: mail.Body8Bit, UTF8: true, Origin: mail.FromLocal, Client: mail.Client{Name: "n", Addr: "a", Helo: "h", Protocol: "p", UID: 5}, Arrival: at, Active: at, Handed: at,
			Size: 6, CRC: 7, Verify: true, Inline: true, Content: []byte("x"), FDOffset: 8, Source: Source{"ip1", "h", "192.0.2.1", "2001:db8::1"}, Recipients: []DeliverRecipient{{9, rc, st, true}}},
		&Ack{[]DeliveryID{{1, 2}, {3, 4}}},
		&Result{DeliveryID{1, 2}, "Q", 3, 4, st, []RecipientResult{{5, true, Pass{}, true, st}, {6, false, Pass{"lmtp", "unix:s", "a@b"}, false, mail.Status{}}}, "panic", true},
		&AgentHello{"smtp", 1, 17, []InHand{{DeliveryID{1, 2}, "Q", 3, 4, "failure", []uint32{5, 6}}}},
		&List{[]string{"hold"}, []string{"Q"}},
		&Item{"deferred", "Q", at, 1234, true, "s@t", at, []ItemRecipient{{"a@b", "c@d", "why", 3, at, WaitTime}}},
		&Why{[]string{"Q"}},
		&Reason{Item{"deferred", "Q", at, 1234, true, "s@t", at, []ItemRecipient{}}, at, "x = y", []Wait{{For: WaitHold}},
			[]Fate{{7, []mail.Address{"a@b"}, "deferred", "smtp", "b", "bulk", "ip1", 3, "no", "reply", at, []Wait{{WaitDead, "smtp", 1, 2, 3, 4, "x = y", at, at, "refused"}}}}, 9, []string{"a=b"}, 7},
		&Shape{[]string{"hold"}, true, true, true, 10, 5, true, 20},
		&ShapeRows{{"TOTAL", []uint64{3, 1, 2}}},
		&Verb{VerbDelete, true, []string{"deferred"}, []string{"Q"}},
		&Done{75, "no", []string{"Q"}, 5, []string{"s"}, 2},
	}
}

// Every message survives the way through a frame, and no cut of it passes for a
// message of the same meaning or makes Decode panic.
func TestRoundTrip(t *testing.T) {
	for _, m := range messages() {
		b := m.Append(nil)
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
		if err := got.Decode(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", m, err, got, m)
		}
		for i := range b {
			cut := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
			if cut.Decode(b[:i]) == nil && reflect.DeepEqual(cut, m) {
				t.Errorf("%T cut to %d of %d bytes reads as whole", m, i, len(b))
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for i, m := range messages() {
		f.Add(i, m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		all := messages()
		if i < 0 || i >= len(all) {
			return
		}
		m := reflect.New(reflect.TypeOf(all[i]).Elem()).Interface().(message)
		if m.Decode(b) == nil && len(m.Append(nil)) > 2*len(b)+64 {
			t.Errorf("%T: %d bytes decoded to something far larger", m, len(b))
		}
	})
}

// request is a delivery request as qmgr makes it for a message of 4 KB.
func request() *Deliver {
	at := time.UnixMicro(1741083072123456)
	return &Deliver{ID: DeliveryID{1, 2}, Service: "smtp", NextHop: "[192.0.2.1]:25", Queue: "4C1xyzW1Bcdz1", File: 3, Slot: 4,
		Sender: "sender@example.com", Client: mail.Client{Name: "unknown", Addr: "192.0.2.2", Helo: "client.example", Protocol: "ESMTP"},
		Arrival: at, Active: at, Handed: at, Size: 4400, CRC: 7, Inline: true, Content: make([]byte, 4400),
		Recipients: []DeliverRecipient{{Index: 0, Recipient: mail.Recipient{Address: "recipient@example.net"}}}}
}

// BenchmarkEncodeRequest is qmgr's half of handing a message to an agent.
func BenchmarkEncodeRequest(b *testing.B) {
	m := request()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

// BenchmarkDecodeRequest is the agent's half.
func BenchmarkDecodeRequest(b *testing.B) {
	buf := request().Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		var m Deliver
		if err := m.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResult is a result's way back, both halves.
func BenchmarkResult(b *testing.B) {
	st := mail.Status{DSN: "2.0.0", Text: "250 2.0.0 Ok: queued as 4C1xyzW1Bcdz2"}
	m := &Result{ID: DeliveryID{1, 2}, Queue: "4C1xyzW1Bcdz1", File: 3, Slot: 4, Recipients: []RecipientResult{{0, true, Pass{}, false, st}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
		var got Result
		if err := got.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
