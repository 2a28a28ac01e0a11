package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// naive is what Unstuffer does, said in another way: content up to the first CRLF.CRLF,
// then line by line. It returns the content, or false when there is no end, and how
// many bytes were used.
func naive(in string) (string, int, bool) {
	end := strings.Index("\r\n"+in, "\r\n.\r\n")
	if end < 0 {
		return "", 0, false
	}
	body := in[:end]
	var out strings.Builder
	for body != "" {
		line, rest, _ := strings.Cut(body, "\n")
		body = rest
		if line = strings.TrimRight(line, "\r"); line != "." {
			line = strings.TrimPrefix(line, ".")
		}
		blank := false
		for _, c := range []byte(line) {
			if c == '\r' {
				if !blank {
					out.WriteByte(' ')
				}
				blank = true
				continue
			}
			blank = false
			out.WriteByte(c)
		}
		out.WriteString("\r\n")
	}
	return out.String(), end + 3, true
}

func unstuff(in string, cuts func() int) (string, int, bool) {
	var u Unstuffer
	var out []byte
	used := 0
	for used < len(in) {
		k := min(max(cuts(), 1), len(in)-used)
		var n int
		var done bool
		before := len(out)
		out, n, done = u.Append(out, []byte(in[used:used+k]))
		used += n
		if len(out)-before > 2*k+1 {
			panic("more than promised")
		}
		if done {
			return string(out), used, true
		}
		if n != k {
			panic("not all used")
		}
	}
	return string(out), used, false
}

// The table of go-notes.md A.2, that of reliability.md C1, and the plain cases.
func TestUnstuff(t *testing.T) {
	const end = "\r\n.\r\n"
	for _, c := range []struct{ in, want string }{
		{".\r\n", ""},
		{"\r\n.\r\n", "\r\n"},
		{"a" + end, "a\r\n"},
		{"..a" + end, ".a\r\n"},
		{".." + end, ".\r\n"},
		{".a\r\n..\r\n...\r\n" + end[2:], "a\r\n.\r\n..\r\n"},
		{"a\n.\r\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\r\n.\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\r\n.\rfoo" + end, "a\r\n foo\r\n"},
		{"a\r\n.\r\r\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\n.\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\r.\rb" + end, "a . b\r\n"},
		{"a\n.\r\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\r.\r\nb" + end, "a .\r\nb\r\n"},
		{"a\r\n.\rb" + end, "a\r\n b\r\n"},
		{"a\n.\rb" + end, "a\r\n b\r\n"},
		{"a\r.\nb" + end, "a .\r\nb\r\n"},
		{"a\n..\nb" + end, "a\r\n.\r\nb\r\n"},
		{"a\r\r\n.\r\n", "a\r\n"},
		{"h: x\r\r\n\r\r\nb\r\r\n.\r\n", "h: x\r\n\r\nb\r\n"},
		{"a\r\r\rb" + end, "a b\r\n"},
		{"a\n\n\n" + end, "a\r\n\r\n\r\n\r\n"},
		{"a\x00b\xff" + end, "a\x00b\xff\r\n"},
		{"a\n.\r\n.\r\n", "a\r\n.\r\n"},
	} {
		for k := 1; k <= len(c.in); k++ {
			got, n, done := unstuff(c.in+"MAIL FROM:<smuggled>", func() int { return k })
			if got != c.want || !done || n != len(c.in) {
				t.Fatalf("%q in pieces of %d: %q after %d of %d, %v; want %q", c.in, k, got, n, len(c.in), done, c.want)
			}
		}
		if want, n, ok := naive(c.in); want != c.want || n != len(c.in) || !ok {
			t.Errorf("the reference for %q: %q, %d, %v", c.in, want, n, ok)
		}
	}
	for _, in := range []string{"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\n.\r\r\n", "\r\n.\x00\r\n", "\r\n\x00.\r\n"} {
		if got, _, done := unstuff("x"+in+"y\r\n", func() int { return 3 }); done {
			t.Errorf("%q ended the data: %q", in, got)
		}
	}
}

func TestUnstuffRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const alphabet = "\r\n..\r\nab"
	for range 100000 {
		b := make([]byte, rnd.IntN(24))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		checkUnstuff(t, string(b)+"\r\n.\r\nQUIT\r\n", rnd)
	}
}

