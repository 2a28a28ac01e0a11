package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// twin is the simplest spool there could be: a map. Since the log is one
// sequence, after a power cut the real one must be as the twin was after some
// operation since the last sync.
type twin struct {
	*rig
	rnd      *rand.Rand
	all      map[string]*twinMail
	past     []string       // fingerprints since the last sync
	maybe    map[string]int // written, not synced; recipients
	ever     map[string]int // recipients
	size     map[string]int // of the content
	parkedAt []Parked
	quiet    bool // the power is about to fail: nothing is sent
	step     int
	trace    []string
}

type twinMail struct {
	rcpts   int
	done    Set
	crossed bool         // by mail that may not be tailed yet
	dues    [3]time.Time // of recipients; zero: never deferred
	held    bool
	ref     slot.Ref
}

func (w *twin) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%d: ", w.step)+fmt.Sprintf(format, a...))
	w.past = append(w.past, w.print())
}

func line(id string, held bool, dues [3]time.Time, left []uint32) string {
	var d []int64
	for _, n := range left {
		d = append(d, max(0, dues[n].Unix()))
	}
	return fmt.Sprintf("%s held=%v %v due %d\n", id, held, left, d)
}

func (w *twin) print() string {
	var ls []string
	for id, m := range w.all {
		if left := m.left(); len(left) > 0 {
			ls = append(ls, line(id, m.held, m.dues, left))
		}
	}
	slices.Sort(ls)
	return strings.Join(ls, "")
}

func (m *twinMail) left() []uint32 {
	var left []uint32
	for n := range uint32(m.rcpts) {
		if !m.done.Has(n) {
			left = append(left, n)
		}
	}
	return left
}

// real is the same of the spool, which has been tailed.
func (w *twin) real() string {
	var ls []string
	for id, it := range w.items() {
		var left []uint32
		for _, r := range it.Recipients {
			left = append(left, r.Number)
		}
		slices.Sort(left)
		held := w.q.IsHeld(it.Ref)
		if len(left) > 0 && w.maybe[id] == 0 {
			ls = append(ls, line(id, held, dues(it), left))
		}
	}
	slices.Sort(ls)
	return strings.Join(ls, "")
}

func (m *twinMail) early(now time.Time) bool {
	for _, n := range m.left() {
		if !m.dues[n].After(now) {
			return false
		}
	}
	return len(m.left()) > 0 && !m.crossed
}

func dues(it *Item) (d [3]time.Time) {
	for _, r := range it.Recipients {
		d[r.Number] = r.Due
	}
	return d
}

func (w *twin) fail(format string, a ...any) {
	w.t.Helper()
	w.t.Fatalf("step %d: %s\ntrace:\n%s\nlog: %q", w.step, fmt.Sprintf(format, a...), strings.Join(w.trace[max(0, len(w.trace)-60):], "\n"), w.logs)
}

// recovered compares after a crash and makes the twin what the spool is.
func (w *twin) recovered(cut bool) {
	w.t.Helper()
	w.tail()
	for id, n := range w.maybe { // nobody was told of these: both is right
		if it := w.items()[id]; it != nil {
			w.all[id] = &twinMail{rcpts: n, ref: it.Ref}
			for i := range w.past {
				w.past[i] = addLine(w.past[i], line(id, false, [3]time.Time{}, w.all[id].left()))
			}
		}
		delete(w.maybe, id)
	}
	got := w.real()
	if !cut && got != w.past[len(w.past)-1] || !slices.Contains(w.past, got) {
		near := w.past[len(w.past)-1]
		for _, p := range w.past {
			if cut && differ(got, p) < differ(got, near) {
				near = p
			}
		}
		w.fail("after a crash (power %v) there is\n%swhich is none of %d states, the nearest being\n%s", cut, got, len(w.past), near)
	}
	w.past, w.parkedAt = nil, nil
	w.all = make(map[string]*twinMail)
	for id, it := range w.items() {
		m := &twinMail{rcpts: w.ever[id], ref: it.Ref}
		w.all[id] = m
		m.done, m.held, m.dues = nil, w.q.IsHeld(it.Ref), dues(it)
		for n := range uint32(m.rcpts) {
			if !slices.ContainsFunc(it.Recipients, func(r ItemRecipient) bool { return r.Number == n }) {
				m.done.Add(n)
			}
		}
	}
	w.note("recovered")
	for _, name := range w.corrupt() {
		w.fail("corrupt/%s after crashes alone", name)
	}
}

