package mail

import (
	"reflect"
	"testing"
	"time"
)

func TestExternal(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"a@b.c", "a@b.c"}, {"a b@c.d", `"a b"@c.d`}, {`a"b@c`, `"a\"b"@c`},
		{"a@b@c.d", `"a@b"@c.d`}, {".a@b", `".a"@b`}, {"a\r\nb@c\nd", `"ab"@cd`}, {"postmaster", "postmaster"},
	} {
		if got := Address(c.in).External(); got != c.want {
			t.Errorf("External(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	g := IDs{Number: 4711}
	now := time.Unix(1741083072, 123456000)
	a := g.Next(now)
	b := g.Next(now.Add(-time.Hour)) // the clock steps back
	if a >= b || len(a) != len(b) || !a.Valid() {
		t.Errorf("ids %q, %q: not rising", a, b)
	}
	if at, ok := a.Time(); !ok || !at.Equal(now) {
		t.Errorf("Time(%q) = %v, %v", a, at, ok)
	}
	if QueueID("../x").Valid() || QueueID("").Valid() {
		t.Error("a path or nothing passes as an id")
	}
}

func sample() *Envelope {
	return &Envelope{
		ID: "4C1z", Sender: "a@b", Arrival: time.UnixMicro(1741083072123456), Size: 1234, Origin: FromBounce,
		Client: Client{Name: "n", Addr: "192.0.2.1", Helo: "h", Protocol: "ESMTP", UID: 1000},
		Body:   Body8Bit, UTF8: true, EnvID: "e", Ret: "HDRS", MessageID: "<m@x>",
		Replaces:   Replaces{ID: "OLDz1", File: 1 << 40, Slot: 7, Recipients: []uint32{0, 3, 70000}, Maildrop: "D1"},
		Recipients: []Recipient{{Address: "r@s"}, {Address: "t@u", Original: "v@u", ORCPT: "rfc822;v@u", Notify: NotifyNever}},
	}
}

func TestEnvelope(t *testing.T) {
	e := sample()
	b := AppendEnvelope(nil, e)
	got, err := DecodeEnvelope(b)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, e)
	}
	if more, err := DecodeEnvelope(append(b, 99, 2, 'x', 'y')); err != nil || !reflect.DeepEqual(more, e) {
		t.Errorf("a later version's field: %v, %v", more, err)
	}
	for i := range b {
		if g, err := DecodeEnvelope(b[:i]); err == nil && reflect.DeepEqual(g, e) {
			t.Errorf("cut at %d reads as whole", i)
		}
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(AppendEnvelope(nil, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		again, err := DecodeEnvelope(AppendEnvelope(nil, e))
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
