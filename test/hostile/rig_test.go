package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// envAttack makes this test binary an attacker.
const envAttack = "POSTRIDER_ATTACK"

func TestMain(m *testing.M) {
	if what := os.Getenv(envAttack); what != "" {
		os.Exit(attacker(what))
	}
	os.Exit(m.Run())
}

// The users of the machine that act here; every Debian has them.
const (
	bad  = "games"
	good = "man"
)

// credential is a user's, with further groups.
func credential(t *testing.T, name string, groups ...string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) uint32 { n, _ := strconv.Atoi(s); return uint32(n) }
	c := &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	for _, g := range groups {
		gr, err := user.LookupGroup(g)
		if err != nil {
			t.Fatal(err)
		}
		c.Gid = number(gr.Gid) // as the set-gid postdrop has it
	}
	return c
}

// system starts an instance as root. Mail for sink.test goes to a sink, that for
// later.test is deferred, that for instance.Domain goes to the Maildirs of users.
func system(t *testing.T, far *sink.Sink, lines ...string) *instance.Instance {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: an attacker is another user than the mail system")
	}
	if err := instance.Accounts(); err != nil {
		t.Fatal(err)
	}
	i := instance.AsRoot(t, instance.Programs(t), "home_mailbox =", "alias_maps =", "initial_destination_concurrency = 20")
	i.Set("mail_spool_directory = " + i.Mail + "/")
	if far != nil {
		i.Set("transport_maps = inline:{ {sink.test = smtp:" + far.NextHop() + "} {later.test = retry:later} }")
	}
	i.Set(lines...)
	if err := os.MkdirAll(i.Mail, 0755); err != nil {
		t.Fatal(err)
	}
	i.Start()
	return i
}

// attack is a process of the attacker.
type attack struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	line chan string
	done bool
}

// start begins an attack and returns when it is under way.
func start(t *testing.T, i *instance.Instance, who *syscall.Credential, what string) *attack {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{envAttack + "=" + what, "QUEUE=" + i.Queue, "BIN=" + i.Bin, "MAIL_CONFIG=" + i.Conf, "NAMES=" + strconv.Itoa(names())}
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &attack{t: t, cmd: cmd, in: in, line: make(chan string, 10)}
	go func() {
		defer close(a.line)
		for s := bufio.NewScanner(out); s.Scan(); {
			a.line <- s.Text()
		}
	}()
	t.Cleanup(func() { a.stop() })
	if got := a.next(); got != "ready" {
		t.Fatalf("attack %s: %q", what, got)
	}
	return a
}

func (a *attack) next() string {
	a.t.Helper()
	select {
	case l := <-a.line:
		return l
	case <-time.After(3 * time.Minute): // it may have a hundred thousand files to make
		a.t.Fatal("the attacker is silent")
		return ""
	}
}

// stop ends the attack and returns what it counted.
func (a *attack) stop() map[string]int {
	a.t.Helper()
	if a.done {
		return nil
	}
	a.done = true
	a.in.Close()
	counts := map[string]int{}
	if l := a.next(); json.Unmarshal([]byte(l), &counts) != nil {
		a.t.Errorf("the attacker says %q", l)
	}
	a.cmd.Wait()
	return counts
}

// traffic is a steady stream of mail in and out.
type traffic struct {
	t      *testing.T
	i      *instance.Instance
	ledger *ledger.Ledger
	end    func()

	mu      sync.Mutex
	sent    map[string]time.Time
	samples []sample
}

// sample is a message that went out: when it was given to us, and how long it took to
// the far end.
type sample struct {
	at   time.Time
	took time.Duration
}

// flow sends about two hundred messages a second, one of ten to a user's Maildir.
func flow(t *testing.T, i *instance.Instance, l *ledger.Ledger, far *sink.Sink) *traffic {
	f := &traffic{t: t, i: i, ledger: l, sent: map[string]time.Time{}}
	far.Handle(false, func(m *sink.Mail) {
		m.Tell(l)
		f.mu.Lock()
		defer f.mu.Unlock()
		if at, ok := f.sent[m.ID]; ok {
			f.samples = append(f.samples, sample{at, m.At.Sub(at)})
			delete(f.sent, m.ID)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var n atomic.Int64
	over := make(chan struct{})
	const sessions = 4
	go func() {
		defer close(over)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		source.Load(ctx, i.Addr, sessions, l, func() *source.Message {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			k := n.Add(1)
			id := fmt.Sprintf("h-%d", k)
			if k%10 == 0 {
				return source.New(id, "a@source.test", 4000, good+"@"+instance.Domain)
			}
			m := source.New(id, "a@source.test", 4000, "r@sink.test")
			f.mu.Lock()
			f.sent[id] = time.Now()
			f.mu.Unlock()
			return m
		})
	}()
	f.end = sync.OnceFunc(func() { cancel(); <-over })
	t.Cleanup(f.end)
	return f
}

// measure looks at the messages of the next d, and waits until they have arrived.
func (f *traffic) measure(d time.Duration) (n int, p50, p99 time.Duration) {
	f.t.Helper()
	from := time.Now()
	time.Sleep(d)
	to := time.Now()
	f.i.Await("the messages of this time", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, at := range f.sent {
			if at.Before(to) {
				return false
			}
		}
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	var took []time.Duration
	for _, s := range f.samples {
		if !s.at.Before(from) && s.at.Before(to) {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		f.t.Fatal("no mail flows")
	}
	slices.Sort(took)
	return len(took), took[len(took)/2], took[len(took)*99/100]
}

// judge ends the stream: everything arrived, once.
func (f *traffic) judge() {
	f.t.Helper()
	f.end()
	for end := time.Now().Add(3 * instance.Patience); time.Now().Before(end) && !f.i.Drained(); {
		time.Sleep(50 * time.Millisecond) // local's helpers are slow on a machine with much else to do
	}
	f.i.Await("an empty queue", f.i.Drained)
	f.i.Account(f.ledger)
	v := f.ledger.Judge()
	if err := v.Err(); err != nil || len(v.Duplicates) > 0 || v.Bounced > 0 {
		f.t.Errorf("%v: %v", err, v)
	}
}

// usage is what a process has used.
type usage struct {
	cpu      time.Duration
	fds, rss int // rss in KiB
}

func use(t *testing.T, i *instance.Instance, program string) usage {
	t.Helper()
	pid := strconv.Itoa(i.PID(program))
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	pages, _ := strconv.Atoi(f[21])
	fds, _ := os.ReadDir("/proc/" + pid + "/fd")
	return usage{cpu: time.Duration(user+system) * 10 * time.Millisecond, fds: len(fds), rss: pages * os.Getpagesize() / 1024}
}

// fill puts mail into the queue that stays there: some megabytes of listing.
func fill(t *testing.T, i *instance.Instance) {
	t.Helper()
	const messages, recipients = 10, 500
	for n := range messages {
		var to []string
		for k := range recipients {
			to = append(to, fmt.Sprintf("%s%d@later.test", strings.Repeat("x", 40), k))
		}
		if o, err := source.Send1(i.Addr, source.New(fmt.Sprintf("later-%d", n), "a@source.test", 1000, to...), nil); err != nil || o.QueueID == "" {
			t.Fatal(err)
		}
	}
	i.Await("mail that waits", func() bool {
		n := 0
		for _, q := range i.List() {
			if q.Queue == "deferred" {
				n++
			}
		}
		return n >= messages
	})
}
