package qmgr

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/disk"
	"postrider/lib/ipc"
	libjournal "postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/proto"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// mortal is a queue directory as one process sees it: after its death nothing that it
// does reaches the disk.
type mortal struct {
	disk.FS
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	f, err := m.FS.OpenFile(name, flag, perm)
	if err != nil || flag == os.O_RDONLY {
		return f, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortal) Remove(name string) error {
	if m.dead.Load() {
		return errDead
	}
	return m.FS.Remove(name)
}

func (m *mortal) SyncDir(name string) error {
	if m.dead.Load() {
		return errDead
	}
	return nil // a kill takes nothing from the cache
}

type mortalFile struct {
	disk.File
	m *mortal
}

func (f *mortalFile) WriteAt(p []byte, off int64) (int, error) {
	if f.m.dead.Load() {
		return 0, errDead
	}
	return f.File.WriteAt(p, off)
}

func (f *mortalFile) Truncate(n int64) error {
	if f.m.dead.Load() {
		return errDead
	}
	return f.File.Truncate(n)
}

func (f *mortalFile) Sync() error {
	if f.m.dead.Load() {
		return errDead
	}
	return nil
}

// world is a whole mail system whose queue manager, cleanup and agents are killed at
// random moments, and a ledger of what was promised and of what happened.
type world struct {
	*site
	disk    *mortal // qmgr's
	paper   *mortal // cleanup's
	logSize int64
	bounced sync.WaitGroup

	jmu sync.RWMutex // the journal is being replaced
	ids mail.IDs

	lmu      sync.Mutex
	promised map[string]bool     // "ID recipient": accepted
	accepted map[string]bool     // ids of the same
	sent     map[string]int      // delivered
	reports  map[string][]string // "ID recipient" of a report to those of what it reports
	deleted  map[string]bool     // ids
	final    map[string]bool     // of these, those with nothing under way then
	failed   map[string]bool     // bounces in the end
	amnesty  int                 // deliveries whose agent was killed with them in hand
}

func newWorld(t *testing.T) *world {
	s := newSite(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s",
		"default_destination_concurrency_failed_cohort_limit = 0", "qmgr_message_active_limit = 300", "qmgr_message_recipient_limit = 600")
	w := &world{site: s, logSize: 256 << 10, promised: map[string]bool{}, accepted: map[string]bool{}, sent: map[string]int{},
		reports: map[string][]string{}, deleted: map[string]bool{}, final: map[string]bool{}, failed: map[string]bool{}}
	w.ids.Number = 7
	s.answer = w.handle
	w.stopAll()
	w.openJournal()
	w.startQmgr()
	return w
}

func (w *world) stopAll() {
	w.site.kill()
	w.site.journal.Close()
}

// openJournal is a new cleanup process, without its connection.
func (w *world) openJournal() {
	w.paper = &mortal{FS: disk.OS(w.dir)}
	j, err := libjournal.Open(libjournal.Options{FS: w.paper, FileSize: 256 << 10, Spares: 2, OnDurable: w.durable})
	if err != nil {
		w.t.Fatal(err)
	}
	w.journal = j
}

func (w *world) startQmgr() {
	log := maillog.New("postfix/qmgr", maillog.Options{Host: "mx"})
	r, p, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	log.Open(p, maillog.Stdout)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			for line := range strings.Lines(string(buf[:n])) {
				if strings.Contains(line, "warning:") || strings.Contains(line, "error:") {
					w.log.mu.Lock()
					w.log.b.WriteString(line)
					w.log.mu.Unlock()
				}
			}
			if err != nil {
				r.Close()
				return
			}
		}
	}()
	w.disk = &mortal{FS: disk.OS(w.dir)}
	w.m, err = newManager(&fakeHost{cfg: w.cfg, stop: make(chan struct{})}, log, spool.Options{FS: w.disk, LogSize: w.logSize, RunSlots: 200})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{"cleanup", "smtp.0", "local", "bounce"} {
		w.m.known[name] = true
	}
	w.m.verdict = 0 // nobody here says how agents die
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.done = make(chan error, 1)
	m, done := w.m, w.done
	go func() { done <- m.run(ctx) }()
	w.connectCleanup()
	for _, name := range []string{"smtp.0", "local", "bounce"} {
		w.connect(name)
	}
}

