package smtp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"postrider/lib/mail"
)

const generic = "inline:{ {root=it@example.com} {ann@host.test=ann.smith@example.com} {@lan.test=@example.com} {two@host.test=\"o p\"@example.com} {bob@host.test=bob@example.com} }"

// TestGeneric: addresses of this machine leave it as others know them, in the envelope and
// in the fields that hold addresses, and nothing else changes; the log and the results
// speak of those of this machine.
func TestGeneric(t *testing.T) {
	head := "Received: by host.test for <ann@host.test>\r\nFrom: Ann Smith <Ann@Host.test>\r\nTo: x@far.test,\r\n\t\"Root, the\" <root@host.test> (ann@host.test), y@lan.test\r\n" +
		"Cc: Team: bob+lists@host.test, two@host.test;\r\nSubject: ann@host.test\r\nMessage-Id: <1.ann@host.test>\r\nReply-To: eve@host.test\r\n"
	want := "Received: by host.test for <ann@host.test>\r\nFrom: Ann Smith <ann.smith@example.com>\r\nTo: x@far.test,\r\n\t\"Root, the\" <it@example.com> (ann@host.test), y@example.com\r\n" +
		"Cc: Team: bob@example.com, \"o p\"@example.com;\r\nSubject: ann@host.test\r\nMessage-Id: <1.ann@host.test>\r\nReply-To: eve@host.test\r\n"
	body := "\r\nTo: ann@host.test\r\n.dot\r\n"
	for _, large := range []bool{false, true} {
		s := listen(t, "127.0.0.1:0", nil)
		r := newRig(t, "127.0.0.1:1", "smtp_generic_maps="+generic, "mydestination=host.test", "myorigin=host.test", "recipient_delimiter=+")
		pad := ""
		if large { // fields that come in two blocks
			pad = strings.Repeat("X-Pad: "+strings.Repeat("p", 50)+"\r\n", 3000)
		}
		d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), pad+head+strings.Repeat(head, len(pad)/1000)+body)
		d.Sender = "root@host.test"
		d.Recipients = deliverTo("", "", "a", "b", "c").Recipients
		d.Recipients[0].Address, d.Recipients[0].Original = "ann@host.test", "staff@host.test"
		d.Recipients[1].Address = "x+tag@lan.test"
		res := wait(t, r.ask(d))
		if got := s.got(); len(got) != 1 || got[0] != pad+want+strings.Repeat(want, len(pad)/1000)+strings.Replace(body, ".dot", "..dot", 1) {
			t.Errorf("large %v:\n%.2000s", large, got)
		}
		heard := s.commands()
		for _, line := range []string{"MAIL FROM:<it@example.com> SIZE=", "RCPT TO:<ann.smith@example.com> ORCPT=rfc822;staff@host.test\n", "RCPT TO:<x+tag@example.com>\n", "RCPT TO:<c@b.test>\n"} {
			if !strings.Contains(heard, line) {
				t.Errorf("no %q in\n%s", line, heard)
			}
		}
		if len(res.Recipients) != 3 || !strings.Contains(r.lines(), "to=<ann@host.test>, orig_to=<staff@host.test>, relay=") {
			t.Errorf("%s\n%s", render(res), r.lines())
		}
	}
}

// TestGenericExtension: the extension is kept where propagate_unmatched_extensions says so.
func TestGenericExtension(t *testing.T) {
	for words, want := range map[string]string{"": "bob@example.com", "canonical": "bob@example.com", "generic": "bob+lists@example.com"} {
		r := newRig(t, "127.0.0.1:1", "smtp_generic_maps="+generic, "mydestination=host.test", "recipient_delimiter=+", "propagate_unmatched_extensions="+words)
		if got, err := r.c.env.Load().service("smtp").generic.Address(t.Context(), "bob+lists@host.test"); string(got) != want || err != nil {
			t.Errorf("%q: %s, %v", words, got, err)
		}
	}
}

// TestGenericFails: with a table that cannot be asked nothing is sent; the null sender is
// nobody's address.
func TestGenericFails(t *testing.T) {
	s := listen(t, "127.0.0.1:0", nil)
	for _, sender := range []mail.Address{"", "root@host.test"} {
		r := newRig(t, "127.0.0.1:1", "smtp_generic_maps=fail:no")
		d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")
		d.Sender = sender
		if got := render(wait(t, r.ask(d))); got != "10 deferred 4.3.0 address lookup failure\n" {
			t.Error(got)
		}
		if !strings.Contains(r.lines(), "warning: Q1: smtp_generic_maps lookup error for ") {
			t.Error(r.lines())
		}
	}
	if s.commands() != "" {
		t.Error(s.commands())
	}
	r := newRig(t, "127.0.0.1:1", "smtp_generic_maps=static:x@example.com")
	d := deliverTo(fmt.Sprintf("[127.0.0.1]:%d", s.port()), testMail, "a")
	d.Sender = ""
	wait(t, r.ask(d))
	if got := s.commands(); !strings.Contains(got, "MAIL FROM:<> SIZE") || !strings.Contains(got, "RCPT TO:<x@example.com>") {
		t.Error(got)
	}
}

// TestGenericPieces: any division of the content gives the same.
func TestGenericPieces(t *testing.T) {
	r := newRig(t, "127.0.0.1:1", "smtp_generic_maps="+generic, "mydestination=host.test", "header_size_limit=60")
	rnd := rand.New(rand.NewPCG(3, 4))
	d := &delivery{st: r.c.env.Load().service("smtp")}
	parts := []string{"From: ann@host.test\r\n", "To: a@b.test,\r\n ann@host.test\r\n", "X: y\r\n", "Cc: " + strings.Repeat("q@far.test, ", 20) + "ann@host.test\r\n", "no header\r\n", "\r\n", "To : ann@host.test\r\n", "To: ann@host.test"}
	for range 2000 {
		in := ""
		for range rnd.IntN(7) {
			in += parts[rnd.IntN(len(parts))]
		}
		whole := d.newGenericHeader().Append(nil, []byte(in), true)
		h := d.newGenericHeader()
		var out []byte
		for rest := in; rest != ""; {
			n := 1 + rnd.IntN(len(rest))
			out = h.Append(out, []byte(rest[:n]), false)
			rest = rest[n:]
		}
		if out = h.Append(out, nil, true); string(out) != string(whole) {
			t.Fatalf("%q\n%q\n%q", in, whole, out)
		}
	}
}
