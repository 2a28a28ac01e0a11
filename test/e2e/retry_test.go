package e2e

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// A message that is deferred is tried again after min, then after as long as it is old,
// at most max: Postfix's schedule.
func TestRetry(t *testing.T) {
	t.Parallel()
	var (
		l     ledger.Ledger
		mu    sync.Mutex
		tries []time.Time
	)
	far := sink.New(t, &l)
	far.Do(sink.Behaviour{Rcpt: func(string, string) string {
		mu.Lock()
		defer mu.Unlock()
		if tries = append(tries, time.Now()); len(tries) < 5 {
			return "450 4.2.0 not yet"
		}
		return ""
	}})
	i := instance.Started(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 3s", route("sink.test", far))
	id := send(t, i, &l, source.New("retry", "a@source.test", 1000, "r@sink.test"))
	i.AwaitQueue(id, "deferred")
	if q := i.Entry(id); len(q.Recipients) != 1 || q.Sender != "a@source.test" || !strings.HasSuffix(q.Recipients[0].Reason, "said: 450 4.2.0 not yet (in reply to RCPT TO command)") {
		t.Errorf("listed as %+v", q)
	}
	i.Await("the delivery", func() bool { return l.Open() == 0 })
	i.AwaitQueue(id, "")
	mu.Lock()
	defer mu.Unlock()
	if len(tries) != 5 {
		t.Fatalf("%d attempts, not 5", len(tries))
	}
	for n, want := range []time.Duration{1, 1, 2, 3} { // seconds; times are kept to the second
		got := tries[n+1].Sub(tries[n])
		if low, high := want*time.Second-500*time.Millisecond, (want+2)*time.Second; got < low || got > high {
			t.Errorf("attempt %d came %v after the one before, not %ds", n+2, got, want)
		}
	}
	if v := l.Judge(); v.Err() != nil || len(v.Duplicates) > 0 {
		t.Error(v.Err(), v)
	}
}

// report is a parsed RFC 3464 report.
type report struct {
	header     mail.Header
	text       string
	message    textproto.MIMEHeader
	recipients []textproto.MIMEHeader
	returned   string
}

// parseReport reads it with the standard library, as a mail program would.
func parseReport(t *testing.T, content []byte) (r report) {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("%v in report:\n%s", err, content)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(content))
	fail(err)
	r.header = m.Header
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	fail(err)
	if kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("type %s %v", kind, params)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			return r
		}
		fail(err)
		b, err := io.ReadAll(p)
		fail(err)
		switch kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind {
		case "text/plain":
			r.text = string(b)
		case "message/delivery-status":
			fields := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(b, "\r\n\r\n"...))))
			r.message, err = fields.ReadMIMEHeader()
			fail(err)
			for {
				h, err := fields.ReadMIMEHeader()
				if len(h) == 0 {
					break
				}
				fail(err)
				r.recipients = append(r.recipients, h)
			}
		case "message/rfc822", "text/rfc822-headers":
			r.returned = string(b)
		}
	}
}

// What cannot be delivered comes back to the sender: at once after a permanent failure,
// one report for the message whatever the number of recipients; at the end of its
// lifetime after temporary ones; never to the null sender; and a report that cannot be
// delivered is dropped.
func TestBounce(t *testing.T) {
	t.Parallel()
	far, back := sink.New(t, nil), sink.New(t, nil)
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch {
		case strings.HasPrefix(r, "no"):
			return "550 5.1.1 <" + r + ">: unknown"
		case strings.HasPrefix(r, "later"):
			return "450 4.2.0 try again"
		}
		return ""
	}})
	back.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if strings.HasPrefix(r, "gone") {
			return "550 5.1.1 gone"
		}
		return ""
	}})
	i := instance.Started(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "maximal_queue_lifetime = 3s",
		route("sink.test", far, "source.test", back))
	expires := send(t, i, nil, source.New("expires", "late@source.test", 2000, "later@sink.test"))
	failed := send(t, i, nil, source.New("failed", "a@source.test", 200_000, "no1@sink.test", "yes@sink.test", "no2@sink.test"))
	null := send(t, i, nil, source.New("null", "", 1000, "no@sink.test"))
	double := send(t, i, nil, source.New("double", "gone@source.test", 1000, "no@sink.test"))

	one := func(to string) report {
		t.Helper()
		find := func() (found []*sink.Mail) {
			for _, m := range back.Mails() {
				if m.Recipients[0] == to {
					found = append(found, m)
				}
			}
			return found
		}
		i.Await("a report to "+to, func() bool { return len(find()) > 0 })
		m := find()
		if len(m) != 1 || m[0].Sender != "" || len(m[0].Recipients) != 1 {
			t.Fatalf("%d reports to %s, the first from <%s>", len(m), to, m[0].Sender)
		}
		return parseReport(t, m[0].Content)
	}
	r := one("a@source.test")
	if len(r.recipients) != 2 {
		t.Fatalf("%d recipients in the report: %v", len(r.recipients), r.recipients)
	}
	for n, h := range r.recipients {
		who := []string{"no1@sink.test", "no2@sink.test"}[n]
		if h.Get("Final-Recipient") != "rfc822; "+who || h.Get("Action") != "failed" || h.Get("Status") != "5.1.1" ||
			!strings.HasPrefix(h.Get("Diagnostic-Code"), "smtp; 550 5.1.1 <"+who) {
			t.Errorf("recipient %d: %v", n, h)
		}
	}
	if r.message.Get("Reporting-MTA") != "dns; "+instance.Hostname || r.message.Get("X-Postfix-Queue-Id") == "" && r.message.Get("X-Postrider-Queue-Id") == "" {
		t.Errorf("message fields %v", r.message)
	}
	if !strings.Contains(r.returned, "X-Ledger-Id: failed") || len(r.returned) > 60_000 {
		t.Errorf("%d bytes returned: %.300s", len(r.returned), r.returned)
	}
	if !strings.Contains(r.header.Get("From"), "MAILER-DAEMON") || r.header.Get("Auto-Submitted") != "auto-replied" || r.header.Get("To") == "" {
		t.Errorf("header %v", r.header)
	}
	if !strings.Contains(r.text, "<no1@sink.test>") || !strings.Contains(r.text, "550 5.1.1") {
		t.Errorf("text %s", r.text)
	}
	i.AwaitLog(failed + `: sender non-delivery notification: \w+$`)

	r = one("late@source.test")
	if len(r.recipients) != 1 || !strings.Contains(r.recipients[0].Get("Diagnostic-Code"), "450 4.2.0 try again") || r.recipients[0].Get("Action") != "failed" {
		t.Errorf("recipients of the expired message: %v", r.recipients)
	}
	i.AwaitLog(`qmgr\[\d+\]: ` + expires + `: from=<late@source\.test>, status=expired, returned to sender$`)

	i.AwaitLog(null + `: removed$`)
	i.AwaitLog(double + `: sender non-delivery notification: \w+$`)
	i.Await("an empty queue", i.Drained)
	if n := len(back.Mails()); n != 2 {
		t.Errorf("%d reports, not 2", n)
	}
}
