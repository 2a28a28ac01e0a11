package e2e

import (
	"strings"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// A sender says of what he wants to hear (RFC 3461). Success is reported by the last
// system that can: by this one for its own users and where the next offers no DSN, else
// by the next.
func TestReports(t *testing.T) {
	t.Parallel()
	plain, knows, back := sink.New(t, nil), sink.New(t, nil), sink.New(t, nil)
	knows.Do(sink.Behaviour{Keywords: []string{"PIPELINING", "8BITMIME", "DSN"}})
	plain.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if strings.HasPrefix(r, "no") {
			return "550 5.1.1 unknown"
		}
		return ""
	}})
	i := instance.Started(t, route("plain.test", plain, "knows.test", knows, "source.test", back))
	s, err := source.Dial(i.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reply := ""
	for _, c := range []struct{ code, line string }{
		{"250", "MAIL FROM:<a@source.test> RET=HDRS ENVID=my+2Bid"},
		{"250", "RCPT TO:<one@local.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;uno+2B1@elsewhere.test"},
		{"250", "RCPT TO:<quiet@local.test>"},
		{"250", "RCPT TO:<yes@plain.test> NOTIFY=SUCCESS"},
		{"250", "RCPT TO:<no@plain.test> NOTIFY=NEVER"},
		{"250", "RCPT TO:<no2@plain.test> NOTIFY=SUCCESS"},
		{"250", "RCPT TO:<two@knows.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;dos@elsewhere.test"},
		{"354", "DATA"},
		{"250", "Subject: x\r\n\r\nthe body\r\n."},
	} {
		if reply, err = s.Command(c.code, "%s", c.line); err != nil {
			t.Fatalf("%s: %v", c.line, err)
		}
	}
	_, id, _ := strings.Cut(reply, "queued as ")
	i.AwaitLog(id + `: sender delivery status notification: \w+$`)
	i.AwaitLog(id + `: removed$`)
	i.Await("an empty queue", i.Drained)
	if n := len(back.Mails()); n != 1 {
		t.Fatalf("%d reports, not 1", n)
	}
	r := parseReport(t, back.Mails()[0].Content)
	if len(r.recipients) != 2 {
		t.Fatalf("%d recipients: %v", len(r.recipients), r.recipients)
	}
	if h := r.recipients[0]; h.Get("Final-Recipient") != "rfc822; one@local.test" || h.Get("Original-Recipient") != "rfc822;uno+1@elsewhere.test" ||
		h.Get("Action") != "delivered" || h.Get("Status") != "2.0.0" {
		t.Errorf("%v", h)
	}
	if h := r.recipients[1]; h.Get("Final-Recipient") != "rfc822; yes@plain.test" || h.Get("Action") != "relayed" || h.Get("Remote-Mta") == "" {
		t.Errorf("%v", h)
	}
	if r.message.Get("Original-Envelope-Id") != "my+id" || strings.Contains(r.returned, "the body") {
		t.Errorf("%v\n%s", r.message, r.returned)
	}
	if m := knows.Mails(); len(m) != 1 || !strings.HasSuffix(m[0].FromParameters, "RET=HDRS ENVID=my+2Bid") ||
		m[0].RcptParameters[0] != "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;dos@elsewhere.test" {
		t.Errorf("the next server got %+v", m)
	}
}
