//go:build figures

package spool

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// figures is how many messages, and hours, are measured. What comes out is recorded
// in doc/reliability.md.
func figures(t *testing.T) (n, hours int) {
	n, err := strconv.Atoi(os.Getenv("POSTRIDER_FIGURES"))
	if err != nil {
		t.Fatalf("POSTRIDER_FIGURES is to be a number of messages: %v", err)
	}
	if hours, _ = strconv.Atoi(os.Getenv("POSTRIDER_FIGURES_HOURS")); hours == 0 {
		hours = 120
	}
	return n, hours
}

// backlog is a spool with many deferred messages, on a clock that runs ahead.
type backlog struct {
	t      *testing.T
	q      *Queue
	o      Options
	dir    string
	start  time.Time
	mono   time.Duration
	living int // messages
	puts   int64
	record int64 // bytes of a message in the journal
	worst  float64
	told   float64
}

func newBacklog(t *testing.T, n int) *backlog {
	q, o, ms := realRig(t, n)
	b := &backlog{t: t, q: q, o: o, dir: fmt.Sprint(o.FS), start: time.Now(), living: n}
	q.o.OnFreed = func(name string) { o.FS.Remove(dirIncoming + "/" + name) } // as cleanup does with what it needs no more
	b.record = diskUse(t, filepath.Join(b.dir, "incoming")) / int64(n)
	q.clock.mono = func() time.Duration { return time.Since(b.start) + b.mono }
	q.clock.wall = func() time.Time { return b.start.Add(time.Since(b.start) + b.mono) }
	b.o.Now, b.o.Mono = q.clock.wall, q.clock.mono
	for i, m := range ms {
		b.put(m)
		if i%200 == 199 {
			turn(q)
		}
		ms[i] = nil
	}
	return b
}

// put defers a message with Postfix's times.
func (b *backlog) put(m *Message) {
	delay := []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 66*time.Minute + 40*time.Second}
	s, attempts := m.State, 0
	if len(s.Groups) > 0 {
		attempts = int(s.Groups[0].Attempts)
	}
	s.Groups = []Group{{Recipients: []uint32{0}, Attempts: uint32(attempts + 1), Due: b.q.Now().Add(delay[min(attempts, len(delay)-1)]),
		Status: mail.Status{DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}}}
	b.q.Put(m, s)
	b.puts++
}

// run lets so many hours pass, in which of each so many attempts one delivers (0: none).
func (b *backlog) run(hours, one int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	for b.mono < time.Duration(hours)*time.Hour {
		out, err := b.q.Due(1000)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, m := range out {
			if one > 0 && r.IntN(one) == 0 {
				b.q.Finish(m)
				b.living--
			} else {
				b.put(m)
			}
		}
		turn(b.q)
		if at, ok := b.q.NextDue(); len(out) > 0 || ok && !at.After(b.q.Now()) {
			continue
		}
		b.settle() // what takes real time is given it
		if b.mono += time.Minute; b.mono%(10*time.Minute) == 0 {
			b.look()
		}
	}
}

// settle waits for what goes on behind.
func (b *backlog) settle() {
	done := false
	b.q.Sync(func(error) { b.q.bg.do(func() { b.q.post(func() { done = true }) }) })
	b.q.Commit()
	b.q.wait(func() bool { return done && !b.q.space.compacting })
}

// look compares what is on the disk with what lives: contents and envelopes, and the
// state records that say what is known of them.
func (b *backlog) look() {
	s := b.q.Stats()
	state := s.RunBytes / b.puts
	use := diskUse(b.t, b.dir)
	content, states := int64(b.living)*b.record, int64(b.living)*state
	part := float64(use-256<<20) / float64(content+states)
	if hour := b.mono % (12 * time.Hour); part > max(b.worst, b.told+0.05) || hour == 0 {
		b.told = max(b.worst, part)
		b.t.Logf("%v: %d living messages (%d MB of content, %d MB of state), %d MB in use: %.2f times + 256 MiB, %.2f times content alone; incoming %d, store %d, deferred %d, log %d MB",
			b.mono, b.living, content>>20, states>>20, use>>20, part, float64(use-256<<20)/float64(content),
			diskUse(b.t, b.dir+"/incoming")>>20, diskUse(b.t, b.dir+"/store")>>20, diskUse(b.t, b.dir+"/deferred")>>20, diskUse(b.t, b.dir+"/log")>>20)
	}
	b.worst = max(b.worst, part)
}

// report logs what came out and checks it.
func (b *backlog) report(hours int) {
	s := b.q.Stats()
	b.t.Logf("%d deferrals in %d simulated hours, %v: %d bytes of log and %d of runs each; %d files compacted; disk use at most %.2f times what lives, and 256 MiB", b.puts, hours,
		time.Since(b.start).Round(time.Second), s.LogBytes/b.puts, s.RunBytes/b.puts, s.Compacted, b.worst)
	if b.worst > 1.4 {
		b.t.Errorf("more than 1.4 times the living bytes and 256 MiB")
	}
	if (s.LogBytes+s.RunBytes)/b.puts > 2000 {
		b.t.Error("more than 2 KB written for each deferral")
	}
}

// kill ends the program without an orderly stop.
func (b *backlog) kill() {
	b.q.Sync(func(error) {})
	b.q.Commit()
	b.q.wait(func() bool { return !b.q.ckpt.busy && !b.q.ckpt.making })
	b.q.dead = true
	b.q.end()
}

