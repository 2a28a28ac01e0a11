package cleanup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postrider/lib/ipc"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit"
)

func send(c *submit.Client, env *mail.Envelope, local bool, content string) error {
	m := c.Begin(env, local)
	if _, err := m.Write([]byte(content)); err != nil {
		m.Abort()
		return err
	}
	return m.Close()
}

func wantRefused(t *testing.T, err error, code int, dsn, text string) {
	t.Helper()
	var r *submit.Refused
	if !errors.As(err, &r) || r.Code != code || r.DSN != dsn || r.Text != text {
		t.Errorf("got %v, want %d %s %s", err, code, dsn, text)
	}
}

// TestSubmit: what was answered well is in the journal as it was sent, whatever its
// size and however many come at once.
func TestSubmit(t *testing.T) {
	r := newRig(t, "", nil)
	clients := []*submit.Client{r.client("smtpd.0"), r.client("bounce")}
	sizes := []int{0, 1000, 4000, 70 << 10, 99 << 10, 101 << 10, 700 << 10}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			env := envelope(i, "a@example.org", "b@example.org")
			env.Client = mail.Client{Name: "n", Addr: "192.0.2.1", Helo: "h", Protocol: "ESMTP"}
			if err := send(clients[i%2], env, false, fmt.Sprintf("Message-Id: <%d@x>\r\n\r\n", i)+text(sizes[i%len(sizes)])); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	got := journaled(t, r.dir)
	if len(got) != 60 {
		t.Fatalf("%d messages", len(got))
	}
	for _, m := range got {
		var i int
		fmt.Sscanf(string(m.env.ID), "T%d", &i)
		want := fmt.Sprintf("Message-Id: <%d@x>\r\n\r\n", i) + text(sizes[i%len(sizes)])
		if m.content != want || m.env.Size != int64(len(want)) || m.env.MessageID != fmt.Sprintf("<%d@x>", i) ||
			len(m.env.Recipients) != 2 || m.env.Client.Helo != "h" || m.env.Sender != "s@example.org" {
			t.Errorf("%d: %+v, %d bytes of %d", i, m.env, len(m.content), len(want))
		}
	}
	if !strings.Contains(r.lines(), "T7: message-id=<7@x>") {
		t.Error("no line with the message id")
	}
	if n := r.s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are still counted as buffered", n)
	}
}

