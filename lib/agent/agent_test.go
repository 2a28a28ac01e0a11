package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// qmgr is the test in the place of qmgr: it reads results and acknowledges nothing
// unless told.
type qmgr struct {
	t     *testing.T
	conn  *ipc.Conn
	hello proto.AgentHello
}

// newQmgr gives a its next qmgr.
func newQmgr(t *testing.T, a *Agent) *qmgr {
	t.Helper()
	x, y, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ours, err1 := ipc.FromFD(x)
	theirs, err2 := ipc.FromFD(y)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	q := &qmgr{t: t, conn: ipc.New(ours, 0)}
	t.Cleanup(func() { q.conn.Close() })
	a.Partner(theirs)
	data, err := q.conn.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion})
	if err == nil {
		err = q.hello.Decode(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (q *qmgr) ask(seq uint64, content string) {
	q.t.Helper()
	d := request(seq, content)
	if err := q.conn.Send(proto.TypeDeliver, d); err != nil {
		q.t.Fatal(err)
	}
}

func request(seq uint64, content string) *proto.Deliver {
	return &proto.Deliver{ID: proto.DeliveryID{Epoch: 7, Seq: seq}, Service: "smtp", Queue: mail.QueueID(fmt.Sprint("Q", seq)), File: 3, Slot: uint32(seq),
		Size: int64(len(content)), CRC: Checksum([]byte(content)), Inline: true, Content: []byte(content),
		Recipients: []proto.DeliverRecipient{{Index: 4, Recipient: mail.Recipient{Address: "a@b"}}, {Index: 9}}}
}

// result waits for the next one.
func (q *qmgr) result() proto.Result {
	q.t.Helper()
	q.conn.Socket().SetReadDeadline(time.Now().Add(10 * time.Second))
	f, err := q.conn.Next()
	if err != nil {
		q.t.Fatal(err)
	}
	var r proto.Result
	if err := r.Decode(f.Payload); err != nil || f.Type != proto.TypeResult {
		q.t.Fatal(err, f.Type)
	}
	return r
}

func (q *qmgr) ack(ids ...proto.DeliveryID) { q.conn.Send(proto.TypeAck, &proto.Ack{IDs: ids}) }

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for: " + what)
		}
	}
}

func sent(r *Request) proto.Result {
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}}
	for _, rc := range r.Recipients {
		res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Status: mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "ok"}})
	}
	return res
}

func TestDeliver(t *testing.T) {
	a := New(Options{Program: "smtp", Number: 1, Of: 2}, func(_ context.Context, r *Request) proto.Result {
		b, inline, err := r.Content.Bytes()
		if err != nil || !inline || string(b) != "hello" || r.Deliver.Content != nil || r.Lane != 2 {
			t.Errorf("%q, %v, %v, lane %d", b, inline, err, r.Lane)
		}
		return sent(r)
	})
	q := newQmgr(t, a)
	if q.hello.Program != "smtp" || q.hello.Number != 1 || len(q.hello.InHand) != 0 {
		t.Error(q.hello)
	}
	for i := range uint64(3) {
		q.ask(i, "hello")
		r := q.result()
		if r.ID != (proto.DeliveryID{Epoch: 7, Seq: i}) || r.Queue != mail.QueueID(fmt.Sprint("Q", i)) || r.File != 3 || r.Slot != uint32(i) || len(r.Recipients) != 2 || r.Recipients[1].Index != 9 {
			t.Error(r)
		}
		q.ack(r.ID)
		until(t, "the acknowledgement", func() bool { return a.InHand() == 0 })
	}
}

