package qmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/disk"
	"postrider/lib/ipc"
	libjournal "postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	liboperator "postrider/lib/operator"
	"postrider/lib/proto"
	"postrider/lib/slot"
	"postrider/lib/spool"
	"postrider/lib/table"
)

// site is a queue manager with a real spool and journal below a temporary
// directory, agents that answer as the test says, and a cleanup of the test's own.
type site struct {
	undrained bool // cleanup does not answer Drain
	t         *testing.T
	dir       string
	cfg       *config.Config
	journal   *libjournal.Journal
	ids       mail.IDs
	log       *lockedBuffer

	fs   disk.FS // what start gives to qmgr; nil: the disk
	m    *manager
	stop context.CancelFunc
	done chan error

	mu     sync.Mutex
	notify *ipc.Conn // to qmgr's journal conversation
	agents map[string]*libagent.Agent
	tried  map[string]int // "ID recipient" to attempts
	answer func(r *libagent.Request) proto.Result
	anew   func(env *mail.Envelope, content []byte, answer func(code int)) // as cleanup, asked to requeue
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) add(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		l.mu.Lock()
		l.b.Write(buf[:n])
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fakeHost is what a daemon would give.
type fakeHost struct {
	cfg  *config.Config
	stop chan struct{}

	mu     sync.Mutex
	policy []byte // compiled
	silent []string
	alone  []string // asked for
}

func (h *fakeHost) Config() *config.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cfg
}

func (h *fakeHost) Opener() table.Opener {
	return func(string) (*io.SectionReader, error) { return nil, os.ErrNotExist }
}
func (h *fakeHost) File(name string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name == proto.PolicyFile && h.policy != nil {
		return h.policy, nil
	}
	return nil, os.ErrNotExist
}
func (h *fakeHost) Stopping() <-chan struct{} { return h.stop }
func (h *fakeHost) Silent(partner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = append(h.silent, partner)
}

func (h *fakeHost) Alone(program string, want bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if want {
		h.alone = append(h.alone, program)
	}
}

const masterCF = `
smtp unix - - n - - smtp
local unix - n n - - local
bounce unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
`

func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	queue := filepath.Join(dir, "spool")
	for _, d := range []string{conf, queue} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"incoming", "content", "maildrop", "deferred", "hold", "store", "log", "corrupt", "public", "pid"} {
		if err := os.MkdirAll(filepath.Join(queue, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	main := "queue_directory = " + queue + "\nmydestination =\nmyhostname = mx.test\nlocal_recipient_maps =\n" + strings.Join(settings, "\n") + "\n"
	os.WriteFile(filepath.Join(conf, "main.cf"), []byte(main), 0o644)
	os.WriteFile(filepath.Join(conf, "master.cf"), []byte(masterCF), 0o644)
	cfg, problems := config.Load(conf)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: queue, cfg: cfg, log: &lockedBuffer{}, agents: map[string]*libagent.Agent{}, tried: map[string]int{}}
	s.ids.Number = 1
	s.answer = func(r *libagent.Request) proto.Result {
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "250 ok"})
	}
	var err error
	s.journal, err = libjournal.Open(libjournal.Options{FS: disk.OS(queue), FileSize: 1 << 20, Spares: 1, OnDurable: s.durable})
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.kill()
		over, cancel := context.WithCancel(context.Background())
		cancel()
		for _, a := range s.agents {
			if a != nil {
				a.Stop(over)
			}
		}
		s.journal.Close()
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

// all gives every recipient of a request the same outcome.
func all(r *libagent.Request, st mail.Status) proto.Result {
	out := proto.Result{Hop: mail.Status{Class: mail.Sent}}
	for i := range r.Recipients {
		out.Recipients = append(out.Recipients, proto.RecipientResult{Index: r.Recipients[i].Index, Status: st})
	}
	return out
}

func (s *site) durable(p slot.Position) {
	s.mu.Lock()
	c := s.notify
	s.mu.Unlock()
	if c != nil {
		c.Send(proto.TypeDurable, &proto.Durable{File: p.File, Offset: p.Offset})
	}
}

