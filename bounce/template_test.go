package bounce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/lib/mail"
	"postrider/lib/notice"
	"postrider/lib/proto"
)

// An operator's texts take the place of Postfix's, one by one; what is no template is
// said, and the default stands.
func TestTemplates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bounce.cf")
	text := `# German
failure_template = <<ENDE
Charset: utf-8
From: Postbote <postbote@example.org>
Subject: Nicht zustellbar
Postmaster-Subject: Kopie: nicht zustellbar

$myhostname konnte Ihre Nachricht über $maximal_queue_lifetime_hours Stunden
nicht zustellen; gewarnt wird nach ${delay_warning_time_minutes} Minuten. Preis: 5 $$
ENDE
delay_template = <<EOF
Subjekt: x

text
EOF
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "bounce_template_file="+file, "notify_classes=bounce")
	fail, late := &r.set.Load().templates[failed], &r.set.Load().templates[delayed]
	if fail.Text != "mail.example.com konnte Ihre Nachricht über 120 Stunden\nnicht zustellen; gewarnt wird nach 240 Minuten. Preis: 5 $\n" {
		t.Errorf("%q", fail.Text)
	}
	if fail.From != "Postbote <postbote@example.org>" || fail.Postmaster != "Kopie: nicht zustellbar" || late.Subject != "Delayed Mail (still being retried)" {
		t.Errorf("%+v\n%+v", fail, late)
	}
	r.connect()
	r.do(request("failure", "Subject: x\r\n\r\nbody\r\n", proto.DeliverRecipient{Recipient: mail.Recipient{Address: "r@t.example"}, Status: mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "no"}}))
	all := r.messages(2)
	sender, postmaster := string(all[0].Content), string(all[1].Content)
	for _, want := range []string{"From: Postbote <postbote@example.org>\r\n", "Subject: Nicht zustellbar\r\n", "Content-Transfer-Encoding: 8bit\r\n",
		"Content-Type: text/plain; charset=utf-8\r\n", "über 120 Stunden\r\n"} {
		if !strings.Contains(sender, want) {
			t.Errorf("no %q in\n%s", want, sender)
		}
	}
	if !strings.Contains(postmaster, "Subject: Kopie: nicht zustellbar\r\n") || strings.Contains(postmaster, "Stunden") {
		t.Error(postmaster)
	}
}

func TestBadTemplates(t *testing.T) {
	c := newRig(t).config
	for text, want := range map[string]string{
		"nonsense":                                              "line 1: not of the form",
		"other_template = <<E\nSubject: x\nE":                   "line 1: other_template is no template",
		"\nfailure_template = <<E\nSubject: x\n":                "line 2: no line \"E\" ends",
		"failure_template = <<E\nFoo: x\n\ny\nE":                "line 1: \"Foo: x\": the header has",
		"failure_template = <<E\nFrom: x\n\ny\nE":               "line 1: no field From or no field Subject",
		"failure_template = <<E\nFrom: x\nSubject: y\nE":        "line 1: there is no text",
		"failure_template = <<E\nFrom: x\nSubject: y\n\n${x\nE": "line 1: ",
	} {
		ts, err := notice.Templates(c, text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if ts[failed].Subject != "Undelivered Mail Returned to Sender" {
			t.Errorf("%q: %+v", text, ts[failed])
		}
	}
}
