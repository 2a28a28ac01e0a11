package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"postrider/lib/agent"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/submit/submittest"
	"postrider/lib/table"
)

func TestMaildir(t *testing.T) {
	r := newRig(t, false, nil)
	q := request(letter+"no end\r", "Bob+list@example.com")
	q.Recipients[0].Original = "bobby@example.com"
	says(t, r.do(q), "sent 2.0.0 delivered to maildir")
	want := "Return-Path: <alice@example.org>\nX-Original-To: bobby@example.com\nDelivered-To: Bob+list@example.com\n" +
		strings.ReplaceAll(letter, "\r\n", "\n") + "no end\r\n"
	dir := filepath.Join(r.dir, "bob")
	if got := read(t, dir); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
	list, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if name := list[0].Name(); !regexp.MustCompile(`^\d+\.V[0-9a-f]+I[0-9a-f]+M\d+P\d+\.mail\.example\.com$`).MatchString(name) {
		t.Errorf("name %q", name)
	}
	if st, err := list[0].Info(); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Join(dir, "cur")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("cur: %v", err)
	}
	if got := r.lines(); !strings.Contains(got, "postfix/local[3]: 4Z6Tpg1TSdzk: to=<Bob+list@example.com>, orig_to=<bobby@example.com>, relay=local, delay=") ||
		!strings.Contains(got, "dsn=2.0.0, status=sent (delivered to maildir)\n") {
		t.Errorf("log %q", got)
	}
}

// Several recipients in a request, and an end of the daemon before the last.
func TestRecipients(t *testing.T) {
	r := newRig(t, false, nil)
	ctx, cancel := context.WithCancel(context.Background())
	res := r.handle(ctx, request(letter, "a@example.com", "b@example.com"))
	if len(res.Recipients) != 2 || len(read(t, filepath.Join(r.dir, "a"))) != 1 || len(read(t, filepath.Join(r.dir, "b"))) != 1 {
		t.Errorf("%+v", res)
	}
	cancel()
	if res := r.handle(ctx, request(letter, "c@example.com")); len(res.Recipients) != 0 || len(read(t, filepath.Join(r.dir, "c"))) != 0 {
		t.Errorf("after the end: %+v", res)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"bob", "sent"}, {"b..b", "sent"}, {"böb", "sent"},
		{"../bob", `bounced 5.1.1 unknown user: "../bob"`}, {"a/b", "bounced 5.1.1"}, {".hidden", "bounced 5.1.1"},
		{"..", "bounced 5.1.1"}, {"-rf", "bounced 5.1.1"}, {"", "bounced 5.1.1"}, {"a\nb", "bounced 5.1.1"}, {strings.Repeat("a", 256), "bounced 5.1.1"},
		{"Double-Bounce", "sent 2.0.0 undeliverable postmaster notification discarded"},
	} {
		r := newRig(t, false, nil)
		says(t, r.do(request(letter, c.name+"@example.com")), c.want)
		if list, _ := os.ReadDir(filepath.Dir(r.dir)); len(list) > 1 {
			t.Errorf("%q: made %v", c.name, list)
		}
	}

	r := newRig(t, false, nil, "local_recipient_maps=inline:{ {bob = x} }")
	says(t, r.do(request(letter, "bob@example.com")), "sent")
	says(t, r.do(request(letter, "carol@example.com")), `bounced 5.1.1 unknown user: "carol"`)
	if list, _ := os.ReadDir(r.dir); len(list) != 1 {
		t.Errorf("made %v", list)
	}
	r = newRig(t, false, nil, "local_recipient_maps=static:all", "home_mailbox=")
	says(t, r.do(request(letter, "bob@example.com")), "sent")
}