func checkUnstuff(t *testing.T, in string, rnd *rand.Rand) {
	want, n, ok := naive(in)
	got, used, done := unstuff(in, func() int { return rnd.IntN(5) })
	if done != ok || done && (got != want || used != n) {
		t.Fatalf("%q: %q after %d, %v; want %q after %d, %v", in, got, used, done, want, n, ok)
	}
	whole, _, _ := unstuff(in, func() int { return len(in) })
	if whole != got {
		t.Fatalf("%q: whole %q, in pieces %q", in, whole, got)
	}
	for rest := got; done; { // no bare CR or LF
		i := strings.IndexAny(rest, "\r\n")
		if i < 0 {
			break
		}
		if !strings.HasPrefix(rest[i:], "\r\n") {
			t.Fatalf("%q: bare line end in %q", in, got)
		}
		rest = rest[i+2:]
	}
}

func FuzzUnstuff(f *testing.F) {
	f.Add([]byte("a\n.\r\nb\r\n.\r\n"), uint64(1))
	f.Add([]byte("a\r\n.\rfoo\r\n\r\n.\r\n"), uint64(2))
	f.Add(append(bytes.Repeat([]byte("x"), 3000), "\r\n.\r\n"...), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		checkUnstuff(t, string(in), rand.New(rand.NewPCG(seed, 0)))
	})
}

func TestStuffRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	parts := []string{"\r\n", ".", "a", "..", "\r\n.", "bc"}
	for range 50000 {
		var content string
		for range rnd.IntN(12) {
			content += parts[rnd.IntN(len(parts))]
		}
		checkStuff(t, content, rnd)
	}
}

// What is looked at together ends anywhere in a line.
func TestStuffFar(t *testing.T) {
	for n := lookahead - 8; n < lookahead+8; n++ {
		for _, end := range []string{".", ".x", "..", "\r\n.", "x."} {
			content := "x." + strings.Repeat("y", n) + "\r\n" + end + "\r\n" + strings.Repeat("z", n) + "\r\n" + end + "\r\n"
			var s Stuffer
			want := strings.ReplaceAll(content, "\r\n.", "\r\n..") + ".\r\n"
			if got := string(s.End(s.Append(nil, []byte(content)))); got != want {
				t.Fatalf("%d, %q: not stuffed as it must be", n, end)
			}
		}
	}
}

func checkStuff(t *testing.T, content string, rnd *rand.Rand) {
	var s Stuffer
	var wired []byte
	for rest := content; rest != ""; {
		k := min(1+rnd.IntN(4), len(rest))
		wired = s.Append(wired, []byte(rest[:k]))
		rest = rest[k:]
	}
	wired = s.End(wired)
	want := content
	if want != "" && !strings.HasSuffix(want, "\r\n") {
		want += "\r\n"
	}
	got, n, done := unstuff(string(wired), func() int { return 7 })
	if got != want || n != len(wired) || !done {
		t.Fatalf("%q on the wire as %q comes back as %q", content, wired, got)
	}
}

func FuzzStuff(f *testing.F) {
	f.Add("a\n.b\n\n..", uint64(1))
	f.Fuzz(func(t *testing.T, content string, seed uint64) {
		content = strings.ReplaceAll(strings.ReplaceAll(content, "\r", ""), "\n", "\r\n")
		checkStuff(t, content, rand.New(rand.NewPCG(seed, 0)))
	})
}

func BenchmarkUnstuff4K(b *testing.B) {
	in := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52) + ".\r\n")
	out := make([]byte, 0, 8192)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var u Unstuffer
		if _, _, done := u.Append(out, in); !done {
			b.Fatal("no end")
		}
	}
}

// BenchmarkStuff64K is text with a dot at the end of each line, and base64.
func BenchmarkStuff64K(b *testing.B) {
	for name, line := range map[string]string{"text": strings.Repeat("x", 75) + ".\r\n", "base64": strings.Repeat("x", 76) + "\r\n"} {
		b.Run(name, func(b *testing.B) {
			in := []byte(strings.Repeat(line, 840))
			out := make([]byte, 0, 70000)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				var s Stuffer
				s.Append(out, in)
			}
		})
	}
}
