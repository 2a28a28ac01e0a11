package block

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postrider/test/instance"
	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
	"postrider/test/supervisor"
)

// world is a system whose queue and mailboxes are on a disk, and all that is outside.
type world struct {
	*instance.Instance
	disk             *disk
	t                testing.TB
	good, down, back *sink.Sink
	inbox            atomic.Pointer[func(*sink.Mail)] // what the sinks tell
	reports          atomic.Pointer[func(*sink.Mail)]
	numbers          atomic.Int64 // of messages
}

// inHand is how many deliveries of a transport there are at once.
const inHand = 20

// newWorld makes a system with small files; see lib/spool/size_small.go. Its disk is not
// mounted, and it is not started.
func newWorld(t testing.TB, d *disk) *world {
	w := &world{t: t, disk: d, good: sink.New(t, nil), down: sink.New(t, nil), back: sink.New(t, nil)}
	told := func(m *sink.Mail) { (*w.inbox.Load())(m) }
	w.good.Handle(false, told)
	w.down.Handle(false, told)
	w.back.Handle(false, func(m *sink.Mail) { (*w.reports.Load())(m) })
	var seen sync.Map
	w.good.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch {
		case strings.HasPrefix(r, "no-"):
			return "550 5.1.1 nobody of that name"
		case strings.HasPrefix(r, "later-"):
			if _, again := seen.LoadOrStore(r, true); !again {
				return "450 4.2.0 not at the first attempt"
			}
		}
		return ""
	}})
	w.Instance = instance.Tagged(t, "smallfiles",
		"transport_maps = inline:{ {good.test=smtp:"+w.good.NextHop()+"} {down.test=smtp:"+w.down.NextHop()+"} {back.test=smtp:"+w.back.NextHop()+"} }",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "service_throttle_time = 1s",
		"journal_inline_limit = 40000", "queue_minfree = 1000000", "smtpd_client_connection_count_limit = 0",
		fmt.Sprintf("default_process_limit = %d", inHand))
	d.carry(w.Instance)
	w.refuse()
	return w
}

// refuse makes a sync of the journal fail now and then, so that senders get 451 after the
// final dot for what may well be on the disk.
func (w *world) refuse() {
	var syncs atomic.Int64
	s := supervisor.New(w.t, func(c supervisor.Call) (a supervisor.Answer) {
		if c.Op == "sync" && c.Program == "cleanup" && strings.Contains(c.Path, "/queue/incoming/") && syncs.Add(1)%12 == 0 {
			a.Err = unix.EIO
		}
		return a
	})
	w.Wrap = func(cmd *exec.Cmd) {
		if filepath.Base(cmd.Path) == "master" {
			s.Wrap(cmd)
		}
	}
}

// create mounts the disk for the first time.
func (w *world) create() { w.t.Helper(); w.disk.furnish() }

// carry puts all that a system writes on the disk, but for its log.
func (d *disk) carry(i *instance.Instance) {
	i.Queue, i.Mail = d.dir+"/queue", d.dir+"/mail"
	i.Set("queue_directory = "+i.Queue, "mail_spool_directory = "+i.Mail, "data_directory = "+d.dir+"/data")
	// The temporary directory of a test is root's alone.
	for dir := d.dir; len(dir) > len(os.TempDir()); dir = dir[:strings.LastIndexByte(dir, '/')] {
		os.Chmod(dir, 0755)
	}
	d.t.Cleanup(i.Kill) // before the disk goes
}

