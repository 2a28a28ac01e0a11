package suspect

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestNotes(t *testing.T) {
	f, err := NewMemory("test")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first, left, err := OpenNotes(f)
	if err != nil || left != nil {
		t.Fatalf("fresh memory: %q, %v", left, err)
	}
	a, b, c := first.Note(), first.Note(), first.Note()
	a.Set([]byte("maildrop x"))
	b.Set([]byte("client 192.0.2.1"))
	b.Clear()
	c.Set([]byte(strings.Repeat("k", 1000)))
	second, left, err := OpenNotes(f)
	if want := []string{"maildrop x", strings.Repeat("k", KeyMax)}; err != nil || !slices.Equal(left, want) {
		t.Errorf("the next process finds %q, %v", left, err)
	}
	if _, left, _ = OpenNotes(f); left != nil {
		t.Errorf("and leaves %q", left)
	}
	for range notes {
		if second.Note() == nil {
			t.Fatal("too few notes")
		}
	}
	last := second.Note()
	last.Set([]byte("one too many")) // is not kept
	last.Close()
	var none *Notes
	none.Note().Set([]byte("x"))
}

func TestStrikes(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/strikes")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := OpenStrikes(f)
	for want := 1; want <= Guilty; want++ {
		if n, err := s.Add("maildrop \"x\"\n", "SIGSEGV"); n != want || err != nil {
			t.Fatalf("strike %d: %d, %v", want, n, err)
		}
	}
	s.Add("other", "panic")
	s.Add("third", "panic")
	s.Set([]byte("other"), 0)
	f.WriteAt([]byte("2 17 \"torn"), s.end)
	s = OpenStrikes(f)
	if x := s.Of([]byte("maildrop \"x\"\n")); x.Count != Guilty || x.How != "SIGSEGV" {
		t.Errorf("read back: %+v", x)
	}
	if x := s.Of([]byte("other")); x.Count != 0 {
		t.Errorf("lifted: %+v", x)
	}
	s.Add("fourth", "panic")
	if s = OpenStrikes(f); s.Of([]byte("third")).Count != 1 || s.Of([]byte("fourth")).Count != 1 {
		t.Error("a line behind a torn one is lost")
	}
	s.end = fileMax + 1
	s.Add("fifth", "panic")
	if st, _ := f.Stat(); st.Size() > 1000 {
		t.Errorf("%d bytes after it was written anew", st.Size())
	}
	if s = OpenStrikes(f); s.Of([]byte("fourth")).Count != 1 || s.Of([]byte("fifth")).Count != 1 {
		t.Error("strikes are lost when the file is written anew")
	}
}

func BenchmarkNote(b *testing.B) {
	f, _ := NewMemory("bench")
	n, _, _ := OpenNotes(f)
	x, key := n.Note(), []byte("client 192.0.2.1")
	for b.Loop() {
		x.Set(key)
		x.Clear()
	}
}
