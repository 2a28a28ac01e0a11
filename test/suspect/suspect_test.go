package suspect

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// inHand bounds the deliveries of a transport at once, and with that what an agent's
// death may repeat (S4).
const inHand = 20

// world is a system under load whose daemons die of markers.
type world struct {
	*instance.Instance
	t      *testing.T
	l      ledger.Ledger
	good   *sink.Sink
	back   *sink.Sink
	n      atomic.Int64
	probes int
	load   sync.WaitGroup
	stop   context.CancelFunc
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	w.good, w.back = sink.New(t, &w.l), sink.New(t, &w.l)
	var seen sync.Map
	w.good.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if strings.HasPrefix(r, "no-") {
			return "550 5.1.1 nobody of that name"
		}
		if _, again := seen.LoadOrStore(r, true); !again && strings.HasPrefix(r, "later-") {
			return "450 4.2.0 not at the first attempt"
		}
		return ""
	}})
	w.good.Handle(true, func(m *sink.Mail) { m.Tell(&w.l) })
	w.back.Reports()
	w.Instance = instance.Tagged(t, "crash",
		"transport_maps = inline:{ {good.test=smtp:"+w.good.NextHop()+"} {back.test=smtp:"+w.back.NextHop()+"} }",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "service_throttle_time = 1s",
		fmt.Sprintf("default_process_limit = %d", inHand), "smtpd_client_connection_count_limit = 0")
	w.Start()
	return w
}

// begin starts steady traffic of all kinds; end stops it.
func (w *world) begin() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	next := func() *source.Message {
		time.Sleep(5 * time.Millisecond) // steady, not as much as goes
		n := w.n.Add(1)
		id := fmt.Sprintf("m%d", n)
		kinds := []string{"%s@good.test", "later-%s@good.test", "%s@" + instance.Domain, "no-%s@good.test"}
		return source.New(id, "sender@back.test", 2000, fmt.Sprintf(kinds[n%4], id))
	}
	w.load.Go(func() { source.Load(ctx, w.Addr, 3, &w.l, next) })
}

func (w *world) end() {
	w.stop()
	w.load.Wait()
}

// probe sends one message as often as it takes and waits until it is there: whatever
// dies, others' mail flows.
func (w *world) probe() time.Duration {
	w.t.Helper()
	w.probes++
	began := time.Now()
	id := fmt.Sprintf("probe%d", w.probes)
	to := id + "@good.test"
	w.Await("250 for "+id, func() bool {
		o, err := source.Send1(w.Addr, source.New(id, "sender@back.test", 1000, to), nil)
		return err == nil && len(o.Acked) == 1
	})
	w.Await(id, func() bool { return len(w.good.Find(id)) > 0 })
	return time.Since(began)
}

// reason waits until a file in corrupt/ has its .reason with want in it, and returns
// the name of the file.
func (w *world) reason(known map[string]bool, want string) string {
	w.t.Helper()
	name := ""
	w.Await("a file in corrupt/ because of "+want, func() bool {
		for f := range w.Files("corrupt") {
			b, err := os.ReadFile(filepath.Join(w.Queue, f))
			if strings.HasSuffix(f, ".reason") && !known[f] && err == nil && strings.Contains(string(b), want) {
				name = strings.TrimSuffix(f, ".reason")
				return true
			}
		}
		return false
	})
	known[name+".reason"] = true
	return name
}

// letter sends a message that is none of the ledger's, by sendmail.
func (w *world) letter(sender, head, to string) {
	w.t.Helper()
	in := "Subject: killer\nFrom: a@b\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n" + head + "\nbody\n"
	if r := w.RunWith(in, "sendmail", "-i", "-f", sender, "--", to); r.Code != 0 {
		w.t.Fatalf("sendmail: %+v", r)
	}
}

