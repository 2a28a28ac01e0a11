package e2e

import (
	"strings"
	"testing"
	"time"

	"postrider/test/sink"
	"postrider/test/source"
)

// A message says itself when it is to be sent and until when: it waits without an attempt,
// over a restart, and postqueue -w tells for what; it goes when the time has come, not
// before; one that could not go until its end goes back. What is no time is left out.
func TestPolicyTimes(t *testing.T) {
	t.Parallel()
	s := sink.New(t, nil)
	s.Do(sink.Behaviour{Rcpt: func(_, rcpt string) string {
		if strings.HasSuffix(rcpt, "@busy.test") {
			return "450 4.2.1 not now"
		}
		return ""
	}})
	i := governed(t, s, `
facts {
  send_at   = header["x-send-at"]
  expire_at = header["x-expire-at"]
}
schedule "often" {
  retry  = ["1s"]
  jitter = "0%"
  expire = "5d"
}
rule { schedule = "often" }
`)
	mail := func(id, rcpt string, header ...string) string {
		m := source.New(id, "a@source.test", 500, rcpt)
		m.Content = append([]byte(strings.Join(header, "\r\n")+"\r\n"), m.Content...)
		return send(t, i, nil, m)
	}
	attempts := func(id string) int { return len(i.Grep(id + ": to=")) }
	waits := func(id, text string) {
		t.Helper()
		i.AwaitQueue(id, "deferred")
		if why := i.Must("postqueue", "-w", id); !strings.Contains(why, text) || !strings.Contains(why, "not tried yet") {
			t.Errorf("why: %s", why)
		}
		if n := attempts(id); n != 0 {
			t.Errorf("%d attempts before its time", n)
		}
	}

	tomorrow := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	later := mail("later", "x@later.test", "X-Send-At: "+tomorrow.Format(time.RFC1123Z))
	hours := mail("hours", "x@hours.test", "X-Send-At: 2h")
	never := mail("never", "x@never.test", "X-Send-At: "+tomorrow.Format(time.RFC3339), "X-Expire-At: 1s")
	past := mail("past", "x@past.test", "X-Send-At: Mon, 02 Mar 2020 10:00:00 +0100")
	garbage := mail("garbage", "x@garbage.test", "X-Send-At: when it suits you", "X-Expire-At: soon")
	ends := mail("ends", "x@busy.test", "X-Expire-At: 3s")
	stays := mail("stays", "x@busy.test", "X-Expire-At: 2d")

	waits(later, "delivery not scheduled before "+tomorrow.Format(time.RFC3339))
	waits(hours, "delivery not scheduled before ")
	i.AwaitLog(past + ": removed")
	i.AwaitLog(garbage + ": removed")
	i.AwaitLog(`warning: ` + garbage + `: the time to send it at: time "when it suits you" `)
	i.AwaitLog(`warning: ` + garbage + `: the time it expires at: time "soon" `)

	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	i.Start()
	waits(later, "delivery not scheduled before "+tomorrow.Format(time.RFC3339))
	waits(hours, "delivery not scheduled before ")
	for _, id := range []string{ends, never} {
		i.AwaitLog(id + ": from=<a@source.test>, status=expired, returned to sender")
	}
	if n := attempts(ends); n == 0 {
		t.Error("returned without an attempt")
	}
	i.Await("a report of both", func() bool { return reports(s, "x@busy.test") == 1 && reports(s, "x@never.test") == 1 })
	if q := i.Entry(stays).Queue; q == "" {
		t.Error("one that may still wait is gone")
	}

	at := time.Now().Add(3 * time.Second).UTC().Truncate(time.Second)
	soon := mail("soon", "x@soon.test", "X-Send-At: "+at.Format(time.RFC3339))
	i.AwaitLog(soon + ": removed")
	for _, m := range s.Mails() {
		if m.ID == "soon" && m.At.Before(at) {
			t.Errorf("sent at %v, not before %v was asked for", m.At, at)
		}
	}
	i.Must("postqueue", "-i", later) // an operator wants it now
	i.AwaitLog(later + ": removed")
}

// reports counts the reports of failure that name a recipient.
func reports(s *sink.Sink, rcpt string) (n int) {
	for _, m := range s.Mails() {
		if m.Sender == "" && strings.Contains(string(m.Content), "Final-Recipient: rfc822; "+rcpt) && strings.Contains(string(m.Content), "Action: failed") {
			n++
		}
	}
	return n
}