func TestLoop(t *testing.T) {
	for _, c := range []struct {
		content string
		origin  mail.Origin
		want    string
	}{
		{"Delivered-To: BOB@example.com\r\n" + letter, mail.FromSMTP, "bounced 5.4.6 mail forwarding loop for bob@example.com"},
		{"X: " + strings.Repeat("y", 20000) + "\r\nDelivered-To:\r\n bob@example.com\r\n" + letter, mail.FromSMTP, "bounced 5.4.6"},
		{strings.Repeat("Received: x\r\n\ty\r\n", 3000) + "delivered-to: bob@example.com\r\n" + letter, mail.FromSMTP, "bounced 5.4.6"},
		{"Delivered-To: carol@example.com\r\n" + letter, mail.FromSMTP, "sent"},
		{letter + "Delivered-To: bob@example.com\r\n", mail.FromSMTP, "sent"},
		{"Delivered-To: bob@example.com\r\n" + letter, mail.FromLocal, "sent"},
		{"Delivered-To: list@example.com\r\nDelivered-To: bob@example.com\r\n" + letter, mail.FromLocal, "bounced 5.4.6"},
		{"", mail.FromSMTP, "sent"},
	} {
		r := newRig(t, false, nil)
		q := request(c.content, "bob@example.com")
		q.Origin = c.origin
		says(t, r.do(q), c.want)
	}
}

// Nothing is delivered or sent on whose checksum does not hold.
func TestDamaged(t *testing.T) {
	r := newRig(t, false, files{"/etc/aliases": "list: a@b.example, c@d.example\n"})
	for _, name := range []string{"bob", "list"} {
		q := request(letter, name+"@example.com")
		q.Content = agent.NewInline([]byte(letter), 1)
		says(t, r.do(q), "deferred 4.3.0 content checksum mismatch")
	}
	if got := read(t, filepath.Join(r.dir, "bob")); len(got) != 0 || len(r.cleanup.Messages()) != 0 {
		t.Errorf("%q", got)
	}
}