func differ(a, b string) int {
	n := 0
	for _, l := range strings.SplitAfter(a+b, "\n") {
		if !strings.Contains(a, l) || !strings.Contains(b, l) {
			n++
		}
	}
	return n
}

func addLine(s, l string) string {
	ls := append(strings.SplitAfter(s, "\n"), l)
	slices.Sort(ls)
	return strings.Join(ls, "")
}

func (w *twin) pick(f func(string, *twinMail) bool) (string, *twinMail) {
	var ids []string
	for id, m := range w.all {
		if f(id, m) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", nil
	}
	slices.Sort(ids)
	id := ids[w.rnd.IntN(len(ids))]
	return id, w.all[id]
}

func (w *twin) opened() (string, *twinMail, *Message) {
	id, m := w.pick(func(_ string, m *twinMail) bool { return w.q.IsOpen(m.ref) != nil && w.q.alive(m.ref) })
	if m == nil {
		return "", nil, nil
	}
	return id, m, w.q.IsOpen(m.ref)
}

// admitted learns where messages are.
func (w *twin) admitted(ms []*Message) {
	for _, m := range ms {
		id := string(m.Envelope.ID)
		if t := w.all[id]; t != nil {
			t.ref = m.Ref
		} else {
			w.fail("%s came out of nowhere", id)
		}
	}
}

