package cleanup

import (
	"strings"
	"testing"

	"postrider/lib/mail"
	"postrider/lib/submit"
)

// sent submits a message as smtpd does, in pieces of its own, and returns what is kept.
func (r *rig) sent(c *submit.Client, i int, local bool, content string) string {
	r.t.Helper()
	before := len(journaled(r.t, r.dir))
	env := envelope(i, "a@b.example")
	env.Origin = mail.FromSMTP
	m := c.Begin(env, local)
	if _, err := m.Write([]byte(content)); err != nil {
		r.t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		r.t.Fatal(err)
	}
	got := journaled(r.t, r.dir)[before]
	if got.env.Size != int64(len(got.content)) {
		r.t.Errorf("size %d of %d", got.env.Size, len(got.content))
	}
	return got.content
}

// change sets settings of the rig.
func (r *rig) change(f func(*settings)) {
	set := *r.s.settings.Load()
	f(&set)
	r.s.settings.Store(&set)
}

// Addresses in headers are completed and looked up where the mail is this machine's or
// the operator has said for other clients'; else nothing is touched.
func TestRewriteHeader(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	const whole = "Message-Id: <m@x>\r\nDate: d\r\n"
	in := whole + "From: Joe <joe>\r\nTo: old@far.example,\r\n ann (Ann), \"a b\"\r\nX-To: joe\r\nSubject: To: joe\r\n\r\nTo: joe\r\n"
	if got := r.sent(c, 1, false, in); got != in {
		t.Errorf("mail of a stranger: %q", got)
	}
	want := strings.NewReplacer("<joe>", "<joe@origin.example>", "ann (", "ann@origin.example (", `"a b"`, `"a b"@origin.example`).Replace(in)
	if got := r.sent(c, 2, true, in); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.change(func(s *settings) {
		s.remote = func(a mail.Address) mail.Address {
			if a.Domain() == "" {
				a += "@domain.invalid"
			}
			return a
		}
	})
	if got, want := r.sent(c, 3, false, in), strings.ReplaceAll(want, "@origin.example", "@domain.invalid"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	r.mapping("canonical_maps=inline:{ {old@far.example = new@far.example} {joe@origin.example = Joe.Doe@far.example} }", "canonical_classes=header_sender, header_recipient",
		"masquerade_domains=hide.example")
	in = whole + "From: joe\r\nSender: x@sub.hide.example\r\nCc: <old@far.example>, y@other.example\r\n\r\n"
	want = whole + "From: Joe.Doe@far.example\r\nSender: x@hide.example\r\nCc: <new@far.example>, y@other.example\r\n\r\n"
	if got := r.sent(c, 4, true, in); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.mapping("canonical_maps=fail:now", "canonical_classes=header_recipient")
	if err := send(c, envelope(5, "a@b.example"), true, in); err == nil || !strings.Contains(err.Error(), "4.3.0") {
		t.Errorf("a table that fails: %v", err)
	}
}

// message_drop_headers: of all mail, whatever the size of the field and of the frames.
func TestDropHeaders(t *testing.T) {
	r := newRig(t, "", nil)
	r.change(func(s *settings) { s.drop = []string{"bcc", "return-path"} })
	c := r.client("smtpd.0")
	for i, x := range []struct{ in, want string }{
		{"Bcc: a@b\r\nSubject: x\r\n\r\nBcc: y\r\n", "Subject: x\r\n\r\nBcc: y\r\n"},
		{"Subject: x\r\nBCC : a@b,\r\n c@d\r\nReturn-Path: <x>\r\n\r\n", "Subject: x\r\n\r\n"},
		{"Subject: x\r\nBcc: a@b", "Subject: x\r\n"},
		{"Subject: x\r\nBcc: a@b," + strings.Repeat("\r\n friend@far.example,", 30000) + "\r\nTo: x@y.example\r\n\r\nbody", "Subject: x\r\nTo: x@y.example\r\n\r\nbody"},
		{"Subject: x\r\nBcc: a@b," + strings.Repeat("friend@far.example,", 30000) + "\r\n\r\nbody", "Subject: x\r\n\r\nbody"},
	} {
		if got := r.sent(c, i+1, false, x.in); got != x.want {
			t.Errorf("%d: %d bytes: %.300q", i, len(got), got)
		}
	}
	// A header of many fields that change, over several frames and beyond what stays in memory.
	in := strings.Repeat("To: joe\r\nBcc: ann\r\n", 20000) + "\r\n" + text(100<<10)
	want := strings.Repeat("To: joe@origin.example\r\n", 20000)
	if got := r.sent(c, 90, true, in); !strings.HasPrefix(got, want+"Message-Id: ") || !strings.HasSuffix(got, "\r\n\r\n"+text(100<<10)) {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}