// A large message comes as a descriptor, and a damaged one leaves nothing.
func TestThroughAgent(t *testing.T) {
	r := newRig(t, false, nil)
	content := []byte("Subject: large\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 100000))
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, append([]byte("junk"), content...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, y, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := ipc.FromFD(x)
	theirs, _ := ipc.FromFD(y)
	a := agent.New(agent.Options{Program: "local"}, r.handle)
	a.Partner(theirs)
	qmgr := ipc.New(ours, 0)
	defer qmgr.Close()
	if _, err := qmgr.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion}); err != nil {
		t.Fatal(err)
	}
	for i, crc := range []uint32{agent.Checksum(content), 5} {
		d := request("", "bob@example.com").Deliver
		d.ID, d.Size, d.CRC, d.FDOffset = proto.DeliveryID{Epoch: 1, Seq: uint64(i)}, int64(len(content)), crc, 4
		if err := qmgr.SendFDs(proto.TypeDeliver, &d, int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		frame, err := qmgr.Next()
		if err != nil {
			t.Fatal(err)
		}
		var res proto.Result
		if err := res.Decode(frame.Payload); err != nil {
			t.Fatal(err)
		}
		says(t, res.Recipients[0], [...]string{"sent", "deferred 4.3.0 content checksum mismatch"}[i])
	}
	got := read(t, filepath.Join(r.dir, "bob"))
	if len(got) != 1 || !strings.HasSuffix(got[0], strings.ReplaceAll(string(content), "\r\n", "\n")) {
		t.Errorf("%d messages", len(got))
	}
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a.Stop(end)
}

const someAliases = `
root: bob
staff: bob, carol@elsewhere.example, Team
team: dave, bob, staff2
staff2: carol@ELSEWHERE.example, erin+x
me: me, other@far.example
"quoted name": frank
list: grace@far.example, heidi@far.example
owner-list: keeper
outer: list, ivan@far.example
a: b
b: a
cmd: "|/bin/true"
mixed: bob, /var/mail/x
inc: :include:/tmp/nowhere/x
none:
notours: x@y@z, bad@-.example
`

func TestExpand(t *testing.T) {
	deep := ""
	for i := range 200 {
		deep += fmt.Sprintf("d%d: d%d\n", i, i+1)
	}
	many := "many: x0@far.example"
	for i := range 3000 {
		many += fmt.Sprintf(", x%d@far.example", i)
	}
	bomb := ""
	for i := range 40 {
		bomb += fmt.Sprintf("bomb%d: bomb%d+a, bomb%d+b\n", i, i+1, i+1)
	}
	f := files{"/etc/aliases": someAliases + deep + many + "\n" + bomb}
	for _, c := range []struct{ to, want string }{
		{"bob", "[bob]"},
		{"root", "[bob]"},
		{"Root+ext", "[bob]"},
		{"quoted name", "[frank]"},
		{"staff", "[bob] carol@elsewhere.example [dave] [erin]"},
		{"me", "[me] other@far.example"},
		{"list", "keeper@example.com:grace@far.example keeper@example.com:heidi@far.example"},
		{"outer", "keeper@example.com:grace@far.example keeper@example.com:heidi@far.example ivan@far.example"},
		{"owner-list", "[keeper]"},
		{"a", "bounced 5.4.6 alias database loop for a"},
		{"d0", "bounced 5.4.6 alias database loop for d100"},
		{"d150", "[d200]"},
		{"cmd", "1(/bin/true)"},
		{"mixed", "[bob] 2(/var/mail/x)"},
		{"inc", "deferred 4.2.4 cannot open include file /tmp/nowhere/x: no such file or directory"},
		{"none", "deferred 4.3.5 alias none cannot be understood"},
	} {
		r := newRig(t, false, f, "expand_owner_alias=yes")
		e := expansion{site: r.site.Load(), ctx: context.Background(), service: "local", warnf: r.log.Warnf}
		err := e.name(strings.ToLower(c.to), "example.com", "s@example.org")
		var got []string
		for _, x := range e.targets {
			s := string(x.address)
			if x.here {
				s = "[" + x.user + "]"
			}
			if x.kind != table.TargetAddress {
				s = fmt.Sprintf("%d(%s)", x.kind, x.text)
			}
			if x.sender != "s@example.org" {
				s = string(x.sender) + ":" + s
			}
			got = append(got, s)
		}
		text := strings.Join(got, " ")
		if err != nil {
			st := statusOf(err)
			text = st.Class.String() + " " + st.DSN + " " + st.Text
		}
		if text != c.want && (err == nil || !strings.HasPrefix(text, c.want)) {
			t.Errorf("%s: %q, want %q", c.to, text, c.want)
		}
	}

	r := newRig(t, false, f)
	expand := func(name string) (*expansion, error) {
		e := &expansion{site: r.site.Load(), ctx: context.Background(), service: "local", warnf: r.log.Warnf}
		return e, e.name(name, "example.com", "s@example.org")
	}
	if e, err := expand("many"); err != nil || len(e.targets) < 3000 || len(e.targets) > 3001 || len(e.seen) != 1000 {
		t.Errorf("many: %d targets, %d remembered, %v", len(e.targets), len(e.seen), err)
	}
	if e, err := expand("bomb0"); err != nil || len(e.targets) > 3 || e.steps > 200 {
		t.Errorf("bomb: %d targets, %d steps, %v", len(e.targets), e.steps, err)
	}
	if e, err := expand("list"); err != nil || e.targets[0].sender != "owner-list@example.com" {
		t.Errorf("owner: %+v, %v", e.targets, err)
	}
	if err := func() error {
		e := &expansion{site: r.site.Load(), ctx: context.Background(), service: "local", warnf: r.log.Warnf}
		err := e.name("list", "example.com", "")
		if len(e.targets) != 2 || e.targets[0].sender != "" {
			t.Errorf("a report through a list: %+v", e.targets)
		}
		return err
	}(); err != nil {
		t.Error(err)
	}
	for range 3 {
		says(t, r.do(request(letter, "none@example.com")), "deferred 4.3.5")
	}
	if n := strings.Count(r.lines(), "warning: alias none: "); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// Without its tables local delivers nothing and bounces nothing.
func TestTablesUnavailable(t *testing.T) {
	r := newRig(t, false, nil)
	s, err := newSite(fuzzConfig(), files{}.open, rootOwns, true)
	if err == nil {
		t.Error("no word of the missing tables")
	}
	r.site.Store(s)
	says(t, r.do(request(letter, "bob@example.com")), "deferred 4.3.0 alias database unavailable")
	s, _ = newSite(fuzzConfig(), files{"/etc/aliases": ""}.open, rootOwns, true)
	r.site.Store(s)
	says(t, r.do(request(letter, "bob@example.com")), "deferred 4.3.0 user lookup error for bob")
	s, _ = newSite(fuzzConfig(), files{"/etc/aliases": ""}.open, rootOwns, false) // and no passwd for local_recipient_maps
	r.site.Store(s)
	says(t, r.do(request(letter, "bob@example.com")), "deferred 4.3.0 user lookup error for bob")
}

func TestForward(t *testing.T) {
	r := newRig(t, false, files{"/etc/aliases": someAliases})
	q := request(letter, "Me@example.com")
	q.Recipients[0].ORCPT, q.Recipients[0].Notify, q.EnvID, q.Ret, q.Body = "rfc822;x@y", mail.NotifyFailure, "id", "HDRS", mail.Body8Bit
	rr := r.do(q)
	m := r.cleanup.Messages()
	if len(m) != 1 || !rr.Replaced {
		t.Fatalf("%d messages, %+v", len(m), rr)
	}
	e := m[0].Envelope
	says(t, rr, "sent 2.0.0 forwarded as "+string(e.ID))
	want := &mail.Envelope{ID: e.ID, Sender: "alice@example.org", Arrival: e.Arrival, Size: e.Size, Origin: mail.FromLocal, Body: mail.Body8Bit, EnvID: "id", Ret: "HDRS",
		Recipients: []mail.Recipient{
			{Address: "me@example.com", Original: "Me@example.com", ORCPT: "rfc822;x@y", Notify: mail.NotifyFailure},
			{Address: "other@far.example", Original: "Me@example.com", ORCPT: "rfc822;x@y", Notify: mail.NotifyFailure}},
		Replaces: mail.Replaces{ID: q.Queue, File: 5, Slot: 6, Recipients: []uint32{3}}}
	if !reflect.DeepEqual(e, want) || !e.ID.Valid() || m[0].Local {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	if got := string(m[0].Content); !regexp.MustCompile(`^Received: by mail\.example\.com \(Postrider\)\r\n\tid `+string(e.ID)+`; [^\r]*\r\nDelivered-To: Me@example\.com\r\nFrom:`).MatchString(got) ||
		!strings.HasSuffix(got, letter) {
		t.Errorf("%q", got)
	}
	if got := r.lines(); !strings.Contains(got, "status=sent (forwarded as "+string(e.ID)+")\n") {
		t.Errorf("%q", got)
	}

	// The new message comes back for its local half and ends in the mailbox.
	back := request(string(m[0].Content), "me@example.com")
	back.Origin = mail.FromLocal
	says(t, r.do(back), "sent 2.0.0 delivered to maildir")
	if got := read(t, filepath.Join(r.dir, "me")); len(got) != 1 || len(r.cleanup.Messages()) != 1 {
		t.Errorf("%q", got)
	}
}

// A list with an owner inside another: two messages, of which the last takes over.
func TestForwardOwners(t *testing.T) {
	r := newRig(t, false, files{"/etc/aliases": someAliases})
	q := request(letter, "outer@example.com")
	q.EnvID = "id"
	if rr := r.do(q); !rr.Replaced {
		t.Errorf("%+v", rr)
	}
	m := r.cleanup.Messages()
	if len(m) != 2 || m[0].Envelope.Sender != "owner-list@example.com" || !m[0].Envelope.Replaces.Zero() || m[0].Envelope.EnvID != "" ||
		m[1].Envelope.Sender != "alice@example.org" || m[1].Envelope.Replaces.ID != q.Queue || m[1].Envelope.EnvID != "id" {
		t.Errorf("%+v", m)
	}
}

func TestForwardFails(t *testing.T) {
	for _, c := range []struct {
		reply proto.SubmitReply
		want  string
	}{
		{proto.SubmitReply{Code: 451, DSN: "4.3.0", Text: "no"}, "deferred 4.3.0 cannot be forwarded: no"},
		{proto.SubmitReply{Code: 554, DSN: "5.4.6", Text: "too many hops"}, "bounced 5.4.6 cannot be forwarded: too many hops"},
		{proto.SubmitReply{Code: proto.SubmitUnknown}, "deferred 4.3.0"},
	} {
		r := newRig(t, false, files{"/etc/aliases": someAliases})
		r.cleanup.Close()
		other := &submittest.Cleanup{Reply: func(*submittest.Message) (proto.SubmitReply, bool) { return c.reply, true }}
		sock, err := other.Serve()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.Close)
		r.submit.Connect(sock)
		rr := r.do(request(letter, "me@example.com"))
		says(t, rr, c.want)
		if rr.Replaced {
			t.Error("replaced")
		}
	}
}

func TestLineFeeds(t *testing.T) {
	for _, in := range []string{"", "a", "a\r\nb\r\n", "a\rb\r\r\nc\r", "\r\n\r\n", "a\nb"} {
		for cut := 0; cut <= len(in); cut++ {
			var b strings.Builder
			l := newLineFeeds(&b)
			io.WriteString(l, in[:cut])
			io.WriteString(l, in[cut:])
			if err := l.end(); err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(in, "\r\n", "\n")
			if want != "" && !strings.HasSuffix(want, "\n") {
				want += "\n"
			}
			if b.String() != want {
				t.Errorf("%q cut at %d: %q", in, cut, b.String())
			}
		}
	}
}

// The maildir of a route has the names of the address in its path; what could lead out of
// it, or make two mailboxes one, is no address there.
func TestRouted(t *testing.T) {
	r := newRig(t, false, nil)
	to := func(path, rcpt string) proto.RecipientResult {
		q := request(letter, rcpt)
		q.NextHop = proto.MaildirHop + path
		return r.do(q)
	}
	says(t, to(r.dir+"/$domain/$user/$extension", "Bob+x@Store.test"), "sent 2.0.0 delivered to maildir")
	says(t, to(r.dir+"/$domain/$user/$extension", "bob@Store.test"), "sent 2.0.0 delivered to maildir")
	for _, dir := range []string{"store.test/bob", "store.test/bob/x"} {
		if got := read(t, filepath.Join(r.dir, dir)); len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <alice@example.org>\n") {
			t.Errorf("%s: %q", dir, got)
		}
	}
	for _, rcpt := range []string{`../bob@store.test`, `a/b@store.test`, `..@store.test`, `.x@store.test`, "a\x00b@store.test", "@store.test"} {
		says(t, to(r.dir+"/$domain/$user", rcpt), "bounced 5.1.3")
	}
	says(t, to(r.dir+"/$domian", "bob@store.test"), "deferred 4.3.5 the maildir of its route in sched.cf: there is no $domian")
	q := request(letter, "bob@maildir:"+r.dir)
	q.NextHop = "maildir:" + r.dir // as local of default_transport has it
	says(t, r.do(q), "sent 2.0.0 delivered to maildir")
	if got := read(t, filepath.Join(r.dir, "bob")); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

// A message that breaks off leaves nothing; nor does one that cannot be shown in new/.
func TestMaildirFails(t *testing.T) {
	m := maildir{Dir: filepath.Join(t.TempDir(), "m"), Host: "a/b:c"}
	broken := errors.New("broken")
	if err := m.deliver(func(w io.Writer) error { io.WriteString(w, strings.Repeat("x", 1<<20)); return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if got := read(t, m.Dir); len(got) != 0 {
		t.Errorf("%d messages", len(got))
	}
	os.Remove(filepath.Join(m.Dir, "new"))
	if err := m.deliver(func(io.Writer) error { return nil }); err != nil || len(read(t, m.Dir)) != 1 {
		t.Errorf("new/ missing: %v", err)
	}
	os.RemoveAll(filepath.Join(m.Dir, "new"))
	os.WriteFile(filepath.Join(m.Dir, "new"), nil, 0o600)
	if err := m.deliver(func(io.Writer) error { return nil }); err == nil {
		t.Error("new is a file, and no error")
	}
	if rest, _ := os.ReadDir(filepath.Join(m.Dir, "tmp")); len(rest) > 0 {
		t.Errorf("%d files left in tmp/", len(rest))
	}
}

func FuzzExpand(f *testing.F) {
	f.Add(someAliases, "staff")
	f.Add("a: b, c\nb: c\nc: a\n", "a")
	f.Add("a: \\a, b@c, <d@e>, :include:/x\nowner-a: b\n", "a+x")
	f.Fuzz(func(t *testing.T, aliases, name string) {
		c := fuzzConfig()
		s, _ := newSite(c, files{"/etc/aliases": aliases}.open, rootOwns, false)
		e := expansion{site: s, ctx: context.Background(), service: "local", warnf: func(string, ...any) {}}
		err := e.name(strings.ToLower(name), "example.com", "s@example.org")
		if err == nil && len(e.targets) == 0 {
			t.Fatal("nothing is left of the recipient")
		}
		if e.steps > maxTargets+1 || len(e.seen) > 1000 {
			t.Fatalf("%d steps, %d remembered", e.steps, len(e.seen))
		}
		for _, x := range e.targets {
			if x.user != "" && safeName(x.user) && strings.ContainsAny(x.user, "/\x00\n") {
				t.Fatalf("%q", x.user)
			}
		}
	})
}
