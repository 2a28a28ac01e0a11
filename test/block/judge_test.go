package block

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	libdisk "postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/maildrop"
	"postrider/lib/spool"
	"postrider/test/instance"
	"postrider/test/ledger"
)

// window is how old a delivery may be that a power cut makes happen again: it was known
// to memory alone (mark_sync_delay, 20 ms), and then its sync was on its way, which a
// busy machine makes wait.
const window = time.Second

// found is what is on a disk after a power cut.
type found struct {
	ledger   *ledger.Ledger
	queue    map[string]bool           // messages in the queue
	held     map[string]bool           // of those on hold
	keys     map[ledger.Key]int        // recipients in the queue, and how often
	reports  map[ledger.Key]int        // recipients that a report in the queue is about
	boxes    map[ledger.Key]*time.Time // in mailboxes, with the time of delivery
	problems []error
	logs     []string // of the recovery
}

// fast is a queue directory on which nothing is synced: what a recovery writes has no
// second power cut to fear here.
type fast struct{ libdisk.FS }

func (f fast) SyncDir(string) error { return nil }

func (f fast) OpenFile(name string, flag int, perm fs.FileMode) (libdisk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return fastFile{file}, nil
}

type fastFile struct{ libdisk.File }

func (fastFile) Sync() error { return nil }

// queued takes down a message in the queue.
func (x *found) queued(recipients []string, content []byte) {
	if id, failed, err := ledger.Reported(content); err == nil && len(failed) > 0 {
		x.ledger.Bounced(id, failed...)
		for _, r := range failed {
			x.reports[ledger.Key{Message: id, Recipient: r}]++
		}
		return
	}
	id, sum, err := ledger.Identify(content)
	if err != nil {
		x.problems = append(x.problems, fmt.Errorf("in the queue for %v: %w: %.80q", recipients, err, content))
		return
	}
	x.queue[id] = true
	for _, r := range recipients {
		x.ledger.Queued(id, r, sum)
		x.keys[ledger.Key{Message: id, Recipient: r}]++
	}
}

// look starts the spool that is below dir as cleanup and qmgr do, and lists it, maildrop/
// and the mailboxes. What was started ends with stop.
func look(dir string, l *ledger.Ledger, stop func()) (x *found, err error) {
	x = &found{ledger: l, queue: map[string]bool{}, held: map[string]bool{}, keys: map[ledger.Key]int{},
		reports: map[ledger.Key]int{}, boxes: map[ledger.Key]*time.Time{}}
	queue := dir + "/queue"
	for _, d := range []string{"incoming", "content", maildrop.Dir} { // cut before they were made
		if err := os.Mkdir(filepath.Join(queue, d), 0755); err != nil && !errors.Is(err, fs.ErrExist) {
			return x, err
		}
	}
	var mu sync.Mutex
	logf := func(f string, a ...any) { mu.Lock(); x.logs = append(x.logs, fmt.Sprintf(f, a...)); mu.Unlock() }
	j, err := journal.Open(journal.Options{FS: fast{libdisk.OS(queue)}, FileSize: 32 << 10, Spares: 1, Maildrop: maildrop.Dir, Logf: logf})
	if err != nil {
		stop()
		return x, err
	}
	q, err := spool.Open(spool.Options{FS: fast{libdisk.OS(queue)}, LogSize: 128 << 10, MarkSyncDelay: -1, Logf: logf})
	if err != nil {
		stop()
		j.Close()
		return x, err
	}
	defer func() { // a spool whose disk is gone ends at once
		stop()
		q.Close()
		j.Close()
	}()
	if err := q.WriterGone(j.First()); err != nil {
		return x, err
	}
	q.Durable(j.Durable())
	for {
		ms, err := q.Tail(64)
		if err != nil {
			return x, fmt.Errorf("tail: %w", err)
		}
		if len(ms) == 0 {
			break
		}
	}
	if err := x.list(q); err != nil {
		return x, err
	}
	if err := x.drops(queue, j); err != nil {
		return x, err
	}
	if es, _ := os.ReadDir(queue + "/corrupt"); len(es) > 0 {
		return x, fmt.Errorf("corrupt/%s", es[0].Name())
	}
	return x, x.mailboxes(dir + "/mail")
}