// TestNextQmgr: what is in hand, done or not, is in the hello; results that were not
// acknowledged come again, results of what was under way come to the new one.
func TestNextQmgr(t *testing.T) {
	release := make(chan struct{})
	a := New(Options{Program: "smtp"}, func(_ context.Context, r *Request) proto.Result {
		if r.ID.Seq == 2 {
			<-release
		}
		return sent(r)
	})
	q := newQmgr(t, a)
	q.ask(1, "x")
	q.ask(2, "x")
	q.ask(3, "x")
	seen := map[uint64]bool{q.result().ID.Seq: true, q.result().ID.Seq: true}
	if !seen[1] || !seen[3] {
		t.Fatal(seen)
	}
	q.ack(proto.DeliveryID{Epoch: 7, Seq: 3})
	until(t, "the acknowledgement", func() bool { return a.InHand() == 2 })
	q.conn.Close()

	q = newQmgr(t, a)
	in := map[uint64]proto.InHand{}
	for _, h := range q.hello.InHand {
		in[h.ID.Seq] = h
	}
	if len(in) != 2 || in[2].Queue != "Q2" || in[2].File != 3 || fmt.Sprint(in[2].Recipients) != "[4 9]" || in[1].Slot != 1 {
		t.Error(q.hello.InHand)
	}
	if r := q.result(); r.ID.Seq != 1 {
		t.Error(r)
	}
	close(release)
	if r := q.result(); r.ID.Seq != 2 {
		t.Error(r)
	}
	q.ack(proto.DeliveryID{Epoch: 7, Seq: 1}, proto.DeliveryID{Epoch: 7, Seq: 2})
	until(t, "the acknowledgement", func() bool { return a.InHand() == 0 })
}

// TestResultsWhileAway: without any qmgr the work goes on.
func TestResultsWhileAway(t *testing.T) {
	release := make(chan struct{})
	var done sync.WaitGroup
	done.Add(5)
	a := New(Options{Program: "smtp"}, func(_ context.Context, r *Request) proto.Result {
		defer done.Done()
		<-release
		return sent(r)
	})
	q := newQmgr(t, a)
	for i := range uint64(5) {
		q.ask(i, "x")
	}
	until(t, "all in hand", func() bool { return a.InHand() == 5 })
	q.conn.Close()
	close(release)
	done.Wait()
	q = newQmgr(t, a)
	if len(q.hello.InHand) != 5 {
		t.Error(q.hello)
	}
	seen := map[uint64]bool{}
	for range 5 {
		seen[q.result().ID.Seq] = true
	}
	if len(seen) != 5 {
		t.Error(seen)
	}
}

// TestLimit: a service runs no more than its limit at once, each in a lane of its
// own.
func TestLimit(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	lanes := map[int]bool{}
	a := New(Options{Program: "smtp", Limit: func(s string) int {
		if s == "relay" {
			return 0
		}
		return 3
	}}, func(_ context.Context, r *Request) proto.Result {
		mu.Lock()
		if now++; now > most {
			most = now
		}
		if lanes[r.Lane] {
			t.Errorf("lane %d is taken", r.Lane)
		}
		lanes[r.Lane] = true
		mu.Unlock()
		time.Sleep(100 * time.Microsecond)
		mu.Lock()
		now--
		delete(lanes, r.Lane)
		mu.Unlock()
		return sent(r)
	})
	q := newQmgr(t, a)
	const n = 2000
	go func() {
		for i := range uint64(n) {
			q.ask(i, "x")
		}
	}()
	for range n {
		q.ack(q.result().ID)
	}
	until(t, "the acknowledgements", func() bool { return a.InHand() == 0 })
	mu.Lock()
	defer mu.Unlock()
	if most != 3 {
		t.Errorf("%d at once", most)
	}
}

// TestOrder: what waits runs oldest first.
func TestOrder(t *testing.T) {
	var order []uint64
	a := New(Options{Program: "smtp", Limit: func(string) int { return 1 }}, func(_ context.Context, r *Request) proto.Result {
		order = append(order, r.ID.Seq)
		return sent(r)
	})
	q := newQmgr(t, a)
	const n = 3000
	go func() {
		for i := range uint64(n) {
			q.ask(i, "x")
		}
	}()
	for i := range uint64(n) {
		if got := q.result().ID.Seq; got != i {
			t.Fatalf("result of %d, want %d", got, i)
		}
	}
	a.Stop(t.Context())
	if len(order) != n {
		t.Error(len(order))
	}
}

