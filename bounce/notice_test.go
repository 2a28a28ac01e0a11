package bounce

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postrider/lib/agent"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// outcome is one letter for each recipient of a request: R replaced, S sent, D
// deferred, - not in the result.
func outcome(q *agent.Request, res proto.Result) string {
	s := ""
	for i := range q.Recipients {
		at := slices.IndexFunc(res.Recipients, func(rr proto.RecipientResult) bool { return rr.Index == q.Recipients[i].Index })
		switch {
		case at < 0:
			s += "-"
		case res.Recipients[at].Status.Class == mail.Deferred:
			s += "D"
		case res.Recipients[at].Replaced:
			s += "R"
		default:
			s += "S"
		}
	}
	return s
}

func TestWhoIsTold(t *testing.T) {
	a, b := rcpt("bob@example.net", 0, refused), rcpt("carol@example.com", mail.NotifyNever, unknown)
	for _, c := range []struct {
		name, kind, sender, classes, want string
		rs                                []proto.DeliverRecipient
		mails, log                        string // mails: "from>to" each
	}{
		{"a failure", "failure", "alice@example.org", "resource", "R", list(a), "<>>alice@example.org", "4Z6Tpg1TSdzk: sender non-delivery notification: "},
		{"one of two", "failure", "alice@example.org", "resource", "RS", list(a, b), "<>>alice@example.org", ""},
		{"NEVER", "failure", "alice@example.org", "resource", "S", list(b), "", ""},
		{"only DELAY", "failure", "alice@example.org", "bounce", "S", list(rcpt("x@y", mail.NotifyDelay, refused)), "", ""},
		{"FAILURE", "failure", "alice@example.org", "resource", "R", list(rcpt("x@y", mail.NotifyFailure, refused)), "<>>alice@example.org", ""},
		{"with copy", "failure", "alice@example.org", "bounce", "R", list(a), "<>>alice@example.org double-bounce@mail.example.com>postmaster@example.com",
			"4Z6Tpg1TSdzk: postmaster non-delivery notification: "},
		{"null sender", "failure", "", "resource", "S", list(a), "", "4Z6Tpg1TSdzk: non-delivery notification discarded"},
		{"double", "failure", "", "2bounce", "RR", list(a, b), "double-bounce@mail.example.com>postmaster@example.com", "postmaster non-delivery notification: "},
		{"double by class bounce", "failure", "", "bounce", "R", list(a), "double-bounce@mail.example.com>postmaster@example.com", ""},
		{"triple", "failure", "Double-Bounce@mail.example.com", "bounce, 2bounce", "S", list(a), "", "warning: 4Z6Tpg1TSdzk: undeliverable postmaster notification discarded"},
		{"delay", "delay", "alice@example.org", "resource", "S", list(rcpt("x@y", 0, timeout)), "<>>alice@example.org", "sender delay notification: "},
		{"delay with copy", "delay", "alice@example.org", "delay", "S", list(rcpt("x@y", 0, timeout)),
			"<>>alice@example.org double-bounce@mail.example.com>postmaster@example.com", "postmaster delay notification: "},
		{"delay not wanted", "delay", "alice@example.org", "delay", "S", list(rcpt("x@y", mail.NotifyFailure, timeout)), "", ""},
		{"delay of a report", "delay", "", "delay, bounce", "S", list(rcpt("x@y", 0, timeout)), "", ""},
		{"success", "success", "alice@example.org", "resource", "SS", list(rcpt("x@y", mail.NotifySuccess, sent), rcpt("z@y", 0, sent)), "<>>alice@example.org", "sender delivery status notification: "},
		{"success not asked for", "success", "alice@example.org", "resource", "S", list(rcpt("z@y", 0, sent)), "", ""},
		{"success of a report", "success", "", "resource", "S", list(rcpt("z@y", mail.NotifySuccess, sent)), "", ""},
		{"unknown kind", "rumour", "alice@example.org", "bounce", "D", list(a), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "notify_classes="+c.classes).connect()
			q := request(c.kind, letter, slices.Clone(c.rs)...)
			q.Sender = mail.Address(c.sender)
			res := r.do(q)
			if got := outcome(q, res); got != c.want || res.Hop.Class != mail.Sent {
				t.Errorf("result %q, hop %v, want %q", got, res.Hop, c.want)
			}
			var mails []string
			for _, m := range r.cleanup.Messages() {
				e := m.Envelope
				if len(e.Recipients) != 1 || e.Origin != mail.FromBounce || !m.Local || !e.ID.Valid() {
					t.Errorf("envelope %+v", e)
				}
				from := string(e.Sender)
				if from == "" {
					from = "<>"
				}
				mails = append(mails, from+">"+string(e.Recipients[0].Address))
				if first := m == r.cleanup.Messages()[0]; first != (c.kind == "failure" && !e.Replaces.Zero()) && c.kind == "failure" {
					t.Errorf("replaces %+v", e.Replaces)
				}
			}
			if got := strings.Join(mails, " "); got != c.mails {
				t.Errorf("mails %q, want %q", got, c.mails)
			}
			if got := r.lines(); !strings.Contains(got, c.log) || strings.Count(got, "\n") > 2 {
				t.Errorf("log %q, want %q", got, c.log)
			}
		})
	}
}