// TestComplete: local mail gets what is missing, at the end of its header, wherever
// the frames end; other mail is left as it is.
func TestComplete(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("local")
	added := `Message-Id: <\d{14}\.T\d+@mx\.example>\r\nDate: \w{3}, \d+ \w{3} \d{4} [\d:]{8} [+-]\d{4} \(.*\)\r\nFrom: s@example\.org\r\n`
	long := "X-Long: " + strings.Repeat("y", 200<<10) + "\r\n"
	for i, c2 := range []struct {
		local         bool
		content, want string
	}{
		{true, "Subject: x\r\n\r\nbody\r\n", `^Subject: x\r\n` + added + `\r\nbody\r\n$`},
		{true, "Subject: x\r\n", `^Subject: x\r\n` + added + `$`},
		{true, "", `^` + added + `$`},
		{true, "no header\r\n", `^` + added + `\r\nno header\r\n$`},
		{true, "FROM: a\r\nDate: b\r\nMessage-ID: <c>\r\n\r\nd", `^FROM: a@origin\.example\r\nDate: b\r\nMessage-ID: <c>\r\n\r\nd$`},
		{true, "Resent-To: a\r\nFrom: a\r\n\r\n", `^Resent-To: a@origin\.example\r\nFrom: a@origin\.example\r\nResent-Message-Id: <.*\r\nResent-Date: .*\r\nResent-From: s@example.org\r\n\r\n$`},
		{false, "Subject: x\r\n\r\nbody\r\n", `^Subject: x\r\n\r\nbody\r\n$`},
		{false, "Subject: x\r\nno header\r\n", `^Subject: x\r\n\r\nno header\r\n$`},
		{true, long + "\r\n" + text(200<<10), `^X-Long: y+\r\n` + added + `\r\n0123`},
		{true, strings.Repeat("Subject: "+strings.Repeat("z", 60)+"\r\n", 3000) + "\r\n" + text(10<<10), `^(Subject: z+\r\n)+` + added + `\r\n0123`},
	} {
		before := len(journaled(t, r.dir))
		if err := send(c, envelope(i, "a@b"), c2.local, c2.content); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		got := journaled(t, r.dir)[before]
		if !regexp.MustCompile(c2.want).MatchString(got.content) || got.env.Size != int64(len(got.content)) {
			t.Errorf("%d: %.300q, size %d of %d", i, got.content, got.env.Size, len(got.content))
		}
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	hops := strings.Repeat("Received: x\r\n", 50)
	wantRefused(t, send(c, envelope(1, "a@b"), false, hops), 554, "5.4.0", "Error: too many hops")
	wantRefused(t, send(c, envelope(2, "a@b"), false, strings.Repeat("X: "+strings.Repeat("x", 1900)+"\r\n", 30)+"X: y\r\n"+hops+text(300<<10)), 554, "5.4.0", "Error: too many hops")
	wantRefused(t, send(c, envelope(3), false, "x"), 550, "5.1.0", "Error: no recipients specified")
	if err := send(c, envelope(4, "a@b"), false, hops[13:]+"\r\nReceived: in the body\r\n"); err != nil {
		t.Errorf("49 hops: %v", err)
	}
	var err error
	refused := mail.QueueID("")
	for i := 0; err == nil && i < 5; i++ { // a change of files may take the failure
		r.fs.failSyncs(1)
		env := envelope(50+i, "a@b")
		refused = env.ID
		err = send(c, env, false, "x")
	}
	wantRefused(t, err, 451, "4.3.0", "Error: queue file write error")
	for i, err := 0, error(nil); ; i++ { // a content with a file of its own, whose record fails
		r.fs.failSyncs(1)
		if err = send(c, envelope(60, "a@b"), false, "\r\n"+text(300<<10)); err == nil && i < 5 {
			os.Remove(filepath.Join(r.dir, "content", "T60"))
			continue
		}
		wantRefused(t, err, 451, "4.3.0", "Error: queue file write error")
		break
	}
	r.fs.failSyncs(100)
	if err := send(c, envelope(7, "a@b"), false, "x"); !errors.Is(err, submit.ErrUnknown) {
		t.Errorf("nothing can be synced: %v", err)
	}
	for _, m := range journaled(t, r.dir) {
		if m.env.ID == refused {
			t.Errorf("%s got 451 and is in the journal", refused)
		}
	}
	if names := r.files("content"); len(names) != 0 {
		t.Errorf("content of refused messages is left: %q", names)
	}

	full := newRig(t, "", func(o *journal.Options) { o.SizeLimit = 1 })
	c = full.client("smtpd.0")
	if err := send(c, envelope(0, "a@b"), false, "x"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, send(c, envelope(1, "a@b"), false, "x"), 452, "4.3.1", "Insufficient system storage")
	wantRefused(t, send(c, envelope(2, "a@b"), false, text(300<<10)), 452, "4.3.1", "Insufficient system storage")
}

func TestDuplicates(t *testing.T) {
	many := make([]mail.Address, 0, 60)
	for i := range 60 {
		many = append(many, mail.Address(fmt.Sprintf("u%d@x", i%30)))
	}
	r := newRig(t, "", nil)
	c := r.client("smtpd.0")
	for i, rcpt := range [][]mail.Address{{"a@X", "b@x", "a@x", "A@x"}, many} {
		if err := send(c, envelope(i, rcpt...), false, "x"); err != nil {
			t.Fatal(err)
		}
	}
	got := journaled(t, r.dir)
	if n := len(got[0].env.Recipients); n != 3 || got[0].env.Recipients[2].Address != "A@x" {
		t.Errorf("%+v", got[0].env.Recipients)
	}
	if n := len(got[1].env.Recipients); n != 30 {
		t.Errorf("%d recipients", n)
	}
}

// TestLongEnvelope: an envelope of many frames.
func TestLongEnvelope(t *testing.T) {
	r := newRig(t, "", nil)
	var rcpt []mail.Address
	for i := range 20000 {
		rcpt = append(rcpt, mail.Address(fmt.Sprintf("user%d@example.org", i)))
	}
	if err := send(r.client("bounce"), envelope(1, rcpt...), false, "x\r\n"); err != nil {
		t.Fatal(err)
	}
	got := journaled(t, r.dir)[0].env.Recipients
	if len(got) != len(rcpt) || got[19999].Address != rcpt[19999] {
		t.Errorf("%d recipients", len(got))
	}
}

// TestLostClient: what was complete stays, what was not leaves nothing.
func TestLostClient(t *testing.T) {
	r := newRig(t, "", nil)
	ours, theirs := pair(t)
	served := make(chan struct{})
	go func() { defer close(served); r.s.newClient("smtpd.0", ours).serve() }()
	conn := ipc.New(theirs, 0)
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion}); err != nil {
		t.Fatal(err)
	}
	whole := &proto.Submit{Tx: 1, Envelope: mail.AppendEnvelope(nil, envelope(1, "a@b")), Content: []byte("x\r\n")}
	open := &proto.Submit{Tx: 2, Envelope: mail.AppendEnvelope(nil, envelope(2, "a@b")), Content: []byte("y\r\n")}
	aborted := &proto.Submit{Tx: 3, Envelope: mail.AppendEnvelope(nil, envelope(3, "a@b"))}
	conn.Send(proto.TypeSubmitOpen, open)
	conn.Send(proto.TypeSubmitOpen, aborted)
	for range 5 {
		conn.Send(proto.TypeSubmitData, &proto.SubmitPart{Tx: 2, Data: []byte(text(60 << 10))})
		conn.Send(proto.TypeSubmitData, &proto.SubmitPart{Tx: 3, Data: []byte(text(60 << 10))})
	}
	conn.Send(proto.TypeSubmitAbort, &proto.SubmitPart{Tx: 3})
	conn.Send(proto.TypeSubmitEnd, &proto.SubmitPart{Tx: 3}) // ignored
	conn.Send(proto.TypeSubmit, whole)
	conn.Close()
	<-served
	eventually(t, "the client is forgotten", func() bool {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		return len(r.s.clients) == 0
	})
	if got := journaled(t, r.dir); len(got) != 1 || got[0].env.ID != "T1" {
		t.Errorf("%+v", got)
	}
	if names := r.files("content"); len(names) != 0 || r.s.buffered.Load() != 0 {
		t.Errorf("left: %q, %d bytes", names, r.s.buffered.Load())
	}
}

