package spool

import (
	"container/list"
	"errors"
	"io/fs"
	"sync"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Queue is an open spool. Its methods are the owner's, unless they say otherwise.
type Queue struct {
	o      Options
	fs     disk.FS
	clock  clock
	events chan func()
	log    logWriter
	bg     background
	ahead  ahead

	contents map[uint64]*contentFile // by number
	stores   map[uint64]*storeFile
	moved    sync.Map // content file to *storeFile, for Cat
	runs     map[uint64]*run
	open     map[slot.Ref]*Message
	parked   map[slot.Ref]waiting // without a state record, see Park
	marks    map[slot.Ref]Set     // done since the last PUT, by message
	strikes  map[slot.Ref]int

	tail  tailState
	wheel wheel
	hold  holdState
	space space
	ckpt  checkpoints

	files     fileCache
	stats     Stats
	wal       struct{ clock time.Time } // when spool time was logged last
	dead      bool                      // closed
	steps     int                       // of the wall clock
	replaying bool                      // what is dead is not given back yet
	rebuilt   bool                      // there was no checkpoint at the start
	identity  uint64                    // of this spool, when it was opened; 0: it had none
	renamed   uint64                    // the identity it was given then
	restored  restored                  // it is a copy from before
	strays    []stray                   // state records to be filed then
	buf       []byte                    // for one state record
	rbuf      []byte                    // for reading
}

// Now returns spool time: never backwards, near the wall clock unless that
// was stepped (spool.md, "Time").
func (q *Queue) Now() time.Time {
	t, stepped := q.clock.now()
	if stepped {
		q.steps++
		q.o.Logf("the wall clock was stepped: schedule and age go on without the step (spool time %s)", t.UTC().Format(time.RFC3339))
		q.logClock()
	}
	return t
}

// Steps returns how often the wall clock was stepped since Open.
func (q *Queue) Steps() int { return q.steps }

// Wall translates spool time into wall time, for display.
func (q *Queue) Wall(t time.Time) time.Time { return t.Add(-q.clock.offset) }

func (q *Queue) clockEntry(b []byte) []byte {
	q.wal.clock = q.clock.spool
	return appendClock(b, q.clock.spool.UnixMicro(), q.clock.offset.Microseconds())
}

func (q *Queue) logClock() { q.log.end(q.clockEntry(q.log.begin())) }

// Events gives functions that the owner has to run in its own goroutine,
// one after another, as soon as it can.
func (q *Queue) Events() <-chan func() { return q.events }

// post lets another goroutine have f run in the owner's.
func (q *Queue) post(f func()) { q.events <- f }

// wait runs events until cond holds.
func (q *Queue) wait(cond func() bool) {
	for !cond() {
		(<-q.events)()
	}
}

// Written calls f when everything logged so far is written, so that a kill of
// qmgr cannot undo it: agents are acknowledged then. It implies no sync. f may
// be called before Written returns.
func (q *Queue) Written(f func()) {
	l := &q.log
	seq := l.last()
	if seq <= l.written {
		f()
		return
	}
	l.onWritten = append(l.onWritten, waiter{seq, func(err error) {
		if err == nil {
			f()
		}
	}})
}

// Sync calls f when everything logged so far is durable, with nil. While the
// log cannot be written f waits; its only error is ErrClosed. f may be called
// before Sync returns.
func (q *Queue) Sync(f func(error)) {
	l := &q.log
	seq := l.last()
	if seq <= l.durable {
		f(nil)
		return
	}
	l.onSynced = append(l.onSynced, waiter{seq, f})
	l.wanted = true
}

// Commit ends a turn of the owner's loop: what was logged in it goes to the
// committer, and housekeeping that is due is done a step further. To be
// called after each turn in which another method was called, and at least once
// a minute.
func (q *Queue) Commit() {
	now := q.Now()
	q.findOrphans()
	q.sweepHold()
	q.leftoverStep()
	q.compactStep(now)
	q.freeStep()
	if len(q.log.cur.entries) > 0 && now.Sub(q.wal.clock) >= clockLogged {
		q.logClock()
	}
	q.log.commit()
	q.rotate(now)
	if q.log.wanted && !q.log.failed {
		q.log.wanted = false
		q.log.c.flush()
	}
}

// background does slow work on the disk, one job after another, in a
// goroutine of its own.
type background struct {
	mu   sync.Mutex
	wake sync.Cond
	jobs list.List
	end  bool
	done chan struct{}
}

func (b *background) start() {
	b.wake.L = &b.mu
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		for {
			b.mu.Lock()
			for b.jobs.Len() == 0 && !b.end {
				b.wake.Wait()
			}
			if b.jobs.Len() == 0 {
				b.mu.Unlock()
				return
			}
			f := b.jobs.Remove(b.jobs.Front()).(func())
			b.mu.Unlock()
			f()
		}
	}()
}

// do queues a job. It must not touch what is the owner's.
func (b *background) do(f func()) {
	b.mu.Lock()
	b.jobs.PushBack(f)
	b.mu.Unlock()
	b.wake.Signal()
}

func (b *background) stop() {
	b.mu.Lock()
	b.end = true
	b.mu.Unlock()
	b.wake.Signal()
}

// Close writes what is buffered and a last checkpoint, syncs, and ends the
// goroutines. It blocks. Messages that are open stay unfinished on disk. The
// error says that the log could not be made durable.
func (q *Queue) Close() error {
	if q.dead {
		return ErrClosed
	}
	q.dead = true
	q.logClock()
	q.log.commit()
	var err error
	done := false
	q.Sync(func(e error) { err, done = e, true })
	q.log.wanted = false
	q.log.c.flush()
	q.wait(func() bool { return done || q.log.failed })
	if !done {
		err = ErrLog
	} else {
		q.closingCheckpoint()
	}
	q.end()
	return err
}

// end stops the goroutines and closes the files.
func (q *Queue) end() {
	q.log.c.close()
	q.bg.stop()
	q.ahead.bg.stop()
	for _, done := range []chan struct{}{q.log.c.done, q.bg.done, q.ahead.bg.done} {
		q.drain(done)
	}
	for _, w := range q.log.onSynced {
		w.f(ErrClosed)
	}
	q.log.onSynced, q.log.onWritten = nil, nil
	q.ckpt.spare.close()
	for _, r := range q.runs {
		r.close()
	}
	q.tail.close()
	q.files.close()
}

// drain runs events until done is closed and none is left.
func (q *Queue) drain(done chan struct{}) {
	for {
		select {
		case f := <-q.events:
			f()
			continue
		default:
		}
		select {
		case f := <-q.events:
			f()
		case <-done:
			if len(q.events) == 0 {
				return
			}
		}
	}
}

// notExist says that a file is not there, which is no error where two are
// removing it.
func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
