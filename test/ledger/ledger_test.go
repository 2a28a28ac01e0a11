package ledger

import (
	"bytes"
	"fmt"
	"testing"
)

func TestVerdict(t *testing.T) {
	content := Content("m1", 2000)
	_, sum, err := Identify(append([]byte("Received: from x\r\n\tby y\r\n"), content...))
	if err != nil || sum != Hash(content) {
		t.Fatalf("identify: %v", err)
	}
	other := Hash(Content("m2", 2000)) // as long
	for _, c := range []struct {
		name string
		do   func(*Ledger)
		want string
		bad  bool
	}{
		{"delivered", func(l *Ledger) { l.Acked("m1", "r"); l.Delivered("m1", "R", sum) }, "1 1 0 0 l0 u0 m0 t0 d0 b0 r0", false},
		{"bounced", func(l *Ledger) { l.Acked("m1", "r"); l.Bounced("m1", "r") }, "1 0 1 0 l0 u0 m0 t0 d0 b0 r0", false},
		{"queued", func(l *Ledger) { l.Acked("m1", "r"); l.Queued("m1", "r", sum) }, "1 0 0 1 l0 u0 m0 t0 d0 b0 r0", false},
		{"lost", func(l *Ledger) { l.Acked("m1", "r") }, "1 0 0 0 l1 u0 m0 t0 d0 b0 r0", true},
		{"deleted", func(l *Ledger) { l.Acked("m1", "r"); l.Deleted("m1", "r") }, "1 0 0 0 l0 u0 m0 t0 d0 b0 r0", false},
		{"rejected and delivered", func(l *Ledger) { l.Rejected("m1", "r"); l.Delivered("m1", "r", sum) }, "0 1 0 0 l0 u1 m0 t0 d0 b0 r0", true},
		{"never sent", func(l *Ledger) { l.Acked("m1", "r"); l.Delivered("m1", "r", sum); l.Delivered("m1", "s", sum) }, "1 2 0 0 l0 u1 m0 t0 d0 b0 r0", true},
		{"mixed", func(l *Ledger) { l.Acked("m1", "r"); l.Delivered("m1", "r", other) }, "1 1 0 0 l0 u0 m1 t0 d0 b0 r0", true},
		{"truncated", func(l *Ledger) { l.Acked("m1", "r"); l.Found("r", content[:len(content)-90]) }, "1 1 0 0 l0 u0 m0 t1 d0 b0 r0", true},
		{"truncated in the queue", func(l *Ledger) { l.Acked("m1", "r"); l.Queued("m1", "r", Hash(content[:900])) }, "1 0 0 1 l0 u0 m0 t1 d0 b0 r0", true},
		{"no id", func(l *Ledger) { l.Found("r", []byte("Subject: x\n\nX-Ledger-Id: m1\n")) }, "0 0 0 0 l0 u0 m1 t0 d0 b0 r0", true},
		{"duplicates", func(l *Ledger) {
			l.Acked("m1", "r")
			for range 3 {
				l.Found("r", content)
			}
		}, "1 1 0 0 l0 u0 m0 t0 d2 b0 r0", false},
		{"both", func(l *Ledger) { l.Acked("m1", "r"); l.Found("r", content); l.Bounced("m1", "r") }, "1 1 1 0 l0 u0 m0 t0 d0 b1 r0", false},
		{"recovered", func(l *Ledger) { l.Unknown("m1", "r"); l.Found("r", content) }, "0 1 0 0 l0 u0 m0 t0 d0 b0 r1", false},
		{"unknown and gone", func(l *Ledger) { l.Unknown("m1", "r") }, "0 0 0 0 l0 u0 m0 t0 d0 b0 r0", false},
	} {
		var l Ledger
		l.Attempt("m1", sum, "r")
		c.do(&l)
		v := l.Judge()
		got := fmt.Sprintf("%d %d %d %d l%d u%d m%d t%d d%d b%d r%d", v.Acked, v.Delivered, v.Bounced, v.Queued,
			len(v.Lost), len(v.Unexpected), len(v.Mixed), len(v.Truncated), len(v.Duplicates), len(v.Both), len(v.Recovered))
		if got != c.want || (v.Err() != nil) != c.bad {
			t.Errorf("%s: got %s, %v; want %s, bad %t", c.name, got, v.Err(), c.want, c.bad)
		}
	}
}

func TestContent(t *testing.T) {
	a := Content("a", 100_000)
	if len(a) < 100_000 || len(a) > 100_100 {
		t.Errorf("%d bytes", len(a))
	}
	if Hash(a) != Hash(bytes.ReplaceAll(a, []byte("\r\n"), []byte("\n"))) {
		t.Error("the sum depends on the line end")
	}
	id, sum, err := Identify(a[:len(a)-1])
	if id != "a" || err != nil || sum == Hash(a) {
		t.Errorf("a cut content: %q, same sum %t, %v", id, sum == Hash(a), err)
	}
}

func TestReported(t *testing.T) {
	id, failed, err := Reported([]byte("Subject: Undelivered\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n" +
		"Final-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\nFinal-Recipient: rfc822;c@b.test\r\nAction: delayed\r\n\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nX-Ledger-Id: m7\r\n"))
	if id != "m7" || fmt.Sprint(failed) != "[a@b.test]" || err != nil {
		t.Errorf("%q %v %v", id, failed, err)
	}
}
