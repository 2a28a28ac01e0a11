package submit

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// start connects a client with a fake cleanup.
func start(t testing.TB, s *submittest.Cleanup) *Client {
	c := &Client{}
	connect(t, c, s)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c
}

func connect(t testing.TB, c *Client, s *submittest.Cleanup) {
	sock, err := s.Serve()
	if err != nil {
		t.Fatal(err)
	}
	c.Connect(sock)
}

func envelope(id string, rcpts int) *mail.Envelope {
	e := &mail.Envelope{ID: mail.QueueID(id), Sender: "a@example.com", UTF8: true, Ret: "HDRS"}
	for i := range rcpts {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprintf("user%d.%0100d@example.net", i, i))})
	}
	return e
}

// Whatever its size, and however it is written, a message arrives whole; up to 64 KiB in
// one frame.
func TestSizes(t *testing.T) {
	s := &submittest.Cleanup{}
	c := start(t, s)
	for _, size := range []int{0, 1, smallBuffer, smallBuffer + 1, proto.SubmitMax - 1, proto.SubmitMax, proto.SubmitMax + 1, 3*proto.SubmitMax + 17} {
		for _, step := range []int{7000, 2 * smallBuffer, size + 1} {
			content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			m := c.Begin(envelope("ID", 3), true)
			for i := 0; i < size; i += step {
				p := content[i:min(i+step, size)]
				if step < size {
					p = append(m.AvailableBuffer(len(p)), p...)
				}
				if _, err := m.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if m.Size() != int64(size) {
				t.Fatalf("size %d, want %d", m.Size(), size)
			}
			if err := m.Close(); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			all := s.Messages()
			got := all[len(all)-1]
			if !bytes.Equal(got.Content, content) || !got.Local || len(got.Envelope.Recipients) != 3 || !got.Envelope.UTF8 {
				t.Fatalf("%d bytes in steps of %d arrived as %d", size, step, len(got.Content))
			}
			if one := size <= proto.SubmitMax; one != (got.Frames == 1) || one && got.Envelope.Size != int64(size) {
				t.Errorf("%d bytes came in %d frames, size %d", size, got.Frames, got.Envelope.Size)
			}
		}
	}
}

// An envelope beyond a frame is continued.
func TestLargeEnvelope(t *testing.T) {
	s := &submittest.Cleanup{}
	c := start(t, s)
	if err := c.Submit(envelope("ID", 3000), false, []byte("x\r\n")); err != nil {
		t.Fatal(err)
	}
	got := s.Messages()[0]
	if len(got.Envelope.Recipients) != 3000 || string(got.Content) != "x\r\n" || got.Frames < 4 || got.Envelope.Ret != "HDRS" {
		t.Fatalf("%d recipients in %d frames", len(got.Envelope.Recipients), got.Frames)
	}
}

func TestConcurrent(t *testing.T) {
	s := &submittest.Cleanup{Reply: func(m *submittest.Message) (proto.SubmitReply, bool) {
		if m.Content[0]%2 == 0 {
			return proto.SubmitReply{}, true
		}
		return proto.SubmitReply{Code: 552, DSN: "5.3.4", Text: string(m.Envelope.ID)}, true
	}}
	c := start(t, s)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for k := range 20 {
				id := fmt.Sprintf("ID%dx%d", i, k)
				err := c.Submit(envelope(id, 1), false, bytes.Repeat([]byte{byte(i)}, 1+k*9000))
				var r *Refused
				if i%2 == 0 && err != nil || i%2 == 1 && (!errors.As(err, &r) || r.Text != id || r.Code != 552) {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAbort(t *testing.T) {
	s := &submittest.Cleanup{}
	c := start(t, s)
	for _, size := range []int{0, 10, proto.SubmitMax * 2} {
		m := c.Begin(envelope("ID", 1), false)
		if _, err := m.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		m.Abort()
	}
	if err := c.Submit(envelope("ID", 1), false, nil); err != nil { // behind them in order
		t.Fatal(err)
	}
	if s.Aborted() != 1 || len(s.Messages()) != 1 || len(c.open) != 0 {
		t.Fatalf("%d aborted, %d accepted, %d open", s.Aborted(), len(s.Messages()), len(c.open))
	}
}

// When cleanup dies, a message that was handed over whole is unknown, one under way is
// refused for now, and the next one goes to the next cleanup.
func TestCleanupDies(t *testing.T) {
	seen := make(chan bool, 2)
	dying := &submittest.Cleanup{Reply: func(*submittest.Message) (proto.SubmitReply, bool) {
		seen <- true
		return proto.SubmitReply{}, false
	}}
	c := start(t, dying)
	halfway := c.Begin(envelope("HALF", 1), false)
	if _, err := halfway.Write(make([]byte, proto.SubmitMax*3)); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for _, size := range []int{100, proto.SubmitMax * 3} {
		go func() { results <- c.Submit(envelope("ID", 1), false, make([]byte, size)) }()
	}
	<-seen
	<-seen
	dying.Close()
	for range 2 {
		if err := <-results; err != ErrUnknown {
			t.Errorf("%v; want ErrUnknown", err)
		}
	}
	var r *Refused
	if err := halfway.Close(); !errors.As(err, &r) || r.Code != 451 || !IsTemporary(err) {
		t.Errorf("%v; want 451", err)
	}

	// One that begins while nobody is there waits for the next.
	waiting := make(chan error)
	go func() { waiting <- c.Submit(envelope("NEXT", 1), false, []byte("x\r\n")) }()
	next := &submittest.Cleanup{}
	connect(t, c, next)
	t.Cleanup(next.Close)
	if err := <-waiting; err != nil || len(next.Messages()) != 1 {
		t.Errorf("%v; %d messages", err, len(next.Messages()))
	}
}

// An answer before the end is a refusal, and the rest is not sent.
func TestEarlyAnswer(t *testing.T) {
	s := &submittest.Cleanup{}
	c := start(t, s)
	m := c.Begin(envelope("ID", 1), false)
	if _, err := m.Write(make([]byte, proto.SubmitMax*2)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	delete(c.open, m.tx)
	m.answer <- proto.SubmitReply{Code: 452, DSN: "4.3.1", Text: "full"}
	c.mu.Unlock()
	_, err := m.Write(make([]byte, proto.SubmitMax*2))
	var r *Refused
	if !errors.As(err, &r) || r.Code != 452 {
		t.Fatalf("%v; want 452", err)
	}
	if err2 := m.Close(); err2 != err {
		t.Fatalf("%v; want %v", err2, err)
	}
	if err := c.Submit(envelope("ID", 1), false, nil); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSubmit4K(b *testing.B) {
	c := start(b, &submittest.Cleanup{Discard: true})
	env := envelope("ID", 1)
	content := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Submit(env, false, content); err != nil {
			b.Fatal(err)
		}
	}
}
