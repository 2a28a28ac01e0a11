package smtp

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"postrider/lib/agent"
	"postrider/lib/config"
	"postrider/lib/dns"
	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
)

// rig is a client with its agent, and the test in the place of qmgr.
type rig struct {
	t      testing.TB
	c      *client
	a      *agent.Agent
	conn   *ipc.Conn
	log    *maillog.Logger
	files  files
	path   string
	seq    uint64
	mu     sync.Mutex
	result map[uint64]chan proto.Result
}

// zone answers from lines of a zone file. Names in servfail fail.
func zone(t testing.TB, lines ...string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &mdns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		m.Rcode, m.Compress = mdns.RcodeNameError, true
		for _, l := range lines {
			if name, ok := strings.CutSuffix(l, " SERVFAIL"); ok && name == q.Question[0].Name {
				m.Rcode = mdns.RcodeServerFailure
				break
			} else if ok {
				continue
			}
			rr, err := mdns.NewRR(l)
			if err != nil {
				panic(err)
			}
			if rr.Header().Name == q.Question[0].Name {
				m.Rcode = mdns.RcodeSuccess
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown() })
	return pc.LocalAddr().String()
}

func newRig(t testing.TB, nameServer string, set ...string) *rig {
	t.Helper()
	snap := config.Snapshot{Dir: t.TempDir(), Settings: []config.Setting{
		{Name: "myhostname", Value: "us.test"}, {Name: "inet_protocols", Value: "ipv4"}, {Name: "inet_interfaces", Value: "192.0.2.1"},
		{Name: "smtp_skip_quit_response", Value: "yes"},
	}}
	for _, s := range set {
		name, value, _ := strings.Cut(s, "=")
		snap.Settings = append(snap.Settings, config.Setting{Name: name, Value: value})
	}
	conf, err := config.FromSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, c: &client{}, path: filepath.Join(t.TempDir(), "log"), result: map[uint64]chan proto.Result{}}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r.log = maillog.New("postfix/smtp", maillog.Options{Host: "us"})
	r.log.Open(f, maillog.File)
	t.Cleanup(r.log.Close)
	e := &environment{resolver: dns.New(dns.Config{Servers: []string{nameServer}, Timeout: time.Second}), hosts: dns.ParseHosts([]byte("127.0.0.1 local.test\n"))}
	e.make = func(service string) *settings {
		return newSettings(service, service == "lmtp", 100, conf, r.files, r.log)
	}
	r.c.env.Store(e)
	r.a = agent.New(agent.Options{Program: "smtp", Limit: func(s string) int { return e.service(s).maxProc }, Warnf: t.Logf}, r.c.deliver)
	r.attach()
	t.Cleanup(func() {
		r.c.stop()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.a.Stop(ctx)
	})
	return r
}

// attach gives the agent a new qmgr.
func (r *rig) attach() {
	r.t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		r.t.Fatal(err)
	}
	ours, err1 := ipc.FromFD(a)
	theirs, err2 := ipc.FromFD(b)
	if err1 != nil || err2 != nil {
		r.t.Fatal(err1, err2)
	}
	conn := ipc.New(ours, 0)
	r.a.Partner(theirs)
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.DeliverName, Version: proto.DeliverVersion}); err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
	go func() {
		for {
			f, err := conn.Next()
			if err != nil {
				return
			}
			var res proto.Result
			if f.Type != proto.TypeResult || res.Decode(f.Payload) != nil {
				panic("a frame that is no result")
			}
			conn.Send(proto.TypeAck, &proto.Ack{IDs: []proto.DeliveryID{res.ID}})
			r.mu.Lock()
			c := r.result[res.ID.Seq]
			r.mu.Unlock()
			c <- res
		}
	}()
	r.t.Cleanup(func() { conn.Close() })
}

const testMail = "Subject: x\r\n\r\nhello\r\n"

// ask sends a delivery; recipients are numbered from 10 on.
func (r *rig) ask(d *proto.Deliver) <-chan proto.Result {
	r.mu.Lock()
	r.seq++
	d.ID = proto.DeliveryID{Epoch: 1, Seq: r.seq}
	c := make(chan proto.Result, 1)
	r.result[r.seq] = c
	r.mu.Unlock()
	if d.Service == "" {
		d.Service = "smtp"
	}
	d.Queue = "Q1"
	d.Size = int64(len(d.Content))
	if d.CRC == 0 {
		d.CRC = agent.Checksum(d.Content)
	}
	d.Arrival = time.Now()
	d.Active, d.Handed = d.Arrival, d.Arrival
	for i := range d.Recipients {
		d.Recipients[i].Index = uint32(10 + i)
	}
	d.Inline = len(d.Content) <= proto.InlineMax
	if d.Inline {
		if err := r.conn.Send(proto.TypeDeliver, d); err != nil {
			r.t.Error(err)
		}
		return c
	}
	f, err := os.CreateTemp(r.t.TempDir(), "c")
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("12345")
	f.Write(d.Content)
	d.FDOffset = 5
	if err := r.conn.SendFDs(proto.TypeDeliver, d, int(f.Fd())); err != nil {
		r.t.Error(err)
	}
	return c
}

func wait(t testing.TB, c <-chan proto.Result) proto.Result {
	t.Helper()
	select {
	case res := <-c:
		return res
	case <-time.After(15 * time.Second):
		t.Fatal("no result")
		panic("unreachable")
	}
}

var portPattern = regexp.MustCompile(`(\]|test):\d{4,5}`)

// render is a result as the tests write it down: a line per recipient, and one for
// the hop when it is blamed.
func render(res proto.Result) string {
	var b strings.Builder
	for _, r := range res.Recipients {
		fmt.Fprintf(&b, "%d %s %s %s\n", r.Index, r.Status.Class, r.Status.DSN, r.Status.Text)
	}
	if res.Hop.Class != mail.Sent {
		fmt.Fprintf(&b, "hop %s %s\n", res.Hop.Class, res.Hop.DSN)
	}
	return portPattern.ReplaceAllString(b.String(), "$1:PORT")
}

var (
	stampPattern = regexp.MustCompile(`(?m)^.*? us (postfix/\S+)\[\d+\]: `)
	delayPattern = regexp.MustCompile(`delay=[0-9.]+, delays=[0-9./]+`)
)

// lines is the log so far, without what changes.
func (r *rig) lines() string {
	r.log.Flush()
	b, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	s := stampPattern.ReplaceAllString(string(b), "")
	s = delayPattern.ReplaceAllString(s, "delay=D")
	return portPattern.ReplaceAllString(s, "$1:PORT")
}

// until waits for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for: " + what)
		}
	}
}