func (w *twin) operate() {
	w.step++
	switch k := w.rnd.IntN(100); {
	case k < 18 && len(w.all) < 60 && !w.quiet:
		w.durable()
		e := w.envelope(1 + w.rnd.IntN(3))
		m := &twinMail{rcpts: len(e.Recipients)}
		if old, t := w.pick(func(_ string, m *twinMail) bool { return m.ref.File != 0 && len(m.left()) > 0 }); t != nil && k < 4 {
			left := t.left()
			t.crossed = true
			e.Replaces = mail.Replaces{ID: mail.QueueID(old), File: t.ref.File, Slot: t.ref.Slot, Recipients: left[:1+w.rnd.IntN(len(left))]}
			for _, n := range e.Replaces.Recipients {
				t.done.Add(n)
			}
		}
		w.size[string(e.ID)] = w.rnd.IntN(6000)
		w.w.add(e, make([]byte, w.size[string(e.ID)]))
		w.ever[string(e.ID)] = m.rcpts
		if w.maybe[string(e.ID)] = m.rcpts; k > 12 {
			w.trace = append(w.trace, fmt.Sprintf("%d: wrote %s", w.step, e.ID))
			return
		}
		w.w.sync()
		for id, n := range w.maybe {
			w.all[id] = &twinMail{rcpts: n}
		}
		w.maybe = map[string]int{}
		w.all[string(e.ID)] = m
		w.note("sent %s replacing %v %v", e.ID, e.Replaces.ID, e.Replaces.Recipients)
		w.past = w.past[len(w.past)-1:] // whatever becomes of the log
	case k < 30:
		ms, err := w.q.Tail(1 + w.rnd.IntN(10))
		if err == nil {
			w.admitted(ms)
		}
		w.trace = append(w.trace, fmt.Sprintf("%d: tailed %v, %v", w.step, ids(ms), err))
	case k < 40:
		if id, t, m := w.opened(); m != nil && len(t.left()) > 0 {
			n := t.left()[w.rnd.IntN(len(t.left()))]
			w.q.Done(m.Ref, n)
			t.done.Add(n)
			w.note("done %s %d", id, n)
		}
	case k < 58:
		if id, t, m := w.opened(); m != nil {
			s := m.State
			s.Groups = nil
			now := w.q.Now()
			var due time.Time
			for n := range uint32(t.rcpts) {
				if t.done.Has(n) { // some of them unknown to m: marks know
					continue
				}
				d := now.Add(time.Duration(w.rnd.IntN(400)-10) * time.Minute / time.Duration(1+w.rnd.IntN(50))).Truncate(time.Millisecond)
				t.dues[n] = d
				s.Groups = append(s.Groups, Group{Recipients: []uint32{n}, Due: d, Attempts: 1})
				if due.IsZero() || d.Before(due) {
					due = d
				}
			}
			if len(s.Groups) == 0 {
				delete(w.all, id)
				w.q.Finish(m)
			} else {
				w.q.Put(m, s)
			}
			w.note("put %s until %v", id, due)
		}
	case k < 63:
		if id, _, m := w.opened(); m != nil {
			w.q.Finish(m)
			delete(w.all, id)
			w.note("finish %s", id)
		}
	case k < 66:
		w.park()
	case k < 68:
		w.unpark()
		fallthrough
	case k < 70:
		w.pass(time.Duration(w.rnd.IntN(20)) * time.Minute)
		fallthrough
	case k < 78:
		ms, err := w.q.Due(1 + w.rnd.IntN(20))
		now := w.q.clock.spool
		for _, m := range ms {
			if c, _, err := w.q.ReadContent(m, nil); (err != nil || len(c) != w.size[string(m.Envelope.ID)]) && !w.disk.Stopped() {
				w.fail("content of %s: %d bytes, %v", m.Envelope.ID, len(c), err)
			}
			t := w.all[string(m.Envelope.ID)]
			if t == nil || t.held || !m.Flushed && t.early(now) {
				w.fail("%s is given out, which is %+v", m.Envelope.ID, t)
			}
		}
		w.trace = append(w.trace, fmt.Sprintf("%d: due %v, %v", w.step, ids(ms), err))
	case k < 86:
		its := w.items()
		var ts []Target
		var names []string
		verb := w.rnd.IntN(5)
		for id, it := range its {
			if t := w.all[id]; t != nil && w.rnd.IntN(6) == 0 {
				ts, names = append(ts, it.Target), append(names, id)
				switch verb {
				case 0, 3:
					t.held = true
				case 1, 4:
					t.held = false
				case 2:
					delete(w.all, id)
				}
			}
		}
		switch verb {
		case 0, 3:
			w.q.Hold(ts)
		case 1, 4:
			w.q.Release(ts)
		case 2:
			w.q.Delete(ts)
		}
		// Several entries, of which a part may be lost: make it certain.
		w.note("verb %d for %v", verb, names)
		w.durable()
	case k < 87:
		w.q.Flush()
		w.trace = append(w.trace, fmt.Sprintf("%d: flush", w.step))
	case k < 92:
		w.sync()
		if !w.disk.Stopped() {
			w.past = w.past[len(w.past)-1:]
		}
	case k < 96:
		w.q.Commit()
	default:
		w.q.ckpt.due = true
		w.settle()
	}
	for len(w.q.Events()) > 0 {
		(<-w.q.Events())()
	}
}

// durable makes what was done certain.
func (w *twin) durable() {
	if w.sync(); !w.disk.Stopped() {
		w.past = w.past[len(w.past)-1:]
	}
}

// envSteps asks for a longer TestModel: that many steps, "1000000".
const envSteps = "POSTRIDER_MODEL_STEPS"

// TestModel does what may happen to a queue, at random, and compares it with a simple
// model in memory. A step is one operation of the owner's, of cleanup's or of an operator's
// (tail, attempt, done, defer, finish, hold, release, delete, flush, a minute that passes),
// or of one that a fault runs into; between the steps come kills, power cuts that keep any
// part of what was not synced, in any order and torn, calls that fail, and checkpoints. The
// order of steps follows from the seed; when the goroutines behind (the committer, the
// reader) have their turns, and with that the call at which a power cut or a fault strikes,
// does not.
func TestModel(t *testing.T) {
	seeds, want := 60, 0
	switch v := os.Getenv(envSteps); {
	case v != "":
		var err error
		if want, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", envSteps, err)
		}
		seeds = want/440 + 1 // a history has about 465 steps
	case testing.Short():
		seeds = 10
	}
	var compacted, steps atomic.Int64
	t.Run("histories", func(t *testing.T) {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				c, n := runModel(t, seed, 250)
				compacted.Add(int64(c))
				steps.Add(int64(n))
			})
		}
	})
	if compacted.Load() == 0 {
		t.Error("nothing was compacted")
	}
	if steps.Load() < int64(want) && !t.Failed() {
		t.Errorf("%d steps only", steps.Load())
	}
	t.Logf("%d steps in %d histories, %d content files compacted", steps.Load(), seeds, compacted.Load())
}