// pair makes two connected sockets.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	x, y, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := ipc.FromFD(x)
	b, err2 := ipc.FromFD(y)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// start runs a queue manager; agents of an earlier one are connected to it.
func (s *site) start() {
	s.t.Helper()
	log := maillog.New("postfix/qmgr", maillog.Options{Host: "mx"})
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	log.Open(w, maillog.Stdout)
	go s.log.add(r)
	fs := s.fs
	if fs == nil {
		fs = disk.OS(s.dir)
	}
	s.m, err = newManager(&fakeHost{cfg: s.cfg, stop: make(chan struct{})}, log, spool.Options{FS: fs})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range []string{"cleanup", "smtp.0", "local", "bounce"} {
		s.m.known[name] = true
	}
	s.m.verdict = 0 // nobody here says how agents die
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.done = make(chan error, 1)
	m, done := s.m, s.done
	go func() { done <- m.run(ctx) }()

	ours, theirs := pair(s.t)
	s.m.partner("cleanup", theirs)
	c := ipc.New(ours, 0)
	at := s.journal.Durable()
	hello := proto.JournalHello{First: s.journal.First(), Durable: proto.Durable{File: at.File, Offset: at.Offset}}
	if _, err := c.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion, Data: hello.Append(nil)}); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		for {
			f, err := c.Next()
			if err != nil {
				return
			}
			s.frame(c, &f)
		}
	}()
	s.mu.Lock()
	s.notify = c
	s.mu.Unlock()
	at = s.journal.Durable()
	s.durable(at)
	for _, name := range []string{"smtp.0", "local", "bounce"} {
		s.connect(name)
	}
}

// connect gives an agent, made when there is none, a connection to qmgr.
func (s *site) connect(name string) {
	program, _, _ := strings.Cut(name, ".")
	if s.agents[name] == nil {
		resolve := func(ctx context.Context, _, nextHop string) proto.Resolved {
			if nextHop == "hang.test" {
				<-ctx.Done()
			}
			return proto.Resolved{Holds: time.Hour, Hosts: []string{"mx." + nextHop}, Group: nextHop}
		}
		s.agents[name] = libagent.New(libagent.Options{Program: program, Of: 1, Resolve: resolve}, func(_ context.Context, r *libagent.Request) proto.Result {
			s.mu.Lock()
			for i := range r.Recipients {
				s.tried[string(r.Queue)+" "+string(r.Recipients[i].Address)]++
			}
			answer := s.answer
			s.mu.Unlock()
			return answer(r)
		})
	}
	ours, theirs := pair(s.t)
	s.m.partner(name, theirs)
	s.agents[name].Partner(ours)
}

// kill ends the queue manager without letting it write anything more.
func (s *site) kill() {
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("qmgr: %v", err)
	}
	for _, a := range s.m.agents {
		a.conn.Close()
	}
	s.mu.Lock()
	s.notify.Close()
	s.notify = nil
	s.mu.Unlock()
	s.m.spool.Close()
	s.m.log.Close()
}

// submit makes a message durable and returns its id.
func (s *site) submit(env mail.Envelope) mail.QueueID {
	s.t.Helper()
	env.ID = s.ids.Next(time.Now())
	env.Arrival = time.Now()
	content := []byte("Subject: test\r\n\r\n" + string(env.ID) + "\r\n")
	env.Size = int64(len(content))
	errs := make(chan error, 1)
	s.journal.Append(&libjournal.Message{Envelope: &env, Content: content}, func(_ slot.Ref, err error) { errs <- err })
	if err := <-errs; err != nil {
		s.t.Fatal(err)
	}
	return env.ID
}

func to(addrs ...string) []mail.Recipient {
	var rs []mail.Recipient
	for _, a := range addrs {
		rs = append(rs, mail.Recipient{Address: mail.Address(a)})
	}
	return rs
}