func (x *found) list(q *spool.Queue) error {
	s := q.Snapshot()
	defer s.Close()
	for {
		it, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if len(it.Recipients) == 0 && it.More == 0 {
			continue // all crossed off while it was tailed
		}
		c, err := q.Cat(it)
		if err != nil {
			return fmt.Errorf("content of %s: %w", it.ID, err)
		}
		content, err := io.ReadAll(c)
		c.Close()
		if err != nil {
			return fmt.Errorf("content of %s: %w", it.ID, err)
		}
		var to []string
		for _, r := range it.Recipients {
			to = append(to, string(r.Address))
		}
		x.queued(to, content)
		if id, _, err := ledger.Identify(content); err == nil && it.Queue == spool.InHold {
			x.held[id] = true
		}
	}
}

// drops reads maildrop/ as cleanup does: what the journal has is no second message.
func (x *found) drops(queue string, j *journal.Journal) error {
	es, err := os.ReadDir(filepath.Join(queue, maildrop.Dir))
	if err != nil {
		return err
	}
	for _, e := range es {
		if _, seen := j.SeenMaildrop(e.Name()); seen || maildrop.Temporary(e.Name()) {
			continue
		}
		f, err := os.Open(filepath.Join(queue, maildrop.Dir, e.Name()))
		if err != nil {
			return err
		}
		r := maildrop.NewReader(f)
		s, err := r.Submission()
		var content, piece []byte
		for err == nil {
			if piece, err = r.Next(); err == nil {
				content = append(content, piece...)
			}
		}
		f.Close()
		if errors.Is(err, maildrop.ErrIncomplete) {
			continue // postdrop did not finish it, and said so to nobody
		}
		if err != io.EOF {
			return fmt.Errorf("%s/%s: %w", maildrop.Dir, e.Name(), err)
		}
		var to []string
		for _, a := range s.Recipients {
			to = append(to, string(a))
		}
		x.queued(to, content)
	}
	return nil
}

// mailboxes reads all that a reader of mail would see.
func (x *found) mailboxes(dir string) error {
	names, err := filepath.Glob(dir + "/*/new/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		r := filepath.Base(filepath.Dir(filepath.Dir(name))) + "@" + instance.Domain
		x.ledger.Found(r, b)
		if id, _, err := ledger.Identify(b); err == nil {
			at := st.ModTime()
			k := ledger.Key{Message: id, Recipient: r}
			if x.boxes[k] != nil {
				x.problems = append(x.problems, fmt.Errorf("%s is twice in the mailbox", k))
			}
			x.boxes[k] = &at
		}
	}
	return nil
}

// judge compares what is found after the cut with what has to be. It returns how many
// deliveries will be repeated, and how old the oldest of them was.
func (x *found) judge(h *history, pos int, at time.Time, deleted, held map[string]bool) (again int, oldest time.Duration, err error) {
	bad := x.problems
	complain := func(f string, a ...any) { bad = append(bad, fmt.Errorf(f, a...)) }
	v := x.ledger.Judge()
	if err := v.Err(); err != nil {
		bad = append(bad, err)
	}
	for id := range deleted {
		if x.queue[id] {
			complain("%s was deleted and is in the queue", id)
		}
	}
	for id, sure := range held {
		if sure && x.queue[id] && !x.held[id] {
			complain("%s was put on hold and is not", id)
		}
	}
	before := h.before(pos)
	repeat := func(k ledger.Key, since time.Time) {
		again++
		age := at.Sub(since)
		oldest = max(oldest, age)
		if age > window {
			complain("%s was delivered %v before the cut, and will be again", k, age)
		}
	}
	for k, n := range x.keys {
		if n > 1 {
			complain("%s is queued %d times", k, n)
		}
		if since, ok := before[k]; ok {
			repeat(k, since)
		}
		if since := x.boxes[k]; since != nil {
			repeat(k, *since)
		}
		if x.reports[k] > 0 {
			complain("%s is queued, and so is the report that it failed", k)
		}
	}
	for k, n := range x.reports {
		if n > 1 {
			complain("%s: %d reports are queued", k, n)
		}
		if since, ok := before[k]; ok {
			repeat(k, since)
		}
	}
	return again, oldest, errors.Join(bad...)
}
