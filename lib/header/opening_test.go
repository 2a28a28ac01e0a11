package header

import (
	"strings"
	"testing"
)

// The answers are those of Debian's Postfix 3.7, whatever pieces the content comes in.
func TestOpening(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"Subject: x\r\n\r\nb\r\n":       "Subject: x\r\n\r\nb\r\n",
		"From: a@b.c\r\n":               "From: a@b.c\r\n",
		"Fro":                           "Fro",
		">>":                            ">>",
		" text\r\nSubject: x\r\n":       "\r\n text\r\nSubject: x\r\n",
		"\ttext\r\n":                    "\r\n\ttext\r\n",
		"From a Mon Jan 1\r\nTo: b\r\n": "X-Mailbox-Line: From a Mon Jan 1\r\nTo: b\r\n",
		">>From a\r\n":                  "X-Mailbox-Line: >>From a\r\n",
		"\r\nFrom a\r\n":                "\r\nFrom a\r\n",
		strings.Repeat(">", 2000):       strings.Repeat(">", 2000),
	} {
		for size := 1; size <= len(in)+1; size++ {
			var o Opening
			var got []byte
			for rest := in; ; {
				n := min(size, len(rest))
				got = append(got, o.Take([]byte(rest[:n]), n == len(rest))...)
				if rest = rest[n:]; rest == "" {
					break
				}
			}
			if string(got) != want {
				t.Fatalf("%.20q in pieces of %d: %.40q, not %.40q", in, size, got, want)
			}
			if size > 100 {
				break
			}
		}
	}
}

func TestOpeningCostsNothing(t *testing.T) {
	b := []byte("From: a@b.c\r\nSubject: x\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		var o Opening
		o.Take(b, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
