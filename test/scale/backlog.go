package scale

import (
	"fmt"
	"hash/fnv"
	"io"
	"sync/atomic"
	"time"

	"postrider/lib/disk"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// Letter is a message of a backlog, of 500 bytes.
type Letter struct {
	To      []mail.Address
	Arrival time.Time
	// Due is when it is to be tried again. The zero time is mail that qmgr has not seen
	// yet, as after a crash.
	Due      time.Time
	Attempts uint32
	Status   mail.Status // of the last attempt
	Dest     uint64      // what qmgr writes of the destination (Dest), or 0
}

// Dest is the hash of a destination as qmgr puts it into state records.
func Dest(transport, name string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, transport+"\x00"+name)
	return h.Sum64() | 1
}

// Content is what the letters say.
var content = append([]byte("Subject: backlog\r\n\r\n"), make([]byte, 480)...)

// Fill puts n letters into the spool at queue, which nobody uses meanwhile. They go the
// way of all mail: a journal is written, then a queue follows it and files what is
// deferred.
func Fill(queue string, n int, letter func(i int) Letter) error {
	fs := disk.OS(queue)
	quiet := func(string, ...any) {}
	open := func() (*spool.Queue, error) { return spool.Open(spool.Options{FS: fs, Logf: quiet}) }
	q, err := open() // makes the directories
	if err != nil {
		return err
	}
	if err := q.Close(); err != nil {
		return err
	}
	if err := write(fs, n, letter); err != nil {
		return err
	}
	if q, err = open(); err != nil {
		return err
	}
	if err := file(q, n, letter); err != nil {
		q.Close()
		return err
	}
	return q.Close()
}

// write is cleanup's half.
func write(fs disk.FS, n int, letter func(int) Letter) error {
	j, err := journal.Open(journal.Options{FS: fs, Logf: func(string, ...any) {}})
	if err != nil {
		return err
	}
	var (
		ids    mail.IDs
		failed atomic.Pointer[error]
	)
	for i := range n {
		l := letter(i)
		e := &mail.Envelope{ID: ids.Next(l.Arrival), Sender: "sender@example.com", Size: int64(len(content)), Arrival: l.Arrival}
		for _, to := range l.To {
			e.Recipients = append(e.Recipients, mail.Recipient{Address: to})
		}
		j.Append(&journal.Message{Envelope: e, Content: content}, func(_ slot.Ref, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	err = j.Close()
	if e := failed.Load(); e != nil {
		err = *e
	}
	return err
}

// file is qmgr's half.
func file(q *spool.Queue, n int, letter func(int) Letter) error {
	if err := q.WriterGone(0); err != nil {
		return err
	}
	for i := 0; i < n; {
		if letter(i).Due.IsZero() {
			return nil // from here on it is qmgr's
		}
		batch, err := q.Tail(min(64, n-i))
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return fmt.Errorf("%d of %d letters are in the journal", i, n)
		}
		for _, m := range batch {
			put(q, m, letter(i))
			i++
		}
		for len(q.Events()) > 0 {
			(<-q.Events())()
		}
		q.Commit()
	}
	done := false
	q.Sync(func(error) { done = true })
	for q.Commit(); !done; {
		(<-q.Events())()
	}
	return nil
}

func put(q *spool.Queue, m *spool.Message, l Letter) {
	s := m.State
	s.Since, s.Dest = l.Arrival, l.Dest
	g := spool.Group{Due: l.Due, Attempts: l.Attempts, Status: l.Status}
	for r := range l.To {
		g.Recipients = append(g.Recipients, uint32(r))
	}
	s.Groups = []spool.Group{g}
	q.Put(m, s)
}
