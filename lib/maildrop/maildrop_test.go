package maildrop

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

func sample() *Submission {
	return &Submission{UID: 1000, Time: time.UnixMicro(1741083072123456), Sender: "alice", FullName: "Alice A.", Body: mail.Body8Bit,
		EnvID: "x+2By", Ret: "HDRS", Notify: mail.NotifyFailure | mail.NotifyDelay, Recipients: []mail.Address{"bob", "c d@e.f"}}
}

func encode(t testing.TB, s *Submission, content []byte) []byte {
	var b bytes.Buffer
	w := NewWriter(&b, s)
	w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (*Submission, []byte, error) {
	r := NewReader(bytes.NewReader(b))
	s, err := r.Submission()
	if err != nil {
		return nil, nil, err
	}
	var content []byte
	for {
		p, err := r.Next()
		if err == io.EOF {
			return s, content, nil
		}
		if err != nil {
			return nil, nil, err
		}
		content = append(content, p...)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, MaxPiece, 3*MaxPiece + 5} {
		content := bytes.Repeat([]byte("x"), n)
		s, got, err := decode(encode(t, sample(), content))
		if err != nil || !reflect.DeepEqual(s, sample()) || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %+v, %d bytes, %v", n, s, len(got), err)
		}
	}
	if s, _, err := decode(encode(t, &Submission{}, nil)); err != nil || s.Sender != "" || s.Recipients != nil {
		t.Errorf("the null sender: %+v, %v", s, err)
	}
}

// TestDamage: a file cut anywhere is incomplete; one with any byte changed or added
// never reads as whole.
func TestDamage(t *testing.T) {
	b := encode(t, sample(), []byte("Subject: x\r\n\r\nbody\r\n"))
	for i := range b {
		if _, _, err := decode(b[:i]); !errors.Is(err, ErrIncomplete) {
			t.Errorf("cut at %d: %v", i, err)
		}
		for _, bit := range []byte{1, 0x80} {
			c := bytes.Clone(b)
			c[i] ^= bit
			if _, _, err := decode(c); err == nil {
				t.Errorf("byte %d changed: read as whole", i)
			}
		}
	}
	if _, _, err := decode(append(bytes.Clone(b), 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte behind the end: %v", err)
	}
}

func TestC68Hostile(t *testing.T) {
	write := func(f func(w *recordWriter)) []byte {
		var b bytes.Buffer
		w := newRecordWriter(&b)
		f(w)
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"newline in a recipient": {encode(t, &Submission{Recipients: []mail.Address{"a\nb"}}, nil), ErrFormat},
		"NUL in the sender":      {encode(t, &Submission{Sender: "a\x00b"}, nil), ErrFormat},
		"no sender":              {write(func(w *recordWriter) { w.put(kindRecipient, []byte("a")) }), ErrFormat},
		"two senders":            {write(func(w *recordWriter) { w.put(kindSender, nil); w.put(kindSender, nil) }), ErrFormat},
		"record type 0":          {write(func(w *recordWriter) { w.put(0, nil) }), ErrFormat},
		"recipient behind content": {write(func(w *recordWriter) {
			w.put(kindSender, nil)
			w.put(kindContent, nil)
			w.put(kindRecipient, []byte("a"))
		}), ErrFormat},
		"unknown option":   {write(func(w *recordWriter) { w.put(kindOption, []byte("trace_flags=1")) }), ErrFormat},
		"a probe's result": {write(func(w *recordWriter) { w.put(kindSender, nil); w.put(kindOption, []byte(optTrace+"=3")) }), ErrFormat},
		"long recipient":   {encode(t, &Submission{Recipients: []mail.Address{mail.Address(strings.Repeat("a", MaxString+1))}}, nil), ErrLimit},
		"huge length":      {append([]byte(magic), 'S', 0xff, 0xff, 0xff, 0xff, 0x0f), ErrLimit},
		"endless length":   {append([]byte(magic), 'S', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrFormat},
		"other file":       {[]byte("From: somebody\r\n"), ErrFormat},
	} {
		if _, _, err := decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	n := NewName(time.Now(), 1<<63)
	if !ValidName(n) || Temporary(n) || ValidName(TempPrefix+"x") || ValidName("../x") || !Temporary(TempPrefix+"x") {
		t.Errorf("%q", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(encode(f, sample(), []byte("body")))
	f.Add(encode(f, &Submission{}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, content, err := decode(b)
		if err != nil {
			return
		}
		s2, content2, err := decode(encode(t, s, content))
		if err != nil || !reflect.DeepEqual(s, s2) || !bytes.Equal(content, content2) {
			t.Errorf("%+v became %+v, %v", s, s2, err)
		}
	})
}
