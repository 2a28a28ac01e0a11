package cleanup

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// fakeQmgr is the other end of the journal conversation.
type fakeQmgr struct {
	t     *testing.T
	conn  *ipc.Conn
	hello proto.JournalHello
}

func (r *rig) qmgr(t *testing.T) *fakeQmgr {
	t.Helper()
	ours, theirs := pair(t)
	go r.s.queue.serve(r.s.queue.attach(ours))
	q := &fakeQmgr{t: t, conn: ipc.New(theirs, 0)}
	t.Cleanup(func() { q.conn.Close() })
	b, err := q.conn.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion})
	if err == nil {
		err = q.hello.Decode(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// next reads a frame of the given type into m; positions in between are passed over.
func (q *fakeQmgr) next(typ uint8, m interface{ Decode([]byte) error }) {
	q.t.Helper()
	f, err := q.conn.Next()
	for err == nil && f.Type == proto.TypeDurable && typ != f.Type {
		f, err = q.conn.Next()
	}
	if err != nil {
		q.t.Fatal(err)
	}
	if f.Type != typ {
		q.t.Fatalf("frame type %d, want %d", f.Type, typ)
	}
	if err := m.Decode(f.Payload); err != nil {
		q.t.Fatal(err)
	}
}

// TestQueueConversation: qmgr hears where the journal begins and how far it goes,
// the next one too, and mail is taken while there is none.
func TestQueueConversation(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	if err := send(c, envelope(1, "a@b"), false, "x"); err != nil { // nobody listens
		t.Fatal(err)
	}
	q := r.qmgr(t)
	if q.hello.First != r.s.journal.First() || q.hello.Durable != position(r.s.journal.Durable()) {
		t.Errorf("hello %+v", q.hello)
	}
	last := q.hello.Durable
	for i := range 3 {
		if err := send(c, envelope(2+i, "a@b"), false, "x"); err != nil {
			t.Fatal(err)
		}
		var d proto.Durable
		q.next(proto.TypeDurable, &d)
		if d.File < last.File || d.File == last.File && d.Offset <= last.Offset {
			t.Errorf("durable %+v after %+v", d, last)
		}
		last = d
	}
	q2 := r.qmgr(t) // qmgr was restarted
	if d := q2.hello.Durable; d.File < last.File || d.File == last.File && d.Offset < last.Offset {
		t.Errorf("the second hello says %+v, after %+v", d, last)
	}
	for err := error(nil); err == nil; { // the first connection ends
		_, err = q.conn.Next()
	}
	if err := send(c, envelope(9, "a@b"), false, "x"); err != nil {
		t.Fatal(err)
	}
	var d proto.Durable
	q2.next(proto.TypeDurable, &d)
}

// TestRecycle: a file that qmgr says is free is used again.
func TestRecycle(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	q := r.qmgr(t)
	before := len(r.files("incoming"))
	for i := range 60 { // five times the size of a file
		if err := send(c, envelope(i, "a@b"), false, "\r\n"+text(90<<10)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			free(t, r, q)
		}
	}
	eventually(t, "files are used again", func() bool { return len(r.files("incoming")) <= before+6 })
}

// free does as qmgr does with all files but the one being written.
func free(t *testing.T, r *rig, q *fakeQmgr) {
	current := r.s.journal.Durable().File
	var names []string
	for _, name := range r.files("incoming") {
		f, err := r.fs.FS.OpenFile("incoming/"+name, 2, 0)
		if err != nil {
			t.Fatal(err)
		}
		h, err := slot.ReadHeader(f)
		if err == nil && h.Kind == slot.Content && h.Number < current {
			h.Kind = slot.Free
			if err := slot.WriteHeader(f, h); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		f.Close()
	}
	q.conn.Send(proto.TypeFreed, &proto.Freed{Names: names})
}

// TestPressure: what qmgr keeps in store/ is counted.
func TestPressure(t *testing.T) {
	r := newRig(t, "", nil)
	q := r.qmgr(t)
	q.conn.Send(proto.TypePressure, &proto.Pressure{Stored: 1 << 40})
	eventually(t, "pressure arrives", func() bool { used, _ := r.s.journal.Usage(); return used >= 1<<40 })
}

// TestDrain: the answer comes when all that a dead process sent is durable, and
// names a place behind it; its successor and others that live do not hold it up.
func TestDrain(t *testing.T) {
	r := newRig(t, "", nil)
	q := r.qmgr(t)
	ours, theirs := pair(t)
	bounce := r.s.newClient("bounce", ours)
	conn := ipc.New(theirs, 0)
	greeted := make(chan error)
	go func() {
		_, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion, Data: (&proto.SubmitHello{PID: 17}).Append(nil)})
		greeted <- err
	}()
	hold := make(chan struct{})
	go func() { <-hold; bounce.serve() }() // cleanup is slow to read
	q.conn.Send(proto.TypeDrain, &proto.Drain{Program: "bounce", PID: 17})
	close(hold)
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	conn.Send(proto.TypeSubmit, &proto.Submit{Tx: 1, Envelope: mail.AppendEnvelope(nil, envelope(1, "a@b")), Content: []byte("x")})
	conn.Close() // it died
	var d proto.Drained
	q.next(proto.TypeDrained, &d)
	if got := journaled(t, r.dir); d.Program != "bounce" || d.PID != 17 || len(got) != 1 || d.At.Offset <= q.hello.Durable.Offset {
		t.Errorf("drained %+v with %d messages there, after %+v", d, len(got), q.hello.Durable)
	}

	began := time.Now()
	r.client("local") // alive, and of this process
	q.conn.Send(proto.TypeDrain, &proto.Drain{Program: "local", PID: 17})
	q.next(proto.TypeDrained, &d)
	q.conn.Send(proto.TypeDrain, &proto.Drain{Program: "local", Living: []uint64{3, uint64(os.Getpid())}})
	q.next(proto.TypeDrained, &d)
	q.conn.Send(proto.TypeDrain, &proto.Drain{Program: "nobody"})
	q.next(proto.TypeDrained, &d)
	if took := time.Since(began); took > settleTime/2 {
		t.Errorf("the living held it up for %v", took)
	}
}

// TestDrainOthers: at the start of qmgr all connections are waited for but those of
// the living; and with a newer connection there, an older one without end.
func TestDrainOthers(t *testing.T) {
	r := newRig(t, "", nil)
	a, peer := pair(t)
	old := r.s.newClient("bounce", a)
	r.client("bounce")
	drained := make(chan struct{})
	go func() {
		r.s.drain("bounce", 0, []uint64{uint64(os.Getpid())}, time.Millisecond)
		close(drained)
	}()
	select {
	case <-drained:
		t.Error("drained with the old connection unread")
	case <-time.After(30 * time.Millisecond):
	}
	peer.Close()
	old.serve()
	<-drained
}

// TestStop: the end waits for clients, and no longer than it may.
func TestStop(t *testing.T) {
	r := newRig(t, "", nil)
	r.s.waitClients(context.Background()) // none
	c := r.client("smtpd.0")
	if err := send(c, envelope(1, "a@b"), false, "x"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	r.s.waitClients(ctx)
	if ctx.Err() == nil {
		t.Error("did not wait for a client that is there")
	}
	go c.Close()
	r.s.waitClients(context.Background())
}

func BenchmarkSubmit(b *testing.B) {
	for _, senders := range []int{1, 64} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			r := newRig(b, "", nil)
			c := r.client("smtpd.0")
			content := []byte("From: a@b\r\nTo: c@d\r\nDate: x\r\nMessage-Id: <x@y>\r\nSubject: z\r\n\r\n" + text(4000))
			b.ReportAllocs()
			b.SetParallelism(senders)
			ids := mail.IDs{}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					env := envelope(0, "a@example.org")
					env.ID = ids.Next(time.Now())
					env.Client = mail.Client{Name: "n", Addr: "192.0.2.1", Helo: "h", Protocol: "ESMTP"}
					m := c.Begin(env, false)
					m.Write(content)
					if err := m.Close(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// TestQueueOrder: a connection that came later stays, however late the one before it
// is served: its qmgr is the living one.
func TestQueueOrder(t *testing.T) {
	r := newRig(t, "", nil)
	dead, theirs := pair(t)
	theirs.Close()
	late := r.s.queue.attach(dead)
	q := r.qmgr(t)
	r.s.queue.serve(late)
	before := r.s.journal.Durable()
	if err := send(r.client("smtpd.0"), envelope(0, "a@example.org"), false, "Message-Id: <1@x>\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var at proto.Durable
	q.next(proto.TypeDurable, &at)
	if at.Offset <= before.Offset {
		t.Errorf("qmgr was told %+v, which was %+v before", at, before)
	}
}
