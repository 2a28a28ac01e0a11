package header

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/mail"
)

// scan reads content in pieces of the given size and returns the names of the
// fields and where the header ends.
func scan(content []byte, piece, limit int) (names []string, end int, sum Summary) {
	s := Scanner{Limit: limit}
	buf := []byte(nil)
	for at := 0; ; {
		n := min(piece, len(content)-at)
		buf = append(buf, content[at:at+n]...)
		at += n
		for {
			f, n, st := s.Next(buf, at == len(content))
			buf, end = buf[n:], end+n
			if st == Found {
				names = append(names, string(f.Name()))
				sum.Add(f)
				continue
			}
			if st == End {
				return names, end, sum
			}
			break
		}
	}
}

func TestScanner(t *testing.T) {
	for _, c := range []struct{ in, names, rest string }{
		{"", "", ""},
		{"A: b\r\n\r\nbody", "A", "\r\nbody"},
		{"A: b\r\n c\r\nB:\r\n\t\r\n d\nC: e", "A B C", ""},
		{"A: b\n\nbody: x\n", "A", "\nbody: x\n"},
		{"A: b\r\nno header here\r\n", "A", "no header here\r\n"},
		{"From x Mon\r\nA: b\r\n", "", "From x Mon\r\nA: b\r\n"},
		{" A: b\r\n", "", " A: b\r\n"},
		{"A \t: b\r\n: c\r\n", "A", ": c\r\n"},
		{"\r\nA: b", "", "\r\nA: b"},
		{"A: b\r\nB\x80: c\r\n", "A", "B\x80: c\r\n"},
		{"A: " + strings.Repeat("x", 300) + "\r\n " + strings.Repeat("y", 300) + "\r\nB: c\r\n\r\n", "A B", "\r\n"},
	} {
		for _, piece := range []int{1, 2, 7, 100, 1 << 20} {
			for _, limit := range []int{20, 0} {
				names, end, _ := scan([]byte(c.in), piece, limit)
				if strings.Join(names, " ") != c.names || c.in[end:] != c.rest {
					t.Errorf("%.40q by %d, limit %d: %v, rest %q", c.in, piece, limit, names, c.in[end:])
				}
			}
		}
	}
}

func TestSummary(t *testing.T) {
	_, _, sum := scan([]byte("received: a\r\nRECEIVED: b\r\nMessage-ID:\r\n <x@\r\n\ty>\r\nMessage-Id: <z>\r\ndate: now\r\nResent-From: u\r\n\r\nFrom: v\r\n"), 3, 0)
	want := Summary{Received: 2, MessageID: "<x@\ty>", HasMessageID: true, HasDate: true, Resent: true, HasResentFrom: true}
	if sum != want {
		t.Errorf("%+v", sum)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a@b", "a@b"},
		{"alice, bob@x.y", "alice|bob@x.y"},
		{"Joe User <joe@x.y>, \"Doe, J\" <j@d>", "joe@x.y|j@d"},
		{"a@b (comment, <x@y> (nested)), c@d", "a@b|c@d"},
		{"Friends: a@b, Joe <c@d>; e@f", "a@b|c@d|e@f"},
		{"undisclosed-recipients:;", ""},
		{`"a b"@c.d`, "a b@c.d"},
		{`"a\"@x"@c.d`, `a"@x@c.d`},
		{"<@r1,@r2:u@h>", "u@h"},
		{"@r1,@r2:u@h", "u@h"},
		{"a . b @ c . d", "a.b@c.d"},
		{"a@b c@d", "a@b|c@d"},
		{"<>", ""},
		{"<a@b", "a@b"},
		{"<a@b, c@d>, e", "a@b|c@d|e"},
		{"u@[IPv6:::1], v", "u@[IPv6:::1]|v"},
		{"a@b,\r\n c@d,\r\n\t(x)e@f", "a@b|c@d|e@f"},
		{"\"unterminated, a@b", "unterminated, a@b"},
		{"(unterminated, a@b", ""},
		{"a(\\", "a"},
		{"a\x00b@c", "ab@c"},
		{"\"a\r\n b\"@c", "a b@c"},
	} {
		got, err := Addresses(nil, []byte(c.in), 0)
		var s []string
		for _, a := range got {
			s = append(s, string(a))
		}
		if strings.Join(s, "|") != c.want || err != nil {
			t.Errorf("%q: %q, want %q, %v", c.in, s, c.want, err)
		}
	}
}

// processor returns the processor time that the test has used.
func processor(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}