// each is one reader and one way to die. Deaths is how often a process of the program
// dies of it.
var each = []struct {
	program, how     string
	sender, head, to string
	deaths           int
	reason           string
}{
	{program: "smtp", how: "fatal", to: "crash-smtp-fatal@good.test", deaths: 3, reason: "smtp died (a panic or fatal error of its own) while delivering, 2 times alone"},
	{program: "smtp", how: "segv", to: "crash-smtp-segv@good.test", deaths: 3, reason: "smtp died (SIGSEGV) while delivering, 2 times alone"},
	{program: "smtp", how: "panic", to: "crash-smtp-panic@good.test", reason: "smtp panicked (planted in smtp), 2 times alone"},
	{program: "local", how: "stack", to: "crash-local-stack@" + instance.Domain, deaths: 3, reason: "local died (a panic or fatal error of its own) while delivering, 2 times alone"},
	{program: "bounce", how: "fatal", to: "no-crash-bounce-fatal@good.test", deaths: 3, reason: "bounce died (a panic or fatal error of its own) while delivering, 2 times alone"},
	{program: "cleanup", how: "fatal", head: "X-Marker: crash-cleanup-fatal\n", to: "a@good.test", deaths: 3, reason: "cleanup died (a panic or fatal error of its own) 3 times while reading it"},
	{program: "cleanup", how: "panic", head: "X-Marker: crash-cleanup-panic\n", to: "a@good.test", reason: "cleanup died (a panic) 3 times while reading it"},
	{program: "cleanup", how: "segv in a report", sender: "crash-cleanup-segv@back.test", to: "no-one@good.test", deaths: 3, reason: "the message crashes cleanup: cleanup died (SIGSEGV) 3 times reading it, 2 times alone"},
	{program: "qmgr", how: "fatal", to: "crash-qmgr-fatal@good.test", deaths: 3, reason: "the queue manager died (a panic or fatal error of its own) 3 times while reading it"},
	{program: "qmgr", how: "panic", to: "crash-qmgr-panic@good.test", reason: "crashes its reader: panic: planted in qmgr"},
	{program: "qmgr", how: "stack when admitted", to: "crash-admit-stack@good.test", deaths: 3, reason: "the queue manager died (a panic or fatal error of its own) 3 times while reading it"},
	{program: "qmgr", how: "segv when due", to: "later-crash-due-segv@good.test", deaths: 3, reason: "the queue manager died (SIGSEGV) 3 times while reading it"},
}

// A delivery, a header and a record that crash their reader stop nobody else's mail
// and end in corrupt/ after two tries alone.
func TestSuspects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	known := map[string]bool{}
	for _, c := range each {
		before := len(w.Grep(`process \S+/` + c.program + ` pid \d+ .*its own fault`))
		began := time.Now()
		if c.sender == "" {
			c.sender = "sender@back.test"
		}
		w.letter(c.sender, c.head, c.to)
		slowest := max(w.probe(), w.probe())
		name := w.reason(known, c.reason)
		deaths := len(w.Grep(`process \S+/`+c.program+` pid \d+ .*its own fault`)) - before
		t.Logf("%s, %s: %s after %v and %d deaths; a message meanwhile took up to %v", c.program, c.how, name, time.Since(began).Round(time.Millisecond), deaths, slowest.Round(time.Millisecond))
		if deaths != c.deaths {
			t.Errorf("%s, %s: %d deaths, not %d", c.program, c.how, deaths, c.deaths)
		}
		if b, err := os.ReadFile(filepath.Join(w.Queue, name)); err != nil || !strings.Contains(string(b), "killer") {
			t.Errorf("%s, %s: %s has not the message: %v, %d bytes", c.program, c.how, name, err, len(b))
		}
	}
	w.hostile()
	w.end()
	w.Await("an empty queue", func() bool {
		w.Run("postqueue", "-f")
		return w.Drained()
	})
	w.Account(&w.l)
	v := w.l.Judge()
	t.Log(v)
	v.Unexpected = ours(v.Unexpected) // the probes and killers are none of the ledger's
	v.Mixed = slices.DeleteFunc(v.Mixed, func(s string) bool { return !strings.HasPrefix(s, "m") })
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	// Two deaths of the smtp that all share, one of local.
	if len(v.Duplicates) > 3*inHand || len(v.Both) > 0 {
		t.Errorf("%d duplicates: %v; delivered and bounced: %v", len(v.Duplicates), v.Duplicates, v.Both)
	}
	w.extracted()
	if n := len(w.Files("corrupt")); n != 2*len(each) {
		t.Errorf("%d files in corrupt/, not %d: %v", n, 2*len(each), w.Files("corrupt"))
	}
}

