package qmgr

import (
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	libagent "postrider/lib/agent"
	"postrider/lib/disk"
	libjournal "postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// counting is a queue directory that counts what is written to it.
type counting struct {
	disk.FS
	bytes atomic.Int64
}

func (c *counting) OpenFile(name string, flag int, perm iofs.FileMode) (disk.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

type countingFile struct {
	disk.File
	c *counting
}

func (f *countingFile) WriteAt(p []byte, off int64) (int, error) {
	if slices.ContainsFunc(p, func(c byte) bool { return c != 0 }) { // zeros are a log made in advance, whenever that comes
		f.c.bytes.Add(int64(len(p)))
	}
	return f.File.WriteAt(p, off)
}

// submitAll makes many messages durable at once.
func (s *site) submitAll(n int, rcpt string) {
	s.t.Helper()
	var wg sync.WaitGroup
	for range n {
		env := &mail.Envelope{ID: s.ids.Next(time.Now()), Arrival: time.Now(), Sender: "a@b.test", Recipients: to(rcpt), Size: 2}
		wg.Add(1)
		s.journal.Append(&libjournal.Message{Envelope: env, Content: []byte("\r\n")}, func(_ slot.Ref, err error) {
			if err != nil {
				s.t.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

// A flush makes everything due and is bounded by the active queue: what its destination
// has no room for is parked and nothing of it is written. A destination that dies again
// is tried as often as that takes; the rest is deferred again without an attempt.
func TestFlushBounded(t *testing.T) {
	const mails, room = 3000, 50
	s := newSite(t, "minimal_backoff_time = 1000s", "maximal_backoff_time = 1000s", "initial_destination_concurrency = 2", "default_destination_concurrency_limit = 2",
		fmt.Sprintf("qmgr_message_active_limit = %d", room), fmt.Sprintf("qmgr_message_recipient_limit = %d", room))
	s.kill()
	fs := &counting{FS: disk.OS(s.dir)}
	s.fs = fs
	s.start()
	dead := mail.Status{Class: mail.Deferred, DSN: "4.4.1", Text: "connect to x: refused"}
	refused := func(r *libagent.Request) proto.Result {
		res := all(r, dead)
		res.Hop = dead
		return res
	}
	s.set(refused)
	s.submitAll(mails, "r@x.test")
	deferred := func() int { return ask(s.m, func() int { return s.m.spool.Stats().Deferred - s.m.spool.Stats().Open }) }
	s.until("all deferred", func() bool { return deferred() == mails })

	// It hangs now: two are in hand, some are active, the rest is parked.
	before := s.attemptsInAll()
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	t.Cleanup(open)
	s.set(func(r *libagent.Request) proto.Result { <-release; return refused(r) })
	synced := make(chan error, 1)
	s.m.post(func() {
		s.m.spool.Snapshot().Close() // what was deferred is written to its run
		s.m.spool.Sync(func(err error) { synced <- err })
	})
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
	bytes := fs.bytes.Load()
	q := s.operator()
	if _, err := q.Do(&proto.Verb{Kind: proto.VerbFlush}); err != nil {
		t.Fatal(err)
	}
	parked := func() (n int) {
		return ask(s.m, func() (n int) {
			for _, l := range s.m.parking.lists {
				n += l.n
			}
			return n + len(s.m.active)
		})
	}
	s.until("all due", func() bool { return parked() == mails && s.attemptsInAll() >= before+2 })
	if n := ask(s.m, func() int { return len(s.m.active) }); n > room {
		t.Errorf("%d messages are active", n)
	}
	if n := s.attemptsInAll() - before; n != 2 {
		t.Errorf("%d attempts, not 2", n)
	}
	wrote := fs.bytes.Load() - bytes
	t.Logf("a flush of %d messages for a blocked destination wrote %d bytes", mails, wrote)
	if wrote > 100*mails { // state records would be some 450 bytes each
		t.Errorf("%d bytes written", wrote)
	}

	open() // both fail, and the destination is dead again
	s.until("all deferred again", func() bool { return parked() == 0 && deferred() == mails })
	if n := s.attemptsInAll() - before; n > 4 {
		t.Errorf("%d attempts at a dead destination", n)
	}
	ask(s.m, func() error { return nil })
	wrote = fs.bytes.Load() - bytes
	t.Logf("deferring all again wrote %d bytes, %d a message", wrote, wrote/mails)
}