// TestAddressesBounds: nothing hostile costs more than its length. What is linear
// takes a tenth of a second in all here; what is quadratic takes ten for one unit.
func TestAddressesBounds(t *testing.T) {
	start := processor(t)
	const n = 1 << 17
	for _, unit := range []string{"(", "@", ",", "<", ":", "\"", "a,", "a ", "@a,", "<@a,", "\\", "[", "a@b,", "<a>"} {
		in := []byte(strings.Repeat(unit, n/len(unit)))
		if got, _ := Addresses(nil, in, 0); len(got) > n {
			t.Errorf("%q: %d", unit, len(got))
		}
		if got, err := Addresses(nil, in, DefaultTokens); len(got) > DefaultTokens+1 || (unit == "a," && !errors.Is(err, ErrTooMany)) {
			t.Errorf("%q: %d, %v", unit, len(got), err)
		}
	}
	if d := processor(t) - start; d > 5*time.Second {
		t.Errorf("took %v: not linear", d)
	}
}

func TestWrite(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Subject", "hello", "Subject: hello\r\n"},
		{"X", "a\r\nBcc: evil", "X: a Bcc: evil\r\n"},
		{"To", strings.Repeat("address@example.com, ", 5) + "z", "To: address@example.com, address@example.com, address@example.com,\r\n address@example.com, address@example.com, z\r\n"},
		{"E", "", "E: \r\n"},
	} {
		if got := string(AppendField(nil, c.name, c.value)); got != c.want {
			t.Errorf("%q: %q", c.value, got)
		}
	}
	for _, c := range []struct{ name, addr, want string }{
		{"", "a@b", "a@b"}, {"Joe User", "a@b", "Joe User <a@b>"}, {"J. \"X\" User", "a@b", `"J. \"X\" User" <a@b>`},
		{"Jörg", "a@b", "=?utf-8?q?J=C3=B6rg?= <a@b>"}, {"a\nb", "a@b", "a b <a@b>"},
	} {
		if got := Mailbox(c.name, mail.Address(c.addr)); got != c.want {
			t.Errorf("%q: %q", c.name, got)
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("A: b\r\n c\r\nB: d\r\n\r\nbody"), 3, 10)
	f.Add([]byte("A: bbbbbbbbbbbbbbbbb\r\n cccccccccccc\r\nx"), 1, 5)
	f.Fuzz(func(t *testing.T, b []byte, piece, limit int) {
		names, end, sum := scan(b, max(1, piece), max(0, limit))
		names2, end2, sum2 := scan(b, len(b)+1, 0)
		if !reflect.DeepEqual(names, names2) || end != end2 {
			t.Fatalf("in pieces %q to %d, at once %q to %d", names, end, names2, end2)
		}
		if limit > len(b) && sum != sum2 {
			t.Fatalf("%+v, %+v", sum, sum2)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add([]byte(`Joe <a@b>, "x y"@z (c), g: h;, <@r:u@h>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := Addresses(nil, b, 0)
		for _, a := range got {
			if a == "" || strings.ContainsAny(string(a), "\x00\r\n") || len(a) > len(b) {
				t.Fatalf("%q gives %q", b, a)
			}
		}
		few, err := Addresses(nil, b, 3)
		if len(few) > 4 || (err == nil && !reflect.DeepEqual(few, got)) {
			t.Fatalf("limited: %q, %v; all: %q", few, err, got)
		}
	})
}

func FuzzAppendField(f *testing.F) {
	f.Add("a b  c\r\nd")
	f.Fuzz(func(t *testing.T, v string) {
		b := AppendField(nil, "X-Test", v)
		var s Scanner
		fd, n, st := s.Next(b, true)
		if st != Found || n != len(b) || !fd.Is("X-Test") {
			t.Fatalf("%q is no field", b)
		}
		for _, line := range bytes.SplitAfter(b, []byte("\r\n")) {
			if len(line) > maxLine+2 || bytes.ContainsAny(bytes.TrimSuffix(line, []byte("\r\n")), "\r\n") {
				t.Fatalf("line %q", line)
			}
		}
		squeeze := func(s string) string {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), "")
		}
		if squeeze(string(fd.Text(nil))) != squeeze(v) {
			t.Fatalf("%q became %q", v, fd.Text(nil))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	h := []byte(strings.Repeat("Received: from a (b [192.0.2.1])\r\n\tby c with ESMTP id d\r\n\tfor <e@f>; now\r\n", 3) +
		"From: a@b\r\nTo: c@d\r\nSubject: x\r\nDate: now\r\nMessage-Id: <a@b>\r\n\r\n" + strings.Repeat("x", 4000))
	b.ReportAllocs()
	for b.Loop() {
		var s Scanner
		var sum Summary
		for p := h; ; {
			f, n, st := s.Next(p, false)
			if p = p[n:]; st != Found {
				break
			}
			sum.Add(f)
		}
	}
}