// TestHostileClient: a broken partner loses its connection and nobody else does.
func TestHostileClient(t *testing.T) {
	r := newRig(t, "", nil)
	good := r.client("bounce")
	submitFrame := (&proto.Submit{Tx: 1, Envelope: mail.AppendEnvelope(nil, envelope(1, "a@b"))}).Append(nil)
	for name, frames := range map[string][][2]any{
		"unknown frame":      {{uint8(99), []byte{1}}},
		"no envelope":        {{uint8(proto.TypeSubmit), []byte{1, 0, 5, 9, 9, 9, 9, 9}}},
		"no queue id":        {{uint8(proto.TypeSubmit), (&proto.Submit{Tx: 1}).Append(nil)}},
		"a path as queue id": {{uint8(proto.TypeSubmitOpen), (&proto.Submit{Tx: 1, Envelope: mail.AppendEnvelope(nil, &mail.Envelope{ID: "../x"})}).Append(nil)}},
		"opened twice":       {{uint8(proto.TypeSubmitOpen), submitFrame}, {uint8(proto.TypeSubmitOpen), submitFrame}},
		"nothing":            {{uint8(proto.TypeSubmitData), []byte{}}},
	} {
		ours, theirs := pair(t)
		go r.s.newClient("smtpd.0", ours).serve()
		conn := ipc.New(theirs, 0)
		if _, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion}); err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			conn.Send(f[0].(uint8), raw(f[1].([]byte)))
		}
		if _, err := conn.Next(); err == nil {
			t.Errorf("%s: an answer", name)
		}
		conn.Close()
	}
	if err := send(good, envelope(2, "a@b"), false, "x"); err != nil {
		t.Error(err)
	}
}

type raw []byte

func (r raw) Append(b []byte) []byte { return append(b, r...) }

// TestManyOpen: transactions over the limit are refused, and their frames ignored.
func TestManyOpen(t *testing.T) {
	r := newRig(t, "", nil)
	ours, theirs := pair(t)
	go r.s.newClient("smtpd.0", ours).serve()
	conn := ipc.New(theirs, 0)
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := mail.AppendEnvelope(nil, envelope(1, "a@b"))
	for i := range maxOpen + 1 {
		conn.Send(proto.TypeSubmitOpen, &proto.Submit{Tx: uint32(i), Envelope: env})
	}
	conn.Send(proto.TypeSubmitEnd, &proto.SubmitPart{Tx: maxOpen})
	conn.Send(proto.TypeSubmitEnd, &proto.SubmitPart{Tx: 7})
	codes := map[uint32]uint16{}
	for len(codes) < 2 {
		f, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		var p proto.SubmitReplies
		if err := p.Decode(f.Payload); err != nil {
			t.Fatal(err)
		}
		for _, x := range p.Replies {
			codes[x.Tx] = x.Code
		}
	}
	if codes[maxOpen] != 451 || codes[7] != 0 {
		t.Errorf("%v", codes)
	}
}

// TestEntitled: only bounce and local may take the place of mail in the queue, and
// nobody that of a file in maildrop.
func TestEntitled(t *testing.T) {
	ref := mail.Replaces{ID: "OLDz1", File: 1, Slot: 2, Recipients: []uint32{0}}
	for _, c := range []struct {
		name     string
		origin   mail.Origin
		replaces mail.Replaces
		ok       bool
	}{
		{"smtpd.0", mail.FromSMTP, mail.Replaces{}, true},
		{"smtpd.0", mail.FromSMTP, ref, false},
		{"smtpd.0", mail.FromBounce, ref, false},
		{"smtpd.0", mail.FromMaildrop, mail.Replaces{}, false},
		{"local", mail.FromLocal, ref, true},
		{"local", mail.FromBounce, ref, false},
		{"bounce", mail.FromBounce, ref, true},
		{"bounce", mail.FromBounce, mail.Replaces{Maildrop: "D1"}, false},
	} {
		r := newRig(t, "", nil)
		env := envelope(0, "a@example.org")
		env.Origin, env.Replaces = c.origin, c.replaces
		err := send(r.client(c.name), env, false, "Message-Id: <1@x>\r\n\r\n")
		if (err == nil) != c.ok || len(journaled(t, r.dir)) > 0 != c.ok {
			t.Errorf("%s, origin %d, replaces %+v: %v", c.name, c.origin, c.replaces, err)
		}
	}
}
