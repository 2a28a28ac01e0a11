package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/slot"
	"postrider/lib/spool"
	"postrider/test/ledger"
)

type ref = slot.Ref

const traceLines = 400

// world is a disk, the two processes that write the spool, and all that is
// outside: senders, recipients, an operator, a clock.
type world struct {
	t      testing.TB
	rnd    *rand.Rand
	disk   *disk.Model
	micros atomic.Int64 // since the beginning
	ids    mail.IDs
	ledger ledger.Ledger

	letters map[mail.QueueID]*letter
	order   []*letter
	refs    map[mail.QueueID]ref // as far as qmgr has seen

	cleanup *process
	journal *journal.Journal
	qmgr    *process
	q       *spool.Queue
	open    []*work // messages that qmgr has in memory

	acts    uint64 // decisions logged so far
	written uint64 // of those, what a kill cannot undo
	synced  uint64 // and what a power cut cannot
	faults  bool   // calls may fail
	echo    bool   // what was read ahead while they did may tell of it still, each record once
	stays   int    // so often a fault outlives the wish that it were gone
	script  bool   // the test plants the faults; none comes by chance

	mu      sync.Mutex
	durable slot.Position // as cleanup said last

	logs  []string
	trace []string
	step  int
	seen  *spool.Witness // how far the queue is, as somebody outside knows
}

var beginning = time.Unix(1_750_000_000, 0)

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 77)), disk: disk.NewModel(seed),
		letters: map[mail.QueueID]*letter{}, refs: map[mail.QueueID]ref{}}
	w.startQmgr()
	w.startCleanup()
	w.greet()
	return w
}

func (w *world) now() time.Time               { return beginning.Add(w.mono()) }
func (w *world) mono() time.Duration          { return time.Duration(w.micros.Load()) * time.Microsecond }
func (w *world) pass(d time.Duration)         { w.micros.Add(d.Microseconds()) }
func (w *world) note(format string, a ...any) { w.trace = append(w.trace, w.line(format, a...)) }
func (w *world) line(f string, a ...any) string {
	return fmt.Sprintf("%d: ", w.step) + fmt.Sprintf(f, a...)
}

func (w *world) log(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, fmt.Sprintf(format, a...))
}

func (w *world) fail(format string, a ...any) {
	w.t.Helper()
	w.mu.Lock()
	logs := w.logs[max(0, len(w.logs)-10):]
	w.mu.Unlock()
	w.t.Fatalf("step %d: %s\ntrace:\n%s\nlog: %q", w.step, fmt.Sprintf(format, a...),
		strings.Join(w.trace[max(0, len(w.trace)-traceLines):], "\n"), logs)
}

// stopped says that qmgr cannot go on.
func (w *world) stopped() bool { return w.disk.Stopped() || w.qmgr.killed() }

// startCleanup begins a fresh journal file. False: the power failed meanwhile.
func (w *world) startCleanup() bool {
	w.cleanup = &process{FS: w.disk}
	j, err := starting(w, func() (*journal.Journal, error) {
		return journal.Open(journal.Options{FS: w.cleanup, FileSize: 24 << 10, InlineLimit: 4 << 10, Spares: 1,
			Now: w.now, Logf: w.log, OnDurable: w.isDurable})
	})
	if err != nil {
		if !w.disk.Stopped() {
			w.fail("journal: %v", err)
		}
		return false
	}
	w.journal = j
	return true
}

func (w *world) isDurable(p slot.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.durable = p
}

// startQmgr recovers the queue. False: the power failed meanwhile.
func (w *world) startQmgr() bool {
	w.qmgr = &process{FS: w.disk}
	q, err := starting(w, func() (*spool.Queue, error) {
		return spool.Open(spool.Options{FS: w.qmgr, LogSize: 24 << 10, RunSlots: 8, MarkSyncDelay: -1, CheckpointEvery: time.Hour, Witness: w.seen,
			Now: w.now, Mono: w.mono, Logf: w.log, OnFreed: func(name string) { w.journal.Recycle(name) }})
	})
	if err != nil {
		if !w.disk.Stopped() {
			w.fail("spool: %v", err)
		}
		return false
	}
	w.q, w.open = q, nil
	w.acts, w.written, w.synced = 0, 0, 0
	return true
}

