package spool

import (
	"bytes"
	"hash/crc32"
	"math/rand"
	"testing"
)

// TestWarmth: what is warm is always the message's own, whatever came after it, the ring
// stays small, and it grows rather than cool what was not used.
func TestWarmth(t *testing.T) {
	type kept struct {
		m    *Message
		want []byte
	}
	var w warmth
	for seed := range int64(120) { // many short lives: the ring is small and goes round at first
		rnd := rand.New(rand.NewSource(seed))
		w = warmth{most: 128 << 10}
		var all []kept
		for i := range 60 + 40*(seed%10) {
			b := make([]byte, 1+rnd.Intn(1<<(5+rnd.Intn(13))))
			rnd.Read(b[:min(len(b), 64)])
			b[len(b)-1] = byte(i)
			m := &Message{used: rnd.Intn(4) > 0}
			w.put(m, b)
			all = append(all, kept{m, b})
			total := 0
			for _, k := range all {
				if k.m.warm != nil && (!bytes.Equal(k.m.warm, k.want) || k.m.sum != crc32.Checksum(k.want, castagnoli)) {
					t.Fatalf("seed %d, after message %d: a warm content is another's", seed, i)
				}
				total += len(k.m.warm)
			}
			if m.warm == nil {
				t.Fatalf("seed %d: message %d is not warm", seed, i)
			}
			if total > 2*warmMax || len(w.buf) > warmMax {
				t.Fatalf("%d bytes are warm in a ring of %d", total, len(w.buf))
			}
			if len(all) > 100 {
				all = all[50:]
			}
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
