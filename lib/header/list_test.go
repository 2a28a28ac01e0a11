package header

import (
	"bytes"
	"strings"
	"testing"

	"postrider/lib/mail"
)

// complete puts a domain behind each address that has none.
func complete(t testing.TB, text string) string {
	var l List
	if err := l.Read([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	with := map[int]mail.Address{}
	for i := range l.Len() {
		if a := mail.Address(l.Address(i)); a.Domain() == "" {
			with[i] = a + "@d.example"
		}
	}
	return string(l.Replace(nil, with))
}

// Addresses are written anew where they stand, and nothing else is touched.
func TestReplace(t *testing.T) {
	for text, want := range map[string]string{
		"root":                            "root@d.example",
		"a@b.example, root":               "a@b.example, root@d.example",
		"Cron Daemon <root>":              "Cron Daemon <root@d.example>",
		"root (Cron Daemon)":              "root@d.example (Cron Daemon)",
		"\"Doe, John\" <joe>, ann":        "\"Doe, John\" <joe@d.example>, ann@d.example",
		"staff: joe, ann@x.example;, bob": "staff: joe@d.example, ann@x.example;, bob@d.example",
		"undisclosed-recipients:;":        "undisclosed-recipients:;",
		"John Doe":                        "John@d.example, Doe@d.example",
		"joe (the (one)) ann":             "joe@d.example, (the (one)) ann@d.example",
		"\"a b\"":                         "\"a b\"@d.example",
		"joe,\r\n\tann":                   "joe@d.example,\r\n\tann@d.example",
		"<@r.example:joe>":                "<@r.example:joe@d.example>",
		"john . doe":                      "john.doe@d.example",
		"<>":                              "<>",
		"":                                "",
		"<joe":                            "<joe@d.example",
		"<a <b>":                          "<\"a<b\"@d.example>",
	} {
		if got := complete(t, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	// A line that becomes too long is folded, between addresses.
	for _, sep := range []string{",", ", ", " ,\t"} {
		long := strings.Repeat("somebody"+sep, 99) + "x"
		got := complete(t, long)
		for line := range strings.Lines(got) {
			if len(line) > 998 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		a, _ := Addresses(nil, []byte(got), 0)
		if len(a) != 100 || a[98] != "somebody@d.example" || a[99] != "x@d.example" {
			t.Errorf("%q: %d addresses: %q", sep, len(a), a)
		}
	}
}

// Whatever stands in a field: what is written holds the same addresses, and no line
// begins that was none. Without anything to write it stays byte for byte.
func FuzzReplace(f *testing.F) {
	for _, s := range []string{"a, b <c>", "\"x\" (y) z: <@a:b>, c;", "a\\", "<<a", "a b c", "[a]b@", "a@b c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l List
		if l.Read([]byte(text), 0); string(l.Replace(nil, nil)) != text {
			t.Fatalf("%q became %q", text, l.Replace(nil, nil))
		}
		n := l.Len()
		// Fields come without bare line ends in them.
		if strings.ContainsAny(text, "\r\n") {
			return
		}
		with := map[int]mail.Address{}
		for i := range n {
			with[i] = "u@d.example"
		}
		got := l.Replace(nil, with)
		for _, line := range bytes.Split(got, []byte("\n"))[1:] {
			if len(line) == 0 || line[0] != ' ' && line[0] != '\t' {
				t.Fatalf("%q: a line begins in %q", text, got)
			}
		}
		var again List
		if again.Read(got, 0); again.Len() != n {
			t.Fatalf("%q: %d addresses, in %q %d", text, n, got, again.Len())
		}
	})
}