// furnish mounts the disk for the first time.
func (d *disk) furnish() {
	d.t.Helper()
	if err := d.mount(); err != nil {
		d.t.Fatal(err)
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		d.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, dir := range []string{d.dir + "/queue", d.dir + "/mail", d.dir + "/data"} {
		if err := os.Mkdir(dir, 0755); err != nil {
			d.t.Fatal(err)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			d.t.Fatal(err)
		}
	}
}

// listen says whom the sinks tell.
func (w *world) listen(inbox, reports func(*sink.Mail)) {
	w.inbox.Store(&inbox)
	w.reports.Store(&reports)
}

// compose makes a message of one of many kinds.
func (w *world) compose(random *rand.Rand) *source.Message {
	id := fmt.Sprintf("m%d", w.numbers.Add(1))
	sizes := []int{600, 1000, 2000, 4000, 4000, 9000, 60_000} // the last is no part of the journal
	kinds := []string{"%s@good.test", "%s@good.test", "%s@good.test", "later-%s@good.test", "no-%s@good.test", "%s@down.test"}
	var to []string
	for n := range 1 + random.IntN(3) {
		to = append(to, fmt.Sprintf(kinds[random.IntN(len(kinds))], fmt.Sprintf("%s-%d", id, n)))
	}
	size := sizes[random.IntN(len(sizes))]
	if random.IntN(6) == 0 {
		to = append(to, fmt.Sprintf("box%d@%s", random.IntN(3), instance.Domain))
		size = min(size, 4000)
	}
	return source.New(id, "sender@back.test", size, to...)
}

// send is a client that sends until ctx ends.
func (w *world) send(ctx context.Context, h *history, random *rand.Rand, pause time.Duration) {
	var s *source.Session
	for ctx.Err() == nil {
		if s == nil {
			var err error
			if s, err = source.Dial(w.Addr); err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		if _, err := w.sendOne(s, h, w.compose(random)); err != nil {
			s.Abort()
			s = nil
		}
		time.Sleep(pause) // so that there is some of everything
	}
	if s != nil {
		s.Close()
	}
}

func (w *world) sendOne(s *source.Session, h *history, m *source.Message) (source.Outcome, error) {
	x := h.begin(m.ID, ledger.Hash(m.Content), m.Recipients)
	o, err := s.Send(m, nil)
	var refused []string
	for r := range o.Refused {
		refused = append(refused, r)
	}
	if err != nil && !o.Unknown { // it never came to the end of the message
		refused = m.Recipients
	}
	h.answer(x, o.Acked, refused)
	return o, err
}

// submit is a user of the machine.
func (w *world) submit(ctx context.Context, h *history, random *rand.Rand, pause time.Duration) {
	for ctx.Err() == nil {
		m := w.compose(random)
		x := h.begin(m.ID, ledger.Hash(m.Content), m.Recipients)
		in := strings.ReplaceAll(string(m.Content), "\r\n", "\n")
		r, err := w.Try(in, "sendmail", append([]string{"-i", "-f", m.Sender, "--"}, m.Recipients...)...)
		if err == nil && r.Code == 0 {
			h.answer(x, m.Recipients, nil)
		}
		time.Sleep(pause)
	}
}

// operate is an operator who deletes, holds, releases and requeues mail for a
// destination that is down.
func (w *world) operate(ctx context.Context, h *history) {
	s, err := source.Dial(w.Addr)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer s.Close()
	run := func(kind, id, queueID string) {
		done := h.command(kind, id)
		if r, err := w.Try("", "postsuper", "-"+kind, queueID); err == nil && r.Code == 0 && strings.Contains(r.Stderr+r.Stdout, "1 message") {
			done()
		}
	}
	type held struct{ id, queueID string }
	var holds []held
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("op%d", n)
		m := source.New(id, "sender@back.test", 1500, id+"@down.test", id+"-b@down.test")
		o, err := w.sendOne(s, h, m)
		if err != nil {
			return // the plug is pulled
		}
		if o.QueueID == "" {
			continue // a sync failed
		}
		if n%3 == 0 { // some while they are tried for the first time
			time.Sleep(40 * time.Millisecond)
		}
		switch n % 4 {
		case 0:
			run("d", id, o.QueueID)
		case 1, 2:
			run("h", id, o.QueueID)
			if holds = append(holds, held{id, o.QueueID}); len(holds) > 4 {
				run("H", holds[0].id, holds[0].queueID)
				holds = holds[1:]
			}
		case 3:
			run("r", id, o.QueueID)
		}
		if n%8 == 7 {
			w.Try("", "postqueue", "-f")
		}
	}
}

// work loads the system from all sides for a while, and on until enough has happened.
func (w *world) work(h *history, seed uint64, long time.Duration, enough func() bool) {
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for n := range uint64(4) {
		load.Go(func() { w.send(ctx, h, rand.New(rand.NewPCG(seed, n)), 15*time.Millisecond) })
	}
	load.Go(func() { w.submit(ctx, h, rand.New(rand.NewPCG(seed, 9)), 30*time.Millisecond) })
	load.Go(func() { w.operate(ctx, h) })
	time.Sleep(long)
	for end := time.Now().Add(time.Minute); !enough() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	load.Wait()
}
