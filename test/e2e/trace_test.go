package e2e

import (
	"fmt"
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// actions are what a report says of each recipient.
func actions(r report) map[string]string {
	all := map[string]string{}
	for _, h := range r.recipients {
		_, who, _ := strings.Cut(h.Get("Final-Recipient"), "; ")
		all[who] = h.Get("Action") + " " + h.Get("Status")
	}
	return all
}

// tracing is a system with servers that take, refuse and defer recipients by their names.
func tracing(t *testing.T) (i *instance.Instance, far, back *sink.Sink) {
	far, back = sink.New(t, nil), sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch {
		case strings.HasPrefix(r, "no"):
			return "550 5.1.1 unknown"
		case strings.HasPrefix(r, "late"):
			return "450 4.2.0 not now"
		}
		return ""
	}})
	return instance.Started(t, "transport_maps = inline:{ {far.test = smtp:"+far.NextHop()+"} {source.test = smtp:"+back.NextHop()+"} {none.test = error:5.1.2 there is none} }",
		"alias_maps = inline:{ {list = one, two@far.test} {single = one} }"), far, back
}

// sendmail -bv delivers nothing: servers are asked up to RCPT, local looks users and
// aliases up, and the sender gets one report, which ends the matter.
func TestVerifyAddresses(t *testing.T) {
	t.Parallel()
	i, far, back := tracing(t)
	r := i.RunWith("this is not read", "sendmail", "-bv", "-f", "me@source.test",
		"yes@far.test", "no@far.test", "late@far.test", "one@local.test", "list@local.test", "x@none.test")
	if r.Code != 0 || r.Stdout != "Mail Delivery Status Report will be mailed to <me@source.test>.\n" {
		t.Fatalf("%+v", r)
	}
	i.Await("the report", func() bool { return len(back.Mails()) == 1 })
	i.Await("an empty queue", i.Drained)
	got := fmt.Sprint(actions(parseReport(t, back.Mails()[0].Content)))
	if want := fmt.Sprint(map[string]string{"yes@far.test": "deliverable 2.1.5", "no@far.test": "undeliverable 5.1.1", "late@far.test": "undeliverable 4.2.0",
		"one@local.test": "deliverable 2.0.0", "list@local.test": "deliverable 2.0.0", "x@none.test": "undeliverable 5.1.2"}); got != want {
		t.Errorf("%s\nnot %s", got, want)
	}
	text := string(back.Mails()[0].Content)
	for _, want := range []string{"Subject: Mail Delivery Status Report\r\n", "delivers to maildir", "aliased to one@mx.instance.test, two@far.test", "<yes@far.test>: delivery via 127.0.0.1: 250 2.1.5 Ok\r\n", "Subject: probe\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, line := range []string{`postfix/smtp\[\d+\]: \w+: to=<yes@far.test>, .*status=deliverable`, `postfix/smtp\[\d+\]: \w+: to=<late@far.test>, .*status=undeliverable`,
		`postfix/local\[\d+\]: \w+: to=<one@local.test>, .*status=deliverable`} {
		i.AwaitLog(line)
	}
	if len(far.Mails()) > 0 || len(i.Maildir("one")) > 0 || len(back.Mails()) != 1 {
		t.Errorf("%d mails went out, %d to a mailbox, %d to the sender", len(far.Mails()), len(i.Maildir("one")), len(back.Mails()))
	}
	if r := i.RunWith("To: x@far.test\n\n", "sendmail", "-bv", "-t"); r.Code != 64 {
		t.Errorf("-bv -t: %+v", r)
	}
}

// sendmail -v delivers, and reports once what became of each recipient at the first
// attempt, besides the bounce.
func TestRecordDelivery(t *testing.T) {
	t.Parallel()
	i, far, back := tracing(t)
	r := i.RunWith("Subject: x\n\nbody\n", "sendmail", "-v", "-f", "me@source.test", "yes@far.test", "no@far.test", "late@far.test", "list@local.test")
	if r.Code != 0 || !strings.HasPrefix(r.Stdout, "Mail Delivery Status Report will be mailed") {
		t.Fatalf("%+v", r)
	}
	i.Await("report and bounce", func() bool { return len(back.Mails()) == 2 })
	far.Do(sink.Behaviour{})
	i.Must("postqueue", "-f")
	i.Await("an empty queue", i.Drained)
	kinds := map[string]string{}
	for _, m := range back.Mails() {
		rep := parseReport(t, m.Content)
		kinds[rep.header.Get("Subject")] = fmt.Sprint(actions(rep))
	}
	if got, want := kinds["Mail Delivery Status Report"], fmt.Sprint(map[string]string{"yes@far.test": "relayed 2.0.0", "no@far.test": "failed 5.1.1",
		"late@far.test": "delayed 4.2.0", "list@local.test": "expanded 2.0.0"}); got != want || len(kinds) != 2 {
		t.Errorf("%q, not %s", kinds, want)
	}
	if len(far.Mails()) != 3 || len(i.Maildir("one")) != 1 || len(back.Mails()) != 2 {
		t.Errorf("%d mails went out, %d to a mailbox, %d to the sender", len(far.Mails()), len(i.Maildir("one")), len(back.Mails()))
	}
}

// An alias takes ENVID, RET and ORCPT along and NOTIFY without SUCCESS, of which the
// sender hears that the address was expanded (RFC 3461, 5.2.7, as in Postfix).
func TestExpandedReport(t *testing.T) {
	t.Parallel()
	i, far, back := tracing(t)
	far.Do(sink.Behaviour{Keywords: []string{"PIPELINING", "8BITMIME", "DSN"}})
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ code, line string }{
		{"250", "MAIL FROM:<a@source.test> RET=HDRS ENVID=my+2Bid"},
		{"250", "RCPT TO:<list@local.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig@elsewhere.test"},
		{"354", "DATA"},
		{"250", "Subject: x\r\n\r\nbody\r\n."},
	} {
		if _, err = s.Command(c.code, "%s", c.line); err != nil {
			t.Fatalf("%s: %v", c.line, err)
		}
	}
	i.Await("the report and the mail", func() bool { return len(back.Mails()) == 1 && len(far.Mails()) == 1 && len(i.Maildir("one")) == 1 })
	i.Await("an empty queue", i.Drained)
	if got := fmt.Sprint(actions(parseReport(t, back.Mails()[0].Content))); len(back.Mails()) != 1 || got != "map[list@local.test:expanded 2.0.0]" {
		t.Errorf("%d reports, %s", len(back.Mails()), got)
	}
	if m := far.Mails()[0]; !strings.HasSuffix(m.FromParameters, "RET=HDRS ENVID=my+2Bid") || m.RcptParameters[0] != "NOTIFY=FAILURE ORCPT=rfc822;orig@elsewhere.test" {
		t.Errorf("%q %q", m.FromParameters, m.RcptParameters)
	}
}