// reload adds settings to main.cf, as an operator does.
func (s *site) reload(settings ...string) {
	s.t.Helper()
	conf := filepath.Join(s.dir, "..", "conf")
	name := filepath.Join(conf, "main.cf")
	main, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	os.WriteFile(name, append(main, strings.Join(settings, "\n")+"\n"...), 0o644)
	cfg, problems := config.Load(conf)
	if err := problems.Err(); err != nil {
		s.t.Fatal(err)
	}
	h := s.m.d.(*fakeHost)
	h.mu.Lock()
	s.cfg, h.cfg = cfg, cfg
	h.mu.Unlock()
	ask(s.m, func() bool { s.m.reload(); return true })
}

// until waits for a condition.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.t.Fatalf("never: %s", what)
}

func (s *site) logged(format string, a ...any) {
	s.t.Helper()
	want := fmt.Sprintf(format, a...)
	s.until("log line "+want, func() bool { return strings.Contains(s.log.String(), want) })
}

func (s *site) attempts(id mail.QueueID, rcpt string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried[string(id)+" "+rcpt]
}

func (s *site) set(f func(r *libagent.Request) proto.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// queue lists the queue as an operator sees it: "deferred ID", ...
func (s *site) queue() []string {
	s.t.Helper()
	var list []string
	err := s.operator().List(&proto.List{}, func(it *proto.Item) error {
		list = append(list, it.Queue+" "+string(it.ID))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// operator connects to the queue manager as a command does.
func (s *site) operator() liboperator.Queue {
	s.t.Helper()
	path := filepath.Join(s.dir, proto.OperatorSocket)
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go s.m.operators(ctx, l)
	q, err := liboperator.Dial(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { q.Close(); cancel() })
	return q
}

var busy = mail.Status{Class: mail.Deferred, DSN: "4.2.1", Text: "host mx said: 450 4.2.1 busy"}

func TestDelivered(t *testing.T) {
	s := newSite(t)
	var ids []mail.QueueID
	for i := range 200 {
		ids = append(ids, s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u%d@d%d.test", i, i%7))}))
	}
	for i, id := range ids {
		s.logged("%s: removed", id)
		if n := s.attempts(id, fmt.Sprintf("u%d@d%d.test", i, i%7)); n != 1 {
			t.Errorf("%s: %d attempts", id, n)
		}
	}
	if q := s.queue(); len(q) != 0 {
		t.Errorf("left in the queue: %v", q)
	}
}

func TestDeferredAndFlushed(t *testing.T) {
	s := newSite(t)
	s.set(func(r *libagent.Request) proto.Result {
		res := all(r, busy)
		for i := range res.Recipients {
			if strings.HasPrefix(string(r.Recipients[i].Address), "good") {
				res.Recipients[i].Status = mail.Status{Class: mail.Sent, DSN: "2.0.0"}
			}
		}
		return res
	})
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("good@d.test", "bad@d.test", "worse@e.test")})
	s.until("deferred", func() bool { return strings.Join(s.queue(), " ") == "deferred "+string(id) })

	var reasons []string
	s.operator().List(&proto.List{}, func(it *proto.Item) error {
		for _, r := range it.Recipients {
			reasons = append(reasons, string(r.Address)+": "+r.Reason)
		}
		return nil
	})
	if want := "bad@d.test: " + busy.Text + " worse@e.test: " + busy.Text; strings.Join(reasons, " ") != want {
		t.Errorf("listing %q, want %q", reasons, want)
	}

	s.set(func(r *libagent.Request) proto.Result { return all(r, mail.Status{Class: mail.Sent}) })
	if _, err := s.operator().Do(&proto.Verb{Kind: proto.VerbFlush}); err != nil {
		t.Fatal(err)
	}
	s.logged("%s: removed", id)
	for rcpt, want := range map[string]int{"good@d.test": 1, "bad@d.test": 2, "worse@e.test": 2} {
		if n := s.attempts(id, rcpt); n != want {
			t.Errorf("%s: %d attempts, want %d", rcpt, n, want)
		}
	}
}

// A kill of qmgr repeats nothing: what agents have in hand is left to them, and what
// they report to nobody is reported to the next.
func TestKillRepeatsNothing(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	s.set(func(r *libagent.Request) proto.Result {
		<-hold
		return all(r, mail.Status{Class: mail.Sent, DSN: "2.0.0"})
	})
	var ids []mail.QueueID
	for i := range 15 {
		ids = append(ids, s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u@d%d.test", i))}))
	}
	for i, id := range ids {
		s.until("in hand", func() bool { return s.attempts(id, fmt.Sprintf("u@d%d.test", i)) == 1 })
	}
	s.kill()
	s.start()
	close(hold)
	for i, id := range ids {
		s.logged("%s: removed", id)
		if n := s.attempts(id, fmt.Sprintf("u@d%d.test", i)); n != 1 {
			t.Errorf("%s: %d attempts", id, n)
		}
	}
}

// A killed agent's deliveries are tried again by the next.
func TestAgentKilled(t *testing.T) {
	s := newSite(t)
	block := make(chan struct{})
	defer close(block)
	s.set(func(r *libagent.Request) proto.Result { <-block; return all(r, mail.Status{Class: mail.Sent}) })
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test")})
	s.until("in hand", func() bool { return s.attempts(id, "u@d.test") == 1 })

	s.set(func(r *libagent.Request) proto.Result { return all(r, mail.Status{Class: mail.Sent}) })
	ask(s.m, func() bool { s.m.agents["smtp.0"].conn.Close(); return true })
	s.agents["smtp.0"] = nil // gone, with what it had in hand
	s.connect("smtp.0")
	s.logged("%s: removed", id)
	if n := s.attempts(id, "u@d.test"); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

// A permanent failure is crossed off by the report's own record in the journal.
func TestBounce(t *testing.T) {
	s := newSite(t)
	report := make(chan mail.QueueID, 1)
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service != "bounce" {
			return all(r, mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "no such user"})
		}
		env := mail.Envelope{Recipients: to("a@local.test"), Origin: mail.FromBounce,
			Replaces: mail.Replaces{ID: r.Queue, File: r.File, Slot: r.Slot}}
		for i := range r.Recipients {
			if r.Recipients[i].Status.DSN != "5.1.1" {
				s.t.Errorf("bounce was told %+v", r.Recipients[i].Status)
			}
			env.Replaces.Recipients = append(env.Replaces.Recipients, r.Recipients[i].Index)
		}
		s.set(func(r *libagent.Request) proto.Result { return all(r, mail.Status{Class: mail.Sent}) })
		report <- s.submit(env)
		res := all(r, mail.Status{Class: mail.Sent})
		for i := range res.Recipients {
			res.Recipients[i].Replaced = true
		}
		return res
	})
	id := s.submit(mail.Envelope{Sender: "a@local.test", Recipients: to("x@d.test", "y@d.test")})
	s.logged("%s: removed", <-report)
	s.logged("%s: removed", id)
	if q := s.queue(); len(q) != 0 {
		t.Errorf("left in the queue: %v", q)
	}
}

func TestHoldReleaseDelete(t *testing.T) {
	s := newSite(t)
	s.set(func(r *libagent.Request) proto.Result { return all(r, busy) })
	var ids []string
	for i := range 4 {
		ids = append(ids, string(s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to(fmt.Sprintf("u@d%d.test", i))})))
	}
	s.until("all deferred", func() bool { return strings.Count(strings.Join(s.queue(), " "), "deferred") == 4 })
	op := s.operator()
	do := func(v proto.Verb, want uint64) {
		t.Helper()
		d, err := op.Do(&v)
		if err != nil || d.Count != want {
			t.Fatalf("verb %d: %+v, %v, want %d", v.Kind, d, err, want)
		}
	}
	do(proto.Verb{Kind: proto.VerbHold, IDs: ids[:2]}, 2)
	do(proto.Verb{Kind: proto.VerbDelete, IDs: ids[3:]}, 1)
	s.kill()
	s.start()
	op = s.operator()
	count := func(queue string) int { return strings.Count(strings.Join(s.queue(), " "), queue) }
	if count("hold") != 2 || count("deferred") != 1 {
		t.Fatalf("after a restart: %v", s.queue())
	}
	s.set(func(r *libagent.Request) proto.Result { return all(r, mail.Status{Class: mail.Sent}) })
	do(proto.Verb{Kind: proto.VerbFlush}, 0)
	s.logged("%s: removed", ids[2])
	if count("hold") != 2 {
		t.Fatalf("a flush touched what is on hold: %v", s.queue())
	}
	do(proto.Verb{Kind: proto.VerbRelease, All: true}, 2)
	do(proto.Verb{Kind: proto.VerbFlush}, 0)
	s.until("empty", func() bool { return len(s.queue()) == 0 })
}

