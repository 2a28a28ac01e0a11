package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// rig is a spool on a model disk, with a clock that only the test moves, and a
// little cleanup.
type rig struct {
	t    testing.TB
	disk *disk.Model
	wall time.Time
	mono time.Duration
	q    *Queue
	w    *writer

	echoes int // how many errors due may meet that tell of a fault that is over
	o      Options
	ids    mail.IDs
	logs   []string
	seen   *Witness // how far the spool was when it was certain last
	copy   bool     // it may be a copy from before
	freed  []string
}

func newRig(t testing.TB, seed uint64) *rig {
	r := &rig{t: t, disk: disk.NewModel(seed), wall: time.Unix(1_750_000_000, 0)}
	r.o = Options{FS: r.disk, LogSize: 256 << 10, RunSlots: 64, MarkSyncDelay: -1,
		Now:     func() time.Time { return r.wall },
		Mono:    func() time.Duration { return r.mono },
		Logf:    func(f string, a ...any) { r.logs = append(r.logs, fmt.Sprintf(f, a...)) },
		OnFreed: func(name string) { r.freed = append(r.freed, name) }}
	r.start()
	return r
}

// start opens the spool as qmgr does, and begins a fresh journal file.
func (r *rig) start() {
	r.t.Helper()
	r.o.Witness = r.seen
	from := len(r.logs)
	q, err := Open(r.o)
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.q = q
	if q.restored.is && !r.copy {
		r.t.Fatalf("what was never copied is taken for a copy: %q", r.logs[from:])
	}
	if err := q.WriterGone(0); err != nil {
		r.t.Fatalf("sealing the journal: %v", err)
	}
	r.w = &writer{r: r}
}

// stop ends the goroutines of a queue whose disk is gone.
func (r *rig) stop() {
	r.q.dead = true
	r.q.end()
}

func (r *rig) pass(d time.Duration) { r.wall, r.mono = r.wall.Add(d), r.mono+d }

// powerCut ends everything and starts it again.
func (r *rig) powerCut() {
	r.t.Helper()
	r.stop()
	r.disk.PowerCut()
	r.start()
}

func (r *rig) kill() {
	r.t.Helper()
	r.settle() // of what was handed to the committer, all is written
	r.disk.Kill()
	r.stop()
	r.start()
}

// settle commits and waits until all is written and nothing goes on behind.
func (r *rig) settle() {
	r.t.Helper()
	q := r.q
	deadline := time.Now().Add(20 * time.Second)
	for again := true; again; {
		q.Commit()
		done := false
		q.ahead.bg.do(func() { q.bg.do(func() { q.post(func() { done = true }) }) })
		again = q.ckpt.making || q.ckpt.busy
		for !done || !q.log.failed && q.log.written < q.log.seq {
			select {
			case f := <-q.Events():
				f()
			case <-time.After(10 * time.Millisecond):
				if r.disk.Stopped() {
					return
				}
				if time.Now().Before(deadline) {
					continue
				}
				r.t.Fatalf("the queue does not settle: written %d of %d, failed %v", q.log.written, q.log.seq, q.log.failed)
			}
		}
		again = (again || q.ckpt.making || q.ckpt.busy || q.Reading()) && !r.disk.Stopped()
	}
	r.note()
}

// note remembers how far the spool is.
func (r *rig) note() {
	if w, ok := r.q.Witness(); ok {
		r.seen = &w
	}
}

func (r *rig) sync() {
	r.t.Helper()
	done := false
	r.q.Sync(func(err error) {
		if err != nil && !r.q.dead {
			r.t.Fatalf("sync: %v", err)
		}
		done = true
	})
	r.q.Commit()
	deadline := time.Now().Add(20 * time.Second)
	for !done && !r.disk.Stopped() {
		select {
		case f := <-r.q.Events():
			f()
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				r.t.Fatal("no sync")
			}
		}
	}
	r.note()
}

// checkpoint makes one now.
func (r *rig) checkpoint() {
	r.t.Helper()
	r.settle()
	n := r.q.log.file.number
	r.q.ckpt.due = true
	for range 5 {
		r.settle()
		if r.q.log.file.number > n {
			return
		}
	}
	r.t.Fatal("no checkpoint")
}

// read waits for what is read in the background. False: nothing is.
func (r *rig) read() bool {
	was := r.q.Reading()
	for deadline := time.Now().Add(20 * time.Second); r.q.Reading(); {
		select {
		case f := <-r.q.Events():
			f()
		case <-time.After(time.Until(deadline)):
			r.t.Fatal("what is read does not come")
		}
	}
	return was
}

func (r *rig) tail() []*Message {
	r.t.Helper()
	var all []*Message
	for {
		ms, err := r.q.Tail(7)
		if err != nil {
			r.t.Fatalf("tail: %v", err)
		}
		if len(ms) == 0 {
			return all
		}
		all = append(all, ms...)
	}
}

func (r *rig) due() []*Message {
	r.t.Helper()
	var all []*Message
	for {
		ms, err := r.q.Due(7)
		if err != nil && r.echoes > 0 {
			r.echoes--
			continue
		}
		if err != nil {
			r.t.Fatalf("due: %v", err)
		}
		at, ok := r.q.NextDue()
		if all = append(all, ms...); len(ms) == 0 && (!ok || at.After(r.q.clock.spool)) && !r.read() {
			return all
		}
	}
}