// open starts it again, with nothing in the page cache, within a limit.
func (b *backlog) open(what string, limit time.Duration) {
	syscall.Sync()
	cold := "cold"
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		cold = fmt.Sprintf("warm (%v)", err)
	}
	start := time.Now()
	var err error
	if b.q, err = Open(b.o); err != nil {
		b.t.Fatal(err)
	}
	took := time.Since(start)
	if err := b.q.WriterGone(0); err != nil { // as when cleanup is there again
		b.t.Fatal(err)
	}
	if ms, err := b.q.Tail(1); err != nil || len(ms) > 0 {
		b.t.Fatalf("tailed %d, %v", len(ms), err)
	}
	b.t.Logf("%s, %s: %v", what, cold, took.Round(time.Millisecond))
	if took > limit {
		b.t.Errorf("more than %v", limit)
	}
	if s := b.q.Stats(); s.Deferred != b.living {
		b.t.Errorf("%d deferred messages of %d", s.Deferred, b.living)
	}
}

// find looks for some messages by id, one at a time.
func (b *backlog) find() {
	s, n := b.q.Snapshot(), 0
	var ids []string
	for it, err := s.Next(); err == nil && len(ids) < 20; it, err = s.Next() {
		if n++; n%(b.living/20) == 1 {
			ids = append(ids, string(it.ID))
		}
	}
	s.Close()
	var all, worst, first time.Duration
	for i, id := range ids {
		start := time.Now()
		s := b.q.Find([]string{id})
		if it, err := s.Next(); err != nil || string(it.ID) != id {
			b.t.Errorf("%s is not found: %v", id, err)
		}
		if _, err := s.Next(); err != io.EOF {
			b.t.Errorf("%s is found twice: %v", id, err)
		}
		s.Close()
		took := time.Since(start)
		if all += took; i == 0 {
			first, all = took, 0
		} else {
			worst = max(worst, took)
		}
	}
	b.t.Logf("one id among %d: %v, at most %v, the first %v", b.living, (all / time.Duration(len(ids)-1)).Round(time.Microsecond), worst.Round(time.Microsecond), first.Round(time.Microsecond))
	if worst > 100*time.Millisecond {
		b.t.Error("more than 100 ms to find one message")
	}
}

// dropLogs loses all checkpoints and logs.
func (b *backlog) dropLogs() {
	es, _ := os.ReadDir(filepath.Join(b.dir, "log"))
	for _, e := range es {
		os.Remove(filepath.Join(b.dir, "log", e.Name()))
	}
}

// TestFiguresBacklog: nothing is delivered, everything is tried and deferred again.
func TestFiguresBacklog(t *testing.T) {
	n, hours := figures(t)
	b := newBacklog(t, n)
	b.find()
	b.run(hours, 0, 1)
	b.report(hours)
	b.kill()
	b.open("start after a kill", time.Second)
	b.find()
	b.kill()
	b.dropLogs()
	b.open("rebuild without checkpoints and logs", 5*time.Minute)
	b.kill()
}

// TestFiguresDecline: of each forty attempts one delivers, so that holes come about
// everywhere.
func TestFiguresDecline(t *testing.T) {
	n, hours := figures(t)
	b := newBacklog(t, n)
	b.run(hours, 40, 1)
	b.report(hours)
	b.kill()
	b.open("start after a kill", time.Second)
	b.kill()
}

// TestFiguresLarge: 20,000 messages with a file in content/ each.
func TestFiguresLarge(t *testing.T) {
	const n = 20000
	b := &backlog{t: t, dir: t.TempDir(), start: time.Now(), living: n}
	b.o = Options{FS: disk.OS(b.dir), Logf: t.Logf}
	var err error
	if b.q, err = Open(b.o); err != nil {
		t.Fatal(err)
	}
	w := journalWriter{t: t, fs: b.o.FS}
	var ids mail.IDs
	content := make([]byte, 4096)
	for range n {
		e := &mail.Envelope{ID: ids.Next(time.Now()), Sender: "sender@example.com", Size: int64(len(content)), Arrival: time.Now(),
			Recipients: []mail.Recipient{{Address: "recipient@example.net"}}}
		if err := os.WriteFile(filepath.Join(b.dir, dirContent, string(e.ID)), content, 0o600); err != nil {
			t.Fatal(err)
		}
		w.add(&slot.Record{Type: slot.TypeMessage, Flags: slot.FlagLarge, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e),
			Content: slot.AppendLarge(nil, slot.Large{Size: int64(len(content)), CRC: 1})})
	}
	w.write()
	b.q.Durable(slot.Position{File: w.number, Offset: w.enc.End()})
	for left := n; left > 0; {
		ms, err := b.q.Tail(1000)
		if err != nil || len(ms) == 0 {
			t.Fatal(err)
		}
		left -= len(ms)
		for _, m := range ms {
			b.put(m)
		}
		turn(b.q)
	}
	b.kill()
	b.open("start with 20,000 files in content/", time.Second)
	b.kill()
	b.dropLogs()
	b.open("rebuild with 20,000 files in content/", time.Minute)
	b.kill()
}

func diskUse(t *testing.T, dir string) (sum int64) {
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if i, err := e.Info(); err == nil {
				sum += i.Size()
			}
		}
		return nil
	})
	return sum
}