func list(rs ...proto.DeliverRecipient) []proto.DeliverRecipient { return rs }

// The report takes over exactly the recipients it names.
func TestReplaces(t *testing.T) {
	r := newRig(t).connect()
	q := request("failure", letter, rcpt("a@b", 0, refused), rcpt("c@d", mail.NotifyNever, refused), rcpt("e@f", mail.NotifyFailure, refused))
	r.do(q)
	want := mail.Replaces{ID: q.Queue, File: 5, Slot: 6, Recipients: []uint32{0, 4}}
	if got := r.messages(1)[0].Envelope.Replaces; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// Without cleanup, and when it refuses or dies, the recipients stay.
func TestNoCleanup(t *testing.T) {
	for _, c := range []struct {
		code    uint16
		dsn     string
		hop     mail.Class
		tries   int
		ourCode string
	}{
		{451, "4.3.0", mail.Deferred, 1, "4.3.0"},
		{452, "4.3.1", mail.Deferred, 1, "4.3.1"},
		{proto.SubmitUnknown, "", mail.Deferred, 1, "4.3.0"},
		{552, "5.2.3", mail.Sent, 2, "4.2.3"},
	} {
		r := newRig(t, "notify_classes=bounce")
		tries := 0
		r.cleanup.Reply = func(*submittest.Message) (proto.SubmitReply, bool) {
			tries++
			return proto.SubmitReply{Code: c.code, DSN: c.dsn, Text: "no"}, true
		}
		r.connect()
		q := request("failure", letter, rcpt("a@b", 0, refused), rcpt("c@d", mail.NotifyNever, refused))
		res := r.do(q)
		if got := outcome(q, res); got != "DD" || res.Hop.Class != c.hop || tries != c.tries || res.Recipients[0].Status.DSN != c.ourCode {
			t.Errorf("%d: %s, %d tries, %+v", c.code, got, tries, res)
		}
		r.cleanup.Close()
	}
}

// A cleanup that never comes is waited for no longer than submit does.
func TestNeverConnected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	q := request("failure", letter, rcpt("a@b", 0, refused))
	if res := r.do(q); outcome(q, res) != "D" || res.Hop.Class != mail.Deferred {
		t.Errorf("%+v", res)
	}
}

// A report that is refused for its size goes again with the header alone.
func TestTooLarge(t *testing.T) {
	r := newRig(t)
	r.cleanup.Reply = func(m *submittest.Message) (proto.SubmitReply, bool) {
		if strings.Contains(string(m.Content), "first line") {
			return proto.SubmitReply{Code: 552, DSN: "5.3.4", Text: "too large"}, true
		}
		return proto.SubmitReply{}, true
	}
	r.connect()
	q := request("failure", letter, rcpt("a@b", 0, refused))
	if res := r.do(q); outcome(q, res) != "R" || !strings.Contains(string(r.messages(1)[0].Content), "Subject: hello") {
		t.Errorf("%+v", res)
	}
}

// Nothing is sent back whose checksum does not hold.
func TestDamaged(t *testing.T) {
	r := newRig(t).connect()
	q := request("failure", letter, rcpt("a@b", 0, refused))
	q.Content = agent.NewInline([]byte(letter), 1)
	if res := r.do(q); outcome(q, res) != "D" || res.Recipients[0].Status.Text != agent.ContentStatus.Text {
		t.Errorf("%+v", res)
	}
	r.messages(0)
}

// Ten thousand recipients make one report, in linear time and in pieces.
func TestMany(t *testing.T) {
	r := newRig(t).connect()
	rs := make([]proto.DeliverRecipient, 10000)
	for i := range rs {
		rs[i] = rcpt("user"+strconv.Itoa(i)+"@example.net", 0, refused)
	}
	q := request("failure", letter, rs...)
	if res := r.do(q); outcome(q, res) != strings.Repeat("R", len(rs)) {
		t.Error("not all replaced")
	}
	m := r.messages(1)[0]
	if n := strings.Count(string(m.Content), "\r\nFinal-Recipient: "); n != len(rs) || len(m.Envelope.Replaces.Recipients) != len(rs) || m.Frames < 10 {
		t.Errorf("%d recipients, %d frames", n, m.Frames)
	}
}

// What does not fit into one report is left for the next.
func TestLimit(t *testing.T) {
	rep := &report{r: request("failure", letter, make([]proto.DeliverRecipient, 40000)...)}
	rep.recipients = all(rep.r)
	rep.limit()
	env := mail.Envelope{Replaces: mail.Replaces{ID: "Q"}}
	for _, i := range rep.recipients {
		env.Replaces.Recipients = append(env.Replaces.Recipients, rep.r.Recipients[i].Index)
	}
	if n := len(mail.AppendEnvelope(nil, &env)); n > proto.SubmitMax || n < proto.SubmitMax/2 {
		t.Errorf("envelope of %d bytes", n)
	}
	if res := rep.result(); len(res.Recipients) != len(rep.recipients) || len(rep.left)+len(res.Recipients) != 40000 {
		t.Errorf("%d results for %d", len(res.Recipients), len(rep.recipients))
	}
}