// connectCleanup gives qmgr and cleanup a connection.
func (w *world) connectCleanup() {
	ours, theirs := pair(w.t)
	w.m.partner("cleanup", theirs)
	c := ipc.New(ours, 0)
	j := w.journal
	at := j.Durable()
	hello := proto.JournalHello{First: j.First(), Durable: proto.Durable{File: at.File, Offset: at.Offset}}
	if _, err := c.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion, Data: hello.Append(nil)}); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer c.Close()
		for {
			f, err := c.Next()
			if err != nil {
				return
			}
			switch f.Type {
			case proto.TypeFreed:
				var m proto.Freed
				m.Decode(f.Payload)
				for _, name := range m.Names {
					j.Recycle(name)
				}
			case proto.TypeDrain:
				var m proto.Drain
				m.Decode(f.Payload)
				go func() {
					w.bounced.Wait()
					at := j.Durable()
					c.Send(proto.TypeDrained, &proto.Drained{Program: m.Program, PID: m.PID, At: proto.Durable{File: at.File, Offset: at.Offset}})
				}()
			}
		}
	}()
	w.mu.Lock()
	w.notify = c
	w.mu.Unlock()
	w.durable(j.Durable())
}

// killQmgr ends qmgr as SIGKILL does.
func (w *world) killQmgr() {
	w.disk.dead.Store(true)
	w.stop()
	<-w.done
	for _, a := range w.m.agents {
		a.conn.Close()
	}
	w.mu.Lock()
	w.notify.Close()
	w.notify = nil
	w.mu.Unlock()
	w.m.spool.Close()
	w.m.log.Close()
}

// stopQmgr ends qmgr as master does: what is in hand is reported, the rest waits.
func (w *world) stopQmgr() {
	close(w.m.d.(*fakeHost).stop)
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Error(err)
		}
	case <-time.After(10 * time.Second):
		w.t.Error("qmgr does not stop")
		w.stop()
		<-w.done
	}
	for _, a := range w.m.agents {
		a.conn.Close()
	}
	w.mu.Lock()
	w.notify.Close()
	w.notify = nil
	w.mu.Unlock()
	if err := w.m.spool.Close(); err != nil {
		w.t.Error(err)
	}
	w.m.log.Close()
}

// killCleanup ends cleanup as SIGKILL does, and starts the next.
func (w *world) killCleanup() {
	w.jmu.Lock()
	defer w.jmu.Unlock()
	w.paper.dead.Store(true)
	w.mu.Lock()
	old := w.notify
	w.notify = nil
	w.mu.Unlock()
	if old != nil {
		old.Close()
	}
	w.journal.Close()
	w.openJournal()
	if old != nil {
		w.connectCleanup()
	}
}

// killAgent ends an agent with what it has in hand.
func (w *world) killAgent(name string) {
	w.mu.Lock()
	a := w.agents[name]
	w.agents[name] = nil
	w.mu.Unlock()
	w.lmu.Lock()
	w.amnesty += a.InHand()
	w.lmu.Unlock()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	a.Stop(over)
	w.connect(name)
}

// put makes a message durable. False when nobody knows, or it was refused.
func (w *world) put(env *mail.Envelope, size int) bool {
	w.jmu.RLock()
	j := w.journal
	w.jmu.RUnlock()
	env.Arrival = time.Now()
	m := &libjournal.Message{Envelope: env}
	content := make([]byte, 0, size+2)
	for len(content) < size {
		content = append(append(content, env.ID...), ' ')
	}
	if size > 256<<10 {
		l, err := j.NewLarge(env.ID)
		if err == nil {
			_, err = l.Write(content)
		}
		if err == nil {
			err = l.Commit()
		}
		if err != nil {
			return false
		}
		m.Large = l
	} else {
		m.Content = content
	}
	env.Size = int64(len(content))
	errs := make(chan error, 1)
	j.Append(m, func(_ slot.Ref, err error) { errs <- err })
	return <-errs == nil
}

func draw(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// handle is every agent.
func (w *world) handle(r *libagent.Request) proto.Result {
	if err := r.Content.Check(); err != nil {
		w.t.Errorf("%s: %v", r.Queue, err)
	}
	if r.Service == bounceService {
		return w.report(r)
	}
	if rand.IntN(20) == 0 {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}}
	for i := range r.Recipients {
		rc := &r.Recipients[i]
		key := string(r.Queue) + " " + string(rc.Address)
		st := mail.Status{Class: mail.Sent, DSN: "2.0.0", Text: "250 ok"}
		w.lmu.Lock()
		if w.final[string(r.Queue)] {
			w.t.Errorf("%s: tried after it was deleted", r.Queue)
		}
		switch n := draw(key) % 100; {
		case n < 5:
			st = mail.Status{Class: mail.Bounced, DSN: "5.1.1", Text: "550 no " + string(rc.Address)}
		case rand.IntN(100) < 30:
			st = mail.Status{Class: mail.Deferred, DSN: "4.2.1", Text: "450 later " + string(rc.Address)}
		default:
			w.sent[key]++
		}
		w.lmu.Unlock()
		res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Status: st})
	}
	return res
}