func runModel(t *testing.T, seed uint64, steps int) (compacted, done int) {
	r := newRig(t, seed)
	r.q.Close()
	r.o.LogSize, r.o.RunSlots, r.o.StoreSize = 32<<10, 8, 64<<10
	r.start()
	r.w.limit = 64 << 10
	w := &twin{rig: r, rnd: rand.New(rand.NewPCG(seed, 1)), all: make(map[string]*twinMail), maybe: make(map[string]int), ever: make(map[string]int), size: make(map[string]int)}
	w.note("start")
	for range steps {
		w.operate()
		switch w.rnd.IntN(40) {
		case 0:
			w.trace = append(w.trace, fmt.Sprintf("%d: power cut", w.step))
			compacted += w.q.Stats().Compacted
			w.powerCut()
			w.recovered(true)
		case 1:
			w.trace = append(w.trace, fmt.Sprintf("%d: kill", w.step))
			compacted += w.q.Stats().Compacted
			w.kill()
			w.recovered(false)
		case 3, 4:
			f := disk.Fault{Op: []disk.Op{disk.OpSync, disk.OpWrite, disk.OpSyncDir}[w.rnd.IntN(3)], After: w.rnd.IntN(4), Err: syscall.EIO,
				Prefix: []string{dirLog, dirDeferred, dirHold, dirStore}[w.rnd.IntN(4)]}
			w.trace = append(w.trace, fmt.Sprintf("%d: fault %v", w.step, f))
			w.disk.Fail(f)
			for range 10 {
				w.operate()
			}
			w.disk.Heal()
			w.echoes = 2 * askedMax // what was read ahead during the fault tells of it when it is asked for
			w.pass(2 * retryDelay)
			w.settle()
			w.disk.Evict()
		case 2:
			w.trace = append(w.trace, fmt.Sprintf("%d: power fails soon", w.step))
			w.quiet = true
			w.disk.StopAfter(w.rnd.IntN(30))
			for range 15 {
				w.operate()
			}
			w.disk.StopAfter(-1)
			w.quiet = false
			w.powerCut()
			w.recovered(true)
		}
		w.w.limit = 64 << 10
	}
	// Everything comes out in the end.
	w.q.Release(w.targetsHeld())
	w.settle()
	w.tail()
	for i := range 2000 {
		w.pass(10 * time.Minute)
		w.unpark()
		w.due()
		for _, m := range w.q.open {
			delete(w.all, string(m.Envelope.ID))
			w.q.Finish(m)
		}
		if len(w.all) == 0 && i > 60 { // a deleted one leaves its run when that is read
			break
		}
	}
	for id, m := range w.all {
		if len(m.left()) > 0 {
			w.fail("%s never came out: %+v", id, m)
		}
	}
	w.sync()
	for range 6 {
		w.checkpoint()
		w.sync()
	}
	w.settle()
	if s := w.q.Stats(); s.Deferred+s.Held+s.Open != 0 || s.ContentFiles > 1 {
		w.fail("left over: %+v", s)
	}
	if es, _ := w.disk.ReadDir(dirStore); len(es) > 1 {
		w.fail("store/ has %v: %+v %+v", es, w.q.Stats(), w.q.space.freeing)
	}
	compacted += w.q.Stats().Compacted
	if err := w.q.Close(); err != nil {
		t.Error(err)
	}
	return compacted, w.step
}

func (w *twin) targetsHeld() []Target {
	var ts []Target
	for id, it := range w.items() {
		if t := w.all[id]; t != nil && t.held {
			ts = append(ts, it.Target)
		}
	}
	return ts
}