func TestPanic(t *testing.T) {
	var mu sync.Mutex
	warned := ""
	a := New(Options{Program: "smtp", Warnf: func(f string, v ...any) { mu.Lock(); warned += fmt.Sprintf(f, v...); mu.Unlock() }}, func(_ context.Context, r *Request) proto.Result {
		if r.ID.Seq == 1 {
			panic("oh")
		}
		return sent(r)
	})
	q := newQmgr(t, a)
	q.ask(1, "x")
	r := q.result()
	if len(r.Recipients) != 2 || r.Recipients[0].Status.Class != mail.Deferred || r.Recipients[0].Status.DSN != "4.3.0" || r.Hop.Class != mail.Sent {
		t.Error(r)
	}
	q.ask(2, "x")
	if r := q.result(); r.Recipients[0].Status.Class != mail.Sent {
		t.Error(r)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(warned, "Q1: panic in delivery: oh") {
		t.Error(warned)
	}
}

// TestStop: running handlers are waited for, waiting requests and new ones are left.
func TestStop(t *testing.T) {
	started := make(chan struct{})
	a := New(Options{Program: "smtp", Limit: func(string) int { return 1 }}, func(ctx context.Context, r *Request) proto.Result {
		close(started) // a second run would panic
		<-ctx.Done()
		return sent(r)
	})
	q := newQmgr(t, a)
	q.ask(1, "x")
	q.ask(2, "x")
	<-started
	until(t, "both in hand", func() bool { return a.InHand() == 2 })
	a.Stop(t.Context())
	if r := q.result(); r.ID.Seq != 1 {
		t.Error(r)
	}
	q.conn.Socket().SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := q.conn.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestStopEnds: a handler that does not return keeps nobody longer than ctx.
func TestStopEnds(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	a := New(Options{Program: "smtp"}, func(_ context.Context, r *Request) proto.Result { <-hold; return sent(r) })
	q := newQmgr(t, a)
	q.ask(1, "x")
	until(t, "in hand", func() bool { return a.InHand() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	a.Stop(ctx)
}

// TestLargeResult: a result that does not fit into a frame is sent with short texts.
func TestLargeResult(t *testing.T) {
	a := New(Options{Program: "smtp"}, func(_ context.Context, r *Request) proto.Result {
		res := proto.Result{Hop: mail.Status{Class: mail.Sent}}
		for i := range uint32(2000) {
			res.Recipients = append(res.Recipients, proto.RecipientResult{Index: i, Status: mail.Status{DSN: "4.0.0", Text: strings.Repeat("t", 900), Diag: strings.Repeat("d", 900)}})
		}
		return res
	})
	q := newQmgr(t, a)
	q.ask(1, "x")
	if r := q.result(); len(r.Recipients) != 2000 || len(r.Recipients[7].Status.Text) != 40 {
		t.Error(len(r.Recipients))
	}
}

// TestBadFrames: a qmgr that does not keep to the protocol is left.
func TestBadFrames(t *testing.T) {
	a := New(Options{Program: "smtp"}, func(_ context.Context, r *Request) proto.Result { return sent(r) })
	outside := request(1, "x")
	outside.Inline, outside.Content = false, nil
	for _, send := range []func(c *ipc.Conn){
		func(c *ipc.Conn) { c.Send(99, nil) },
		func(c *ipc.Conn) { c.Send(proto.TypeDeliver, nil) },
		func(c *ipc.Conn) { c.Send(proto.TypeAck, nil) },
		func(c *ipc.Conn) { c.Send(proto.TypeDeliver, outside) }, // no descriptor
		func(c *ipc.Conn) { c.SendFDs(proto.TypeDeliver, request(1, "x"), 0) },
	} {
		q := newQmgr(t, a)
		send(q.conn)
		q.conn.Socket().SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := q.conn.Next(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
	if n := a.InHand(); n != 0 {
		t.Error(n)
	}
}

// file is content behind a descriptor, five bytes into the file.
func file(t *testing.T, content string, size int, crc uint32) *Content {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("12345" + content)
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &Content{fd: fd, offset: 5, size: int64(size), crc: crc}
}

func TestContent(t *testing.T) {
	text := strings.Repeat("0123456789", 20000)
	sum := Checksum([]byte(text))
	inline := NewInline([]byte(text), sum)
	for _, c := range []*Content{&inline, file(t, text+"more", len(text), sum)} {
		r := c.NewReader()
		if err := iotest.TestReader(io.NewSectionReader(c, 0, c.Size()), []byte(text)); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(&r); err != nil || string(b) != text {
			t.Error(len(b), err)
		}
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("read before the beginning")
		}
	}
	wrong := NewInline([]byte(text), sum+1)
	short := NewInline([]byte(text), sum)
	short.size++
	for i, c := range []*Content{&wrong, &short, file(t, text, len(text), sum+1), file(t, text, len(text)+1, sum)} {
		if err := c.Check(); !errors.Is(err, ErrContent) {
			t.Error(i, err)
		}
		r := c.NewReader()
		if _, err := io.ReadAll(&r); !errors.Is(err, ErrContent) {
			t.Error(i, err)
		}
	}
}
