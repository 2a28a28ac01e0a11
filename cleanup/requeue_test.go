package cleanup

import (
	"bytes"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"

	"postrider/lib/ipc"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// ask hands a message over and returns the answer.
func (q *fakeQmgr) ask(env *mail.Envelope, content []byte, separate bool, sum uint32) proto.Requeued {
	q.t.Helper()
	b := mail.AppendEnvelope(nil, env)
	r := &proto.Requeue{Seq: 9, Envelope: int64(len(b)), Size: int64(len(content)), CRC: sum}
	parts := [][]byte{append(b, content...)}
	if separate {
		parts = [][]byte{b, content}
	}
	var fds []int
	for _, p := range parts {
		f, err := os.CreateTemp(q.t.TempDir(), "")
		if err != nil {
			q.t.Fatal(err)
		}
		defer f.Close()
		f.Write(p)
		fds = append(fds, int(f.Fd()))
	}
	if err := q.conn.SendFDs(proto.TypeRequeue, r, fds...); err != nil {
		q.t.Fatal(err)
	}
	var a proto.Requeued
	q.next(proto.TypeRequeued, &a)
	if a.Seq != 9 {
		q.t.Fatalf("%+v", a)
	}
	return a
}

// A message that qmgr hands over is one anew: with an id of its own, addresses rewritten
// as they would be now, all else as it was; and it names what it replaces.
func TestRequeue(t *testing.T) {
	r := newRig(t, "", nil)
	q := r.qmgr(t)
	for _, size := range []int{100, 300 << 10} {
		old := &mail.Envelope{ID: "4jX9Q000000zz", Sender: "s", Origin: mail.FromMaildrop, Client: mail.Client{UID: 7}, Arrival: r.s.now().Add(-1e12),
			EnvID: "e", Recipients: []mail.Recipient{{Address: "a", Notify: mail.NotifyNever}, {Address: "b@x.example", Original: "b"}},
			Replaces: mail.Replaces{ID: "4jX9Q000000zz", File: 3, Slot: 4, Recipients: []uint32{1, 5}}}
		content := append([]byte("Subject: again\r\n\r\n"), bytes.Repeat([]byte("x\r\n"), size/3)...)
		sum := crc32.Checksum(content, castagnoli)
		if a := q.ask(old, content, size > 1000, sum); a.Code != 0 {
			t.Fatalf("%+v", a)
		}
		all := journaled(t, r.dir)
		got := all[len(all)-1]
		e := got.env
		if e.ID == old.ID || !e.ID.Valid() || e.Sender != "s@origin.example" || e.Recipients[0].Address != "a@origin.example" || e.Recipients[0].Original != "a" ||
			e.Recipients[0].Notify != mail.NotifyNever || e.Recipients[1] != old.Recipients[1] || e.Arrival.UnixMicro() != old.Arrival.UnixMicro() ||
			e.EnvID != "e" || e.Origin != mail.FromMaildrop || e.Replaces.ID != old.ID || e.Replaces.File != 3 || e.Replaces.Slot != 4 || !slices.Equal(e.Replaces.Recipients, []uint32{1, 5}) {
			t.Errorf("%+v", e)
		}
		if got.content != string(content) || e.Size != int64(len(content)) {
			t.Errorf("%d bytes of content, size %d", len(got.content), e.Size)
		}
		if !strings.Contains(r.lines(), string(e.ID)+": uid=7 from=<s@origin.example> orig_id=4jX9Q000000zz") {
			t.Errorf("log:\n%s", r.lines())
		}
	}
	n := len(journaled(t, r.dir))
	old := &mail.Envelope{ID: "4jX9Q000000zz", Recipients: []mail.Recipient{{Address: "a@x.example"}}, Replaces: mail.Replaces{ID: "4jX9Q000000zz"}}
	if a := q.ask(old, []byte("x\r\n"), false, 1); a.Code != proto.RequeueDamaged {
		t.Errorf("another content: %+v", a)
	}
	hops := []byte(strings.Repeat("Received: x\r\n", 60) + "\r\n")
	if a := q.ask(old, hops, false, crc32.Checksum(hops, castagnoli)); a.Code != 554 {
		t.Errorf("too many hops: %+v", a)
	}
	old.Replaces = mail.Replaces{}
	if a := q.ask(old, []byte("x\r\n"), false, crc32.Checksum([]byte("x\r\n"), castagnoli)); a.Code == 0 {
		t.Errorf("in the place of nothing: %+v", a)
	}
	if len(journaled(t, r.dir)) != n {
		t.Error("what was refused is in the journal")
	}
}

// The next qmgr hears of all that was begun for the one before it, before it can ask
// for the same again.
func TestRequeueHandover(t *testing.T) {
	r := newRig(t, "", nil)
	r.qmgr(t)
	l := r.s.queue
	current := func() *ipc.Conn { l.mu.Lock(); defer l.mu.Unlock(); return l.conn }
	first := current()
	l.requeues.Add(1) // under way
	ours, theirs := pair(t)
	go l.serve(l.attach(ours))
	eventually(t, "the second connection", func() bool { return current() != first })
	done := make(chan error, 1)
	r.s.journal.Append(&journal.Message{Envelope: &mail.Envelope{ID: "4jX9Q000000zz"}}, func(_ slot.Ref, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.requeues.Done()
	conn := ipc.New(theirs, 0)
	defer conn.Close()
	b, err := conn.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion})
	var hello proto.JournalHello
	if err == nil {
		err = hello.Decode(b)
	}
	if err != nil || hello.Durable != position(r.s.journal.Durable()) {
		t.Errorf("%+v of %+v, %v", hello, r.s.journal.Durable(), err)
	}
}
