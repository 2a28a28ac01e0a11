package e2e

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"postrider/lib/table/tabletest"
	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// sendmail works while the system runs, and while it does not: then the mail waits in
// maildrop/ and goes out once at the next start.
func TestSendmail(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	other := sink.New(t, nil)
	i := instance.Started(t, route("sink.test", far, "other.test", other))
	submit := func(id string, size int, args ...string) {
		t.Helper()
		content := ledger.Content(id, size)
		l.Attempt(id, ledger.Hash(content), "r@sink.test", "s@sink.test")
		r := i.RunWith(string(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))), "sendmail", args...)
		if r.Code != 0 || r.Stdout+r.Stderr != "" {
			t.Fatalf("sendmail %v: %+v", args, r)
		}
		l.Acked(id, "r@sink.test", "s@sink.test")
	}
	submit("up", 5000, "-i", "-f", "a@source.test", "r@sink.test", "s@sink.test")
	submit("up-large", 2_000_000, "-oi", "-fa@source.test", "--", "r@sink.test", "s@sink.test")
	i.Await("delivery while up", func() bool { return l.Open() == 0 })
	i.AwaitLog(`postfix/(pickup|cleanup)\[\d+\]: \w+: uid=\d+ from=<a@source\.test>$`)
	if m := far.Find("up"); len(m) != 1 || m[0].Sender != "a@source.test" {
		t.Errorf("%+v", m)
	}

	// -t takes the recipients from the headers and removes Bcc; missing headers are added.
	r := i.RunWith("To: First <r@other.test>\nBcc: s@other.test\nSubject: by -t\n\nHello.\n.\nMore.\n", "sendmail", "-t", "-i", "-f", "a@source.test", "-F", "Some Body")
	if r.Code != 0 {
		t.Fatalf("sendmail -t: %+v", r)
	}
	byT := func() (found []*sink.Mail) {
		for _, m := range other.Mails() {
			if strings.Contains(string(m.Content), "Subject: by -t\r\n") {
				found = append(found, m)
			}
		}
		return found
	}
	i.Await("the message of -t", func() bool { return len(byT()) == 1 })
	m := byT()[0]
	if strings.Join(m.Recipients, " ") != "r@other.test s@other.test" || regexp.MustCompile(`(?mi)^bcc:`).Match(m.Content) {
		t.Errorf("to %v: %s", m.Recipients, m.Content)
	}
	for _, want := range []string{`(?m)^From: Some Body <a@source\.test>\r$`, `(?m)^Date: \w{3}, `, `(?m)^Message-Id: <\S+@mx\.instance\.test>\r$`, `(?m)^Received: (by|from) `, `\r\n\r\nHello\.\r\n\.\r\nMore\.\r\n\z`} {
		if !regexp.MustCompile(want).Match(m.Content) {
			t.Errorf("no %s in\n%s", want, m.Content)
		}
	}

	if r := i.RunWith("x\n", "sendmail", "-f", "a@source.test"); r.Code == 0 || r.Stderr == "" {
		t.Errorf("sendmail without recipients: %+v", r)
	}
	if got := i.Must("sendmail", "-bp"); got != "Mail queue is empty\n" {
		t.Errorf("sendmail -bp: %q", got)
	}

	if err := i.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	submit("down", 5000, "-i", "-f", "a@source.test", "r@sink.test", "s@sink.test")
	submit("down-2", 300_000, "-i", "-f", "a@source.test", "r@sink.test", "s@sink.test")
	if n := len(i.Files("maildrop")); n != 2 {
		t.Errorf("%d files in maildrop: %v", n, i.Files("maildrop"))
	}
	i.Start()
	i.Await("delivery after the start", func() bool { return l.Open() == 0 })
	i.Await("an empty queue", i.Drained)
	i.Must("postqueue", "-f") // answered when all that was decided is on the disk
	i.Kill()
	i.Start()
	// The journal is read in order: when this one is there, nothing older is left in it.
	send(t, i, &l, source.New("witness", "a@source.test", 1000, "r@sink.test"))
	i.Await("the witness", func() bool { return l.Open() == 0 })
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
}

// Mail for names in mydestination goes into a Maildir for each, without root.
func TestLocal(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	far := sink.New(t, &l)
	i := instance.New(t, route("sink.test", far), "message_size_limit = 30000000")
	aliases, err := tabletest.WriteIndex(i.Conf+"/aliases", "# a comment\nteam: one, two,\n  r@sink.test\nroot: one\npostmaster: root\nloop: loop2\nloop2: loop\n", true)
	if err != nil {
		t.Fatal(err)
	}
	i.Set("alias_maps = hash:" + aliases)
	i.Start()

	send(t, i, &l, source.New("plain", "a@source.test", 3000, "one@local.test"))
	send(t, i, &l, source.New("large", "a@source.test", 5_000_000, "one@local.test", "three@local.test"))
	send(t, i, &l, source.New("tag", "a@source.test", 3000, "one+tag@local.test"))
	send(t, i, nil, source.New("alias", "a@source.test", 3000, "team@local.test"))
	send(t, i, nil, source.New("root", "a@source.test", 3000, "postmaster@local.test"))
	in := func(name, id string) (found [][]byte) {
		for _, c := range i.Maildir(name) {
			if got, sum, err := ledger.Identify(c); err == nil && got == id {
				if size := map[string]int{"large": 5_000_000}[id]; sum != ledger.Hash(ledger.Content(id, max(size, 3000))) {
					t.Errorf("%s to %s: another content", id, name)
				}
				found = append(found, c)
			}
		}
		return found
	}
	for _, c := range []struct{ name, id string }{{"one", "plain"}, {"one", "large"}, {"three", "large"}, {"one", "tag"}, {"one", "alias"}, {"two", "alias"}, {"one", "root"}} {
		i.Await(c.id+" in the Maildir of "+c.name, func() bool { return len(in(c.name, c.id)) == 1 })
	}
	i.Await("the alias' member elsewhere", func() bool { return len(far.Find("alias")) == 1 })
	i.Await("an empty queue", i.Drained)
	c := string(in("one", "plain")[0])
	for _, want := range []string{"Return-Path: <a@source.test>\n", "Delivered-To: one@local.test\n", "Received: from source.test "} {
		if !strings.Contains(c, want) {
			t.Errorf("no %q in %.500s", want, c)
		}
	}
	if strings.Contains(c, "\r") {
		t.Error("a Maildir's lines end in LF alone")
	}
	for _, name := range []string{"one", "two", "three"} {
		seen := map[string]int{}
		for _, c := range i.Maildir(name) {
			id, _, _ := ledger.Identify(c)
			if seen[id]++; seen[id] > 1 {
				t.Errorf("%s has %s twice", name, id)
			}
		}
	}
	i.AwaitLog(`local\[\d+\]: \w+: to=<one@local\.test>, relay=local, delay=[\d.]+, delays=\S+, dsn=2\.0\.0, status=sent \(delivered to maildir\)$`)

	loop := send(t, i, nil, source.New("loop", "", 1000, "loop@local.test"))
	i.AwaitLog(loop + `: to=<loop@local\.test>, .*status=(bounced|deferred) `)
}
