package bounce

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
)

// rig is a bouncer with a clock that stands still and a cleanup of the test.
type rig struct {
	*bouncer
	t       *testing.T
	cleanup *submittest.Cleanup
	logfile string
	config  *config.Config
}

var clock = time.Date(2025, 3, 4, 10, 11, 12, 0, time.FixedZone("CET", 3600))

func newRig(t *testing.T, settings ...string) *rig {
	snap := config.Snapshot{Dir: t.TempDir(), Settings: []config.Setting{
		{Name: "myhostname", Value: "mail.example.com"}, {Name: "myorigin", Value: "example.com"},
		{Name: "delay_warning_time", Value: "4h"},
	}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		snap.Settings = append(snap.Settings, config.Setting{Name: name, Value: value})
	}
	c, err := config.FromSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, config: c, cleanup: &submittest.Cleanup{}, logfile: filepath.Join(t.TempDir(), "log")}
	f, err := os.Create(r.logfile)
	if err != nil {
		t.Fatal(err)
	}
	log := maillog.New("postfix/bounce", maillog.Options{Host: "h"})
	log.Open(f, maillog.File)
	t.Cleanup(log.Close)
	r.bouncer = &bouncer{ids: mail.IDs{Number: 7}, log: log, now: func() time.Time { return clock }}
	file, err := os.ReadFile(c.String("bounce_template_file"))
	if err != nil && c.String("bounce_template_file") != "" {
		t.Fatal(err)
	}
	set, err := settingsOf(c, string(file))
	if err != nil {
		t.Log(err)
	}
	r.set.Store(set)
	t.Cleanup(r.cleanup.Close)
	return r
}

// connect gives the bouncer its cleanup.
func (r *rig) connect() *rig {
	sock, err := r.cleanup.Serve()
	if err != nil {
		r.t.Fatal(err)
	}
	r.submit.Connect(sock)
	return r
}

func (r *rig) lines() string {
	r.log.Flush()
	b, err := os.ReadFile(r.logfile)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

const letter = "Received: from a by b; now\r\nFrom: alice@example.org\r\nSubject: hello\r\n\r\nfirst line\r\n--not a boundary\r\nlast\r\n"

func request(kind, content string, rs ...proto.DeliverRecipient) *agent.Request {
	b := []byte(content)
	for i := range rs {
		rs[i].Index = uint32(2 * i)
	}
	return &agent.Request{Lane: 3,
		Deliver: proto.Deliver{Service: "bounce", NextHop: kind, Queue: "4Z6Tpg1TSdzk", File: 5, Slot: 6, Sender: "alice@example.org",
			Arrival: clock.Add(-5 * time.Hour), Size: int64(len(b)), Recipients: rs},
		Content: agent.NewInline(b, agent.Checksum(b))}
}

func rcpt(addr string, n mail.Notify, st mail.Status) proto.DeliverRecipient {
	return proto.DeliverRecipient{Recipient: mail.Recipient{Address: mail.Address(addr), Notify: n}, Status: st}
}

var (
	refused = mail.Status{Class: mail.Bounced, DSN: "5.1.1", RemoteMTA: "mx.example.net", Diag: "550 5.1.1 no such user",
		Text: "host mx.example.net[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)"}
	unknown = mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: `unknown user: "carol"`}
	timeout = mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}
	sent    = mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "delivered to maildir"}
)

func (r *rig) do(q *agent.Request) proto.Result {
	r.t.Helper()
	return r.handle(context.Background(), q)
}

// messages waits for nothing: the bouncer had its answers.
func (r *rig) messages(n int) []*submittest.Message {
	r.t.Helper()
	m := r.cleanup.Messages()
	if len(m) != n {
		r.t.Fatalf("%d messages to cleanup, want %d", len(m), n)
	}
	return m
}
