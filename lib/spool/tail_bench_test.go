package spool

import (
	"os"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// BenchmarkTail is the way of a message of 4 KB that is delivered at the first attempt:
// read from the journal, its content asked for, finished.
func BenchmarkTail(b *testing.B) {
	dir, err := os.MkdirTemp("/var/tmp", "spool")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	fs := disk.OS(dir)
	q, err := Open(Options{FS: fs, Logf: b.Logf})
	if err != nil {
		b.Fatal(err)
	}
	n := max(b.N, 100)
	w := journalWriter{t: b, fs: fs}
	var ids mail.IDs
	content := make([]byte, 4400)
	for range n {
		e := &mail.Envelope{ID: ids.Next(time.Now()), Sender: "sender@example.com", Size: int64(len(content)), Arrival: time.Now(),
			Recipients: []mail.Recipient{{Address: "recipient@example.net"}}}
		w.add(&slot.Record{Type: slot.TypeMessage, ID: e.ID, Envelope: mail.AppendEnvelope(nil, e), Content: content})
	}
	w.write()
	w.f.Sync()
	q.Durable(slot.Position{File: w.number, Offset: w.enc.End()})
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < n; {
		ms, err := q.Tail(8) // a batch of twenty sessions
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range ms {
			if _, _, err := q.ReadContent(m, buf); err != nil {
				b.Fatal(err)
			}
			q.Finish(m)
			done++
		}
		turn(q)
	}
	b.StopTimer()
	q.Close()
}
