package mailq

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"postrider/lib/proto"
)

func items() []*proto.Item {
	at := time.Date(2025, 3, 4, 10, 11, 12, 0, time.Local)
	return []*proto.Item{
		{Queue: "active", ID: "4C1BzQ1f5wz7Fk", Arrival: at, Size: 1234, Sender: "alice@example.com",
			Recipients: []proto.ItemRecipient{{Address: "bob@example.net"}}},
		{Queue: "deferred", ID: "4C1BzQ1f6wz7Fk", Arrival: at, Size: 2000, Sender: "",
			Recipients: []proto.ItemRecipient{
				{Address: "a b@example.net", Reason: "host mx[192.0.2.1] said: 450 4.2.1 busy"},
				{Address: "c@example.net", Reason: "host mx[192.0.2.1] said: 450 4.2.1 busy"}}},
		{Queue: "deferred", ID: "4C1BzQ1f6wz7Fk", Arrival: at, Size: 2000, // more of the same
			Recipients: []proto.ItemRecipient{{Address: "d@example.net"}}},
		{Queue: "hold", ID: "4C1BzQ1f7wz7Fk", Arrival: at, Size: 1, Expired: true, Sender: "x\x1b[2J@example.com"},
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	w := NewText(&b, "MAILER-DAEMON")
	for _, it := range items() {
		w.Item(it)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const want = `----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4C1BzQ1f5wz7Fk*       1234 Tue Mar  4 10:11:12 alice@example.com
                                               bob@example.net

4C1BzQ1f6wz7Fk        2000 Tue Mar  4 10:11:12 MAILER-DAEMON
                                     (host mx[192.0.2.1] said: 450 4.2.1 busy)
                                               "a b"@example.net
                                               c@example.net
                                                          (reason unavailable)
                                               d@example.net

4C1BzQ1f7wz7Fk!#         1 Tue Mar  4 10:11:12 "x[2J"@example.com

-- 3 Kbytes in 3 Requests.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	NewText(&b, "").Close()
	if b.String() != "Mail queue is empty\n" {
		t.Errorf("an empty queue: %q", b.String())
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	w := NewJSON(&b)
	for _, it := range items() {
		w.Item(it)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(b.Bytes()), []byte("\n"))
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), b.String())
	}
	for _, l := range lines {
		if !json.Valid(l) {
			t.Errorf("not JSON: %s", l)
		}
	}
	const want = `{"queue_name": "active", "queue_id": "4C1BzQ1f5wz7Fk", "arrival_time": `
	if !bytes.HasPrefix(lines[0], []byte(want)) {
		t.Errorf("got %s", lines[0])
	}
	var m struct {
		Recipients []struct{ Address, Delay_reason string }
	}
	if err := json.Unmarshal(lines[1], &m); err != nil || len(m.Recipients) != 3 || m.Recipients[0].Address != `"a b"@example.net` {
		t.Errorf("%+v, %v", m, err)
	}
}