func TestExpired(t *testing.T) {
	s := newSite(t, "maximal_queue_lifetime = 0", "bounce_queue_lifetime = 0")
	s.set(func(r *libagent.Request) proto.Result {
		if r.Service == "bounce" {
			return all(r, mail.Status{Class: mail.Sent}) // nothing to report to
		}
		return all(r, busy)
	})
	id := s.submit(mail.Envelope{Recipients: to("u@d.test")})
	s.logged("%s: from=<>, status=expired, returned to sender", id)
	s.logged("%s: removed", id)
}

func TestBuiltin(t *testing.T) {
	s := newSite(t, "transport_maps = inline:{{e.test = error:5.7.1 closed}, {r.test = retry:4.3.2 later}, {d.test = discard:}}")
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test")})
	s.logged("%s: to=<u@d.test>, relay=none", id)
	s.logged("%s: removed", id)
	id = s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@r.test")})
	s.logged("dsn=4.3.2, status=deferred (later)")
	s.until("deferred", func() bool { return strings.Join(s.queue(), " ") == "deferred "+string(id) })
	s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@e.test")})
	s.logged("dsn=5.7.1, status=bounced (closed)")
}

// Nothing starts while somebody who may have deliveries in hand is silent; master is
// asked to kill him.
func TestSilentAgent(t *testing.T) {
	s := newSite(t)
	s.until("started", func() bool { return ask(s.m, func() bool { return s.m.started }) })
	ask(s.m, func() bool {
		h := s.m.d.(*fakeHost)
		s.m.started, s.m.known["smtp.1"], s.m.deadline = false, true, time.Now().Add(time.Hour)
		s.m.start()
		if s.m.started || len(h.silent) > 0 {
			t.Error("did not wait")
		}
		s.m.deadline = time.Now()
		s.m.start()
		if s.m.started || len(h.silent) != 1 || h.silent[0] != "smtp.1" {
			t.Errorf("at the deadline: started %v, silent %v", s.m.started, h.silent)
		}
		s.m.unknown("smtp.1", nil) // it was killed
		s.m.start()
		if !s.m.started {
			t.Error("does not start")
		}
		return true
	})
}

// An agent that died before its hello was heard does not take the place of the one
// that was started after it.
func TestLateHello(t *testing.T) {
	s := newSite(t)
	s.until("started", func() bool { return ask(s.m, func() bool { return s.m.started }) })
	living := ask(s.m, func() *agent { return s.m.agents["smtp.0"] })
	ours, theirs := pair(t)
	go func() {
		hello := proto.AgentHello{Program: "smtp"}
		ipc.New(ours, 0).Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion, Data: hello.Append(nil)})
	}()
	s.m.connect("smtp.0", theirs) // returns when qmgr has hung up
	if now := ask(s.m, func() *agent { return s.m.agents["smtp.0"] }); now != living {
		t.Error("the dead agent took the place of the living one")
	}
	id := s.submit(mail.Envelope{Sender: "a@x.test", Recipients: to("u@d.test")})
	s.logged("%s: removed", id)
}
