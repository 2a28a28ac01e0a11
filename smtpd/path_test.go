package smtpd

import "testing"

// The paths of RFC 5321, section 4.1.2, and what is none. What the addresses become in a
// session is in testdata/addresses.txt.
func TestMailbox(t *testing.T) {
	for arg, want := range map[string]string{
		`<>`:                        "",
		`<a@b.example>`:             "a@b.example",
		`a@b.example`:               "a@b.example",
		`< a@b.example >`:           "a@b.example",
		`<@x,@y:a@b.example>`:       "a@b.example",
		`<@x,@y:a>`:                 "a",
		`<postmaster>`:              "postmaster",
		`<"a b"@c>`:                 "a b@c",
		`<"a\"\\b@x"@c>`:            `a"\b@x@c`,
		`<"a b">`:                   "a b",
		`<a@b@c>`:                   "a@b@c",
		"<\u00e4@\u00f6.example>":   "\u00e4@\u00f6.example",
		`<@x>`:                      "bad",
		`<@x:>`:                     "bad",
		`<@>`:                       "bad",
		`<a@>`:                      "bad",
		`<""@c>`:                    "bad",
		`<"">`:                      "bad",
		`<"a"b@c>`:                  "bad",
		`<"a"b>`:                    "bad",
		`<a"b"@c>`:                  "bad",
		`<a b@c>`:                   "bad",
		`<a(b)@c>`:                  "bad",
		`<a[b]@c>`:                  "bad",
		`<a\@b@c>`:                  "bad",
		`<a@b c>`:                   "bad",
		`<a:b@c>`:                   "bad",
		`<a@b">c">`:                 "bad",
		`<a@` + "\t" + `b.example>`: "bad",
	} {
		got := "bad"
		if p, _, ok := cutPath([]byte(arg), false); ok {
			if s, ok := p.mailbox(); ok {
				got = s
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
	}
}
