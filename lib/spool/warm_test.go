package spool

import (
	"bytes"
	"math/rand"
	"testing"
)

// TestWarmth: what is warm is always the message's own, whatever came after it, the ring
// stays small, and it grows rather than cool what was not used.
func TestWarmth(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	w := warmth{most: 128 << 10}
	type kept struct {
		m    *Message
		want []byte
	}
	var all []kept
	for i := range 3000 {
		b := make([]byte, 1+rnd.Intn(1<<(5+rnd.Intn(13))))
		rnd.Read(b)
		m := &Message{}
		w.put(m, b)
		if m.warm == nil || !bytes.Equal(m.warm, b) {
			t.Fatalf("message %d is not warm", i)
		}
		all = append(all, kept{m, b})
		if rnd.Intn(3) > 0 {
			all[rnd.Intn(len(all))].m.used = true
		}
		total := 0
		for _, k := range all {
			if k.m.warm != nil && !bytes.Equal(k.m.warm, k.want) {
				t.Fatalf("after message %d: a warm content is another's", i)
			}
			total += len(k.m.warm)
		}
		if total > 2*warmMax || len(w.buf) > warmMax {
			t.Fatalf("%d bytes are warm in a ring of %d", total, len(w.buf))
		}
		if len(all) > 300 {
			all = all[100:]
		}
	}
	if m := (&Message{}); true {
		if w.put(m, make([]byte, w.most+1)); m.warm != nil {
			t.Error("one that is too large is warm")
		}
	}

	w = warmth{most: 128 << 10}
	first := &Message{}
	w.put(first, make([]byte, 100<<10))
	w.put(&Message{used: true}, make([]byte, 100<<10))
	if first.warm == nil || len(w.buf) <= warmMin {
		t.Error("the ring did not grow for what was not used")
	}
}