// report is bounce.
func (w *world) report(r *libagent.Request) proto.Result {
	w.bounced.Add(1)
	defer w.bounced.Done()
	if r.NextHop != reportFailure || rand.IntN(10) == 0 {
		return libagent.Deferred(r, mail.Status{DSN: "4.3.0"})
	}
	env := &mail.Envelope{ID: w.ids.Next(time.Now()), Recipients: to("sender@x" + strconv.Itoa(rand.IntN(5)) + ".test"), Origin: mail.FromBounce,
		Replaces: mail.Replaces{ID: r.Queue, File: r.File, Slot: r.Slot}}
	var about []string
	res := proto.Result{Hop: mail.Status{Class: mail.Sent}}
	for i := range r.Recipients {
		rc := &r.Recipients[i]
		env.Replaces.Recipients = append(env.Replaces.Recipients, rc.Index)
		about = append(about, string(r.Queue)+" "+string(rc.Address))
		res.Recipients = append(res.Recipients, proto.RecipientResult{Index: rc.Index, Replaced: true, Status: mail.Status{Class: mail.Sent}})
	}
	if r.Sender == "" { // a report that bounces is dropped
		for i := range res.Recipients {
			res.Recipients[i].Replaced = false
		}
		w.lmu.Lock()
		for _, k := range about {
			w.failed[k] = true
		}
		w.lmu.Unlock()
		return res
	}
	w.lmu.Lock()
	key := string(env.ID) + " " + string(env.Recipients[0].Address)
	w.reports[key] = about
	w.lmu.Unlock()
	if !w.put(env, 500) {
		return libagent.Deferred(r, mail.Status{DSN: "4.3.0"})
	}
	w.lmu.Lock()
	w.promised[key] = true
	w.lmu.Unlock()
	return res
}

// load submits n messages.
func (w *world) load(n int, big bool) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				env := &mail.Envelope{ID: w.ids.Next(time.Now()), Sender: "a@x.test"}
				for k := range 1 + rand.IntN(3)*rand.IntN(2) {
					env.Recipients = append(env.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprintf("u%d.%d.%d@d%d.test", g, i, k, rand.IntN(50)))})
				}
				size := 50 + rand.IntN(3000)
				if big && rand.IntN(200) == 0 {
					size = 300 << 10
				}
				if w.put(env, size) {
					w.lmu.Lock()
					w.accepted[string(env.ID)] = true
					for _, rc := range env.Recipients {
						w.promised[string(env.ID)+" "+string(rc.Address)] = true
					}
					w.lmu.Unlock()
				}
			}
		})
	}
	wg.Wait()
}

// judge holds the ledger against what happened.
func (w *world) judge() {
	w.lmu.Lock()
	defer w.lmu.Unlock()
	reported := map[string]int{}
	for key, about := range w.reports {
		if w.sent[key] > 0 || w.failed[key] {
			for _, k := range about {
				reported[k]++
			}
		}
	}
	lost, twice, both := 0, 0, 0
	for k := range w.promised {
		n := w.sent[k] + reported[k]
		if w.failed[k] {
			n++
		}
		id, _, _ := strings.Cut(k, " ")
		if n == 0 && !w.deleted[id] {
			if lost++; lost < 10 {
				w.t.Errorf("lost: %s", k)
			}
		}
		if w.sent[k] > 0 && reported[k] > 0 {
			both++
		}
	}
	for k, n := range w.sent {
		if n > 1 {
			if twice += n - 1; twice-w.amnesty < 10 && twice > w.amnesty {
				w.t.Errorf("delivered %d times: %s", n, k)
			}
		}
	}
	again := 0
	for k, n := range reported {
		if n > 1 {
			if again += n - 1; again < 10 && w.amnesty == 0 {
				w.t.Errorf("reported %d times: %s", n, k)
			}
		}
	}
	w.t.Logf("%d promised, lost %d, delivered twice %d, reported twice %d (in hand of killed agents %d), delivered and reported %d", len(w.promised), lost, twice, again, w.amnesty, both)
}