// extracted finds every killer, with its envelope, in what an operator extracts.
func (w *world) extracted() {
	out := filepath.Join(w.Dir, "out")
	if r := w.Run("postsuper", "-x", out, w.Queue); r.Code != 0 {
		w.t.Errorf("postsuper -x: %+v", r)
	}
	all := ""
	heads, _ := filepath.Glob(out + "/corrupt/*.envelope")
	for _, h := range heads {
		b, _ := os.ReadFile(h)
		c, err := os.ReadFile(strings.TrimSuffix(h, ".envelope") + ".eml")
		if err != nil || !strings.Contains(string(c), "Subject: killer") {
			w.t.Errorf("%s: %v, %q", h, err, c)
		}
		all += string(b)
	}
	for _, c := range each {
		if !strings.Contains(all, "\nrecipient: "+c.to+"\n") || !strings.Contains(all, c.reason) {
			w.t.Errorf("%s, %s: not extracted", c.program, c.how)
		}
	}
}

func ours(keys []ledger.Key) (out []ledger.Key) {
	for _, k := range keys {
		if strings.HasPrefix(k.Message, "m") {
			out = append(out, k)
		}
	}
	return out
}

// hostile sends a header that crashes cleanup, by SMTP from an address of its own, again
// and again: after three deaths the client is refused, and no one else.
func (w *world) hostile() {
	before := len(w.Grep(`process \S+/cleanup pid \d+ .*its own fault`))
	refused := false
	for try := 0; try < 30 && !refused; try++ {
		reply := w.hostileTry()
		if strings.HasPrefix(reply, "250") {
			w.t.Errorf("the killer was taken: %s", reply)
		}
		refused = len(w.Grep(`process \S+/cleanup pid \d+ .*its own fault`))-before >= 3
	}
	for range 5 {
		if reply := w.hostileTry(); !strings.HasPrefix(reply, "451") {
			w.t.Errorf("after three deaths: %q", reply)
		}
	}
	if n := len(w.Grep(`process \S+/cleanup pid \d+ .*its own fault`)) - before; n != 3 {
		w.t.Errorf("one client has killed cleanup %d times", n)
	}
	w.t.Logf("a message meanwhile took %v", w.probe().Round(time.Millisecond))
}

func (w *world) hostileTry() (reply string) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 66, 6, 6)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", w.Addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	line := func() string {
		for {
			l, err := r.ReadString('\n')
			if err != nil || len(l) < 4 || l[3] != '-' {
				return l
			}
		}
	}
	line()
	for _, x := range []string{"EHLO evil.test", "MAIL FROM:<evil@back.test>", "RCPT TO:<a@good.test>", "DATA", "X-Marker: crash-cleanup-fatal\r\n\r\nbody\r\n."} {
		fmt.Fprintf(c, "%s\r\n", x)
		reply = line()
	}
	return reply
}

// A kill from outside blames nobody.
func TestKilledFromOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin()
	for _, program := range []string{"smtp", "local", "bounce", "cleanup", "qmgr", "smtp"} {
		w.KillOne(program)
		t.Logf("%s killed: a message took %v", program, w.probe())
	}
	w.end()
	w.Await("an empty queue", func() bool { w.Run("postqueue", "-f"); return w.Drained() })
	if lines := w.Grep(`suspect`); len(lines) > 0 || len(w.Files("corrupt")) > 0 {
		t.Errorf("somebody is blamed: %q, %v", lines, w.Files("corrupt"))
	}
}
