package spool

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// realRig is a spool on the real disk, with n tailed messages in journal files of
// 64 MiB.
func realRig(t testing.TB, n int) (*Queue, Options, []*Message) {
	dir, err := os.MkdirTemp("/var/tmp", "spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := Options{FS: disk.OS(dir), Logf: t.Logf}
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	w := journalWriter{t: t, fs: o.FS}
	var ids mail.IDs
	content := make([]byte, 500)
	for range n {
		e := &mail.Envelope{ID: ids.Next(time.Now()), Sender: "sender@example.com", Size: 500, Arrival: time.Now(),
			Recipients: []mail.Recipient{{Address: "recipient@example.net"}}}
		w.add(&slot.Record{Type: slot.TypeMessage, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: content})
	}
	w.write()
	w.f.Sync()
	q.Durable(slot.Position{File: w.number, Offset: w.enc.End()})
	all := make([]*Message, 0, n)
	for len(all) < n {
		ms, err := q.Tail(1000)
		if err != nil || len(ms) == 0 {
			t.Fatalf("tailed %d: %v", len(all), err)
		}
		all = append(all, ms...)
		turn(q)
	}
	return q, o, all
}

// journalWriter writes journal files of 64 MiB.
type journalWriter struct {
	t      testing.TB
	fs     disk.FS
	f      disk.File
	enc    *slot.Encoder
	number uint64
}

func (w *journalWriter) add(r *slot.Record) {
	if w.enc == nil || w.enc.End() > 64<<20 {
		if w.enc != nil {
			w.enc.Seal()
			w.write()
			w.f.Sync()
			w.f.Close()
		}
		w.number++
		h := slot.Header{Kind: slot.Content, Number: w.number, Key: slot.NewKey()}
		var err error
		if w.f, err = w.fs.OpenFile(fmt.Sprintf("incoming/%06d", w.number), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			w.t.Fatal(err)
		}
		slot.WriteHeader(w.f, h)
		w.enc = slot.NewEncoder(h)
	}
	if err := w.enc.Append(r); err != nil {
		w.t.Fatal(err)
	}
	if b, _ := w.enc.Batch(); len(b) > 1<<20 {
		w.write()
	}
}

func (w *journalWriter) write() {
	b, off := w.enc.Batch()
	if _, err := w.f.WriteAt(b, off); err != nil {
		w.t.Fatal(err)
	}
	w.enc.Written()
}

func turn(q *Queue) {
	q.Commit()
	for {
		select {
		case f := <-q.Events():
			f()
			continue
		default:
		}
		return
	}
}

// BenchmarkDefer defers over an hour, through log and wheel, synced every 20 ms.
func BenchmarkDefer(b *testing.B) {
	n := max(b.N, 1000)
	q, _, ms := realRig(b, n)
	st := mail.Status{DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}
	g := []Group{{Recipients: []uint32{0}, Attempts: 1, Status: st}}
	b.ReportAllocs()
	b.ResetTimer()
	now := q.Now()
	before := q.Stats()
	for i := range b.N {
		g[0].Due = now.Add(5*time.Minute + time.Duration(i%3600)*time.Second)
		q.Put(ms[i], State{Since: now, Groups: g})
		if i%50 == 49 {
			turn(q)
		}
	}
	done := false
	q.Sync(func(error) { done = true })
	q.Commit()
	q.wait(func() bool { return done })
	b.StopTimer()
	s := q.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(s.LogBytes-before.LogBytes+s.RunBytes-before.RunBytes)/float64(b.N), "disk-B/msg")
	q.Close()
}

// BenchmarkOpen opens a spool with 100,000 deferred messages that was killed.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	q, o, ms := realRig(b, n)
	now := q.Now()
	for i, m := range ms {
		g := []Group{{Recipients: []uint32{0}, Attempts: 1, Due: now.Add(time.Duration(i%3600) * time.Second), Status: mail.Status{DSN: "4.4.1", Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}}}
		q.Put(m, State{Since: now, Groups: g})
		if i%50 == 49 {
			turn(q)
		}
	}
	ms = nil
	done := false
	q.Sync(func(error) { done = true })
	q.Commit()
	q.wait(func() bool { return done })
	q.dead = true
	q.end()
	q = nil
	var first time.Duration
	for b.Loop() {
		runtime.GC()
		var a, z runtime.MemStats
		runtime.ReadMemStats(&a)
		start := time.Now()
		q, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		runtime.GC()
		runtime.ReadMemStats(&z)
		if first == 0 { // the later ones find a checkpoint
			first = took
			b.ReportMetric(took.Seconds()*1000, "ms/first-open")
		}
		b.ReportMetric(float64(int64(z.HeapAlloc)-int64(a.HeapAlloc))/1e6, "MB")
		if s := q.Stats(); s.Deferred != n {
			b.Fatal(fmt.Sprint(s))
		}
		b.StopTimer()
		q.wait(func() bool { return !q.ckpt.busy && !q.ckpt.making })
		q.dead = true
		q.end()
		b.StartTimer()
	}
}