// defer_ puts all unfinished recipients off.
func (r *rig) deferAll(m *Message, in time.Duration) {
	s := m.State
	s.Groups = nil
	g := Group{Due: r.q.Now().Add(in), Attempts: 1, Status: mail.Status{DSN: "4.4.1", Text: "no answer from " + string(m.Envelope.ID)}}
	for n := range m.Envelope.Recipients {
		if !s.Done.Has(uint32(n)) {
			g.Recipients = append(g.Recipients, uint32(n))
		}
	}
	s.Groups = []Group{g}
	r.q.Put(m, s)
}

func ids(ms []*Message) []string {
	var s []string
	for _, m := range ms {
		s = append(s, string(m.Envelope.ID))
	}
	slices.Sort(s)
	return s
}

func (r *rig) expect(what string, got []*Message, want ...string) {
	r.t.Helper()
	slices.Sort(want)
	if g := ids(got); !slices.Equal(g, want) {
		r.t.Fatalf("%s: got %v, want %v\nlog: %q", what, g, want, r.logs)
	}
}

func (r *rig) items() map[string]*Item {
	r.t.Helper()
	s := r.q.Snapshot()
	defer s.Close()
	all := make(map[string]*Item)
	for {
		it, err := s.Next()
		if err == io.EOF || err != nil && r.disk.Stopped() {
			return all
		}
		if err != nil {
			r.t.Fatalf("listing: %v", err)
		}
		if all[string(it.ID)] != nil {
			r.t.Fatalf("%s is listed twice", it.ID)
		}
		all[string(it.ID)] = it
	}
}

func (r *rig) targets(ids ...string) []Target {
	r.t.Helper()
	all := r.items()
	var ts []Target
	for _, id := range ids {
		if all[id] == nil {
			r.t.Fatalf("%s is not in the queue", id)
		}
		ts = append(ts, all[id].Target)
	}
	return ts
}

func (r *rig) corrupt() []string {
	es, _ := r.disk.ReadDir(dirCorrupt)
	var s []string
	for _, e := range es {
		s = append(s, e.Name())
	}
	return s
}

// writer is cleanup: it writes and syncs content files.
type writer struct {
	r      *rig
	f      disk.File
	enc    *slot.Encoder
	number uint64
	limit  int64 // of a file
}

func (w *writer) fresh() {
	t := w.r.t
	es, err := w.r.disk.ReadDir(dirIncoming)
	if err != nil {
		t.Fatal(err)
	}
	top, name := uint64(0), ""
	for _, e := range es {
		f, err := w.r.disk.OpenFile(dirIncoming+"/"+e.Name(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		h, err := slot.ReadHeader(f)
		f.Close()
		if err == nil {
			top = max(top, h.Number)
			if h.Kind == slot.Free {
				name = e.Name()
			}
		}
	}
	prev := slot.Seal{File: w.number}
	if w.enc != nil {
		prev.Length = w.enc.End()
		w.f.Sync()
	}
	w.number = top + 1
	if name == "" {
		name = fmt.Sprintf("%08d", w.number)
	}
	w.f, err = w.r.disk.OpenFile(dirIncoming+"/"+name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := slot.Header{Kind: slot.Content, Number: w.number, Key: slot.NewKey(), Created: w.r.wall.UnixMicro()}
	if err := errors.Join(slot.WriteHeader(w.f, h), w.f.Sync(), w.r.disk.SyncDir(dirIncoming)); err != nil {
		t.Fatal(err)
	}
	w.enc = slot.NewEncoder(h)
	if prev.File != 0 {
		rec := slot.Record{Type: slot.TypeSeal, Envelope: slot.AppendSeals(nil, []slot.Seal{prev})}
		w.enc.Append(&rec)
	}
}

// add writes a message without syncing it.
func (w *writer) add(e *mail.Envelope, content []byte) {
	if w.enc == nil || w.limit > 0 && w.enc.End() > w.limit {
		w.fresh()
	}
	rec := slot.Record{Type: slot.TypeMessage, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: content}
	if err := w.enc.Append(&rec); err != nil {
		w.r.t.Fatal(err)
	}
	b, off := w.enc.Batch()
	if _, err := w.f.WriteAt(b, off); err != nil {
		w.r.t.Fatal(err)
	}
	w.enc.Written()
}

func (w *writer) sync() {
	if w.enc == nil {
		return
	}
	if err := w.f.Sync(); err != nil {
		w.r.t.Fatal(err)
	}
	w.enc.Synced(w.enc.End())
	w.r.q.Durable(slot.Position{File: w.number, Offset: w.enc.End()})
}

// send makes one message with so many recipients durable.
func (r *rig) send(rcpts int) string {
	e := r.envelope(rcpts)
	r.w.add(e, []byte("content of "+string(e.ID)))
	r.w.sync()
	return string(e.ID)
}

func (r *rig) envelope(rcpts int) *mail.Envelope {
	e := &mail.Envelope{ID: r.ids.Next(r.wall), Sender: "s@example.com", Size: 20, Arrival: r.wall}
	for n := range rcpts {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: mail.Address(fmt.Sprintf("r%d@example.net", n))})
	}
	return e
}
