package ipc

import (
	"sync"
	"testing"
)

// TestReady: Add never waits, refuses when too much is pending, and what it took arrives
// whole and in order, whoever writes it: TryFlush, Flush or a Send beside them.
func TestReady(t *testing.T) {
	a, b := pair(t)
	frame := func(n int) raw { return raw{byte(n), byte(n >> 8), byte(n >> 16)} }
	size := make([]byte, 5000)
	sent := 0
	for a.Add(1, raw(append(frame(sent), size...))) { // nobody reads
		if sent++; sent > 2000 {
			t.Fatal("Add takes without end")
		}
	}
	if sent < 100 {
		t.Fatal("refused after", sent)
	}
	if !a.TryFlush() {
		t.Fatal("all was written, and nobody reads")
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.Flush() })
	wg.Go(func() { a.Send(2, raw("x")) })
	got, others := 0, 0
	for got < sent || others < 1 {
		f, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == 2 {
			others++
			continue
		}
		if n := int(f.Payload[0]) | int(f.Payload[1])<<8 | int(f.Payload[2])<<16; n != got || len(f.Payload) != 5003 {
			t.Fatalf("frame %d of %d bytes in the place of %d", n, len(f.Payload), got)
		}
		got++
	}
	wg.Wait()
	if !a.Add(1, frame(1)) || a.TryFlush() {
		t.Error("an empty socket does not take a small frame")
	}
	b.Close()
	for range 3 {
		a.Add(1, frame(1))
		a.TryFlush()
	}
	if a.Add(1, frame(1)) {
		t.Error("a lost connection takes frames")
	}
}
