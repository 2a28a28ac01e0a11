package header

import (
	"bytes"
	"testing"
)

// The content may come in any pieces. What Postfix makes of the same is in
// test/parity/testdata/content.
func TestSevenBitPieces(t *testing.T) {
	const in = "From: a@b.c\r\nContent-Type: multipart/mixed;\r\n boundary=\"x y\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\npr\xc3\xa4\r\n" +
		"--x y\r\nContent-Transfer-Encoding: 8BIT (yes)\r\n\r\n\xc3\xa4 = \r\n--x\r\n" +
		"--x y\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: binary\r\n\r\n\xc3\xa4\r\n" +
		"--x y--\r\n\xc3\xa4\r\n"
	const want = "From: a@b.c\r\nContent-Type: multipart/mixed;\r\n boundary=\"x y\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\npr\xc3\xa4\r\n" +
		"--x y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4 =3D=20\r\n--x\r\n" +
		"--x y\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n" +
		"--x y--\r\n\xc3\xa4\r\n"
	for size := 1; size <= len(in); size++ {
		var s SevenBit
		var got []byte
		for rest := []byte(in); len(rest) > 0; {
			n := min(size, len(rest))
			got = s.Append(got, rest[:n], n == len(rest))
			rest = rest[n:]
		}
		if string(got) != want {
			t.Fatalf("in pieces of %d:\n%q, not\n%q", size, got, want)
		}
	}
}

// Whatever comes: nothing is lost where nothing calls itself 8bit, what comes out does not
// depend on the pieces, and the end is reached.
func FuzzSevenBit(f *testing.F) {
	f.Add([]byte("Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa4\r\n"), 3)
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\n\r\n--"), 1)
	f.Add([]byte("Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n--a\r\n\r\n--a--\r\n"), 7)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 1 {
			return
		}
		var whole SevenBit
		want := whole.Append(nil, in, true)
		var s SevenBit
		var got []byte
		for rest := in; ; {
			n := min(size, len(rest))
			got = s.Append(got, rest[:n], n == len(rest))
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if len(in) < wholeLine && !bytes.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, at once %q", size, got, want)
		}
		if !bytes.Contains(bytes.ToLower(in), []byte("content-transfer-encoding")) && !bytes.Equal(want, in) {
			t.Errorf("%q became %q", in, want)
		}
	})
}