// greet is cleanup's hello to qmgr: its files begin at First. Everything that is
// durable is tailed before anything else happens.
func (w *world) greet() {
	p := w.journal.Durable()
	w.isDurable(p)
	_, err := starting(w, func() (struct{}, error) { return struct{}{}, w.q.WriterGone(w.journal.First()) })
	if err != nil && !w.stopped() {
		w.fail("sealing the journal: %v", err)
	}
	w.q.Durable(p)
	for w.tail(16) > 0 {
	}
}

// act counts a decision that was just logged.
func (w *world) act() uint64 {
	w.acts++
	return w.acts
}

// turn ends a turn of qmgr's loop.
func (w *world) turn() {
	acts := w.acts
	w.q.Written(func() { w.written = max(w.written, acts) })
	w.q.Commit()
	if seen, ok := w.q.Witness(); ok {
		w.seen = &seen // of no history is it ahead, else all would be on hold
	}
	for {
		select {
		case f := <-w.q.Events():
			f()
			continue
		default:
		}
		return
	}
}

// until runs qmgr's loop until ok, or until it is dead.
func (w *world) until(what string, ok func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !ok() && !w.stopped(); {
		select {
		case f := <-w.q.Events():
			f()
		case <-time.After(time.Millisecond):
			if w.faults { // a disk that fails for ever is not what is tested here
				w.heal()
			}
			w.pass(2 * time.Second) // so that what failed is tried again
			w.turn()
			if time.Now().After(deadline) {
				w.fail("never: %s", what)
			}
		}
	}
}

// sync makes everything logged durable; what comes behind it is told.
func (w *world) sync() {
	acts, done := w.acts, false
	w.q.Sync(func(err error) {
		if done = true; err == nil {
			w.synced, w.written = max(w.synced, acts), max(w.written, acts)
		}
	})
	w.turn()
	w.until("synced", func() bool { return done })
}

// heal takes faults away, unless they are to stay for a while.
func (w *world) heal() {
	if w.stays > 0 {
		w.stays--
		return
	}
	w.disk.Heal()
	w.echo = w.echo || w.faults
	w.faults = false
}

// repair takes faults away for certain.
func (w *world) repair() {
	w.stays = 0
	w.heal()
}

// lenient says that qmgr may be told of an error.
func (w *world) lenient() bool { return w.faults || w.script }

// starting does what a start needs, as master does: a program that ends with an error is
// started again, until the fault is gone.
func starting[T any](w *world, f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err == nil || !w.faults || w.stopped() {
			return v, err
		}
		w.heal()
		w.pass(2 * time.Second)
	}
}

// submit sends letters at the same time and waits for the answers.
func (w *world) submit(ls ...*letter) {
	errs := make([]error, len(ls))
	var wg sync.WaitGroup
	for i, l := range ls {
		wg.Add(1)
		w.append(l, func(err error) { errs[i] = err; wg.Done() })
	}
	wg.Wait()
	doubt := false
	for i, l := range ls {
		switch err := errs[i]; {
		case err == nil:
			l.fate = taken
			if l.original == nil {
				w.ledger.Acked(string(l.id), l.addrs(nil)...)
			}
		case errors.Is(err, journal.ErrSync), errors.Is(err, journal.ErrFull):
			l.fate = refused
			if l.original == nil {
				w.ledger.Rejected(string(l.id), l.addrs(nil)...)
			}
		default:
			doubt = true
			if l.original == nil {
				w.ledger.Unknown(string(l.id), l.addrs(nil)...)
			}
		}
		w.note("sent %s of %d bytes: %v", l.id, len(l.content), errs[i])
	}
	w.mu.Lock()
	p := w.durable
	w.mu.Unlock()
	w.q.Durable(p)
	if doubt && !w.stopped() { // cleanup ends, and the next one shows what is there
		w.crash(justCleanup)
	}
}
