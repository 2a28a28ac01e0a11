package spool

import (
	"cmp"
	"sync"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mutant"
)

// logFile is one file of the log while it can be written.
type logFile struct {
	number  uint64
	key     uint64
	name    string
	f       disk.File
	durable int64 // owner: synced up to here
	end     int64 // owner: all that was given to the committer ends here
}

// job is bytes to be written; its end counts as sequence number seq.
type job struct {
	file  *logFile
	off   int64
	b     []byte
	seq   uint64
	again bool // first of a file that begins with everything that is not durable
	head  int  // of that, the bytes to be written last: the record that says where older files end
}

// committer writes and syncs the log in a goroutine of its own, in the order
// it is asked to, and tells the owner. Once a file failed it is left alone for
// good, and everything else is dropped until the owner begins again.
type committer struct {
	delay time.Duration
	post  func(func())
	owner logOwner

	mu      sync.Mutex
	wake    sync.Cond
	jobs    []job
	spare   []job
	sync    bool
	closing bool
	done    chan struct{}
}

// logOwner is what the committer tells, in the owner's goroutine.
type logOwner interface {
	logWritten(seq uint64)
	logSynced(file *logFile, seq uint64, upto int64)
	logFailed(file *logFile, err error)
	logLeft(file *logFile) // the committer will not touch it any more
}

func newCommitter(delay time.Duration, post func(func()), o logOwner) *committer {
	c := &committer{delay: delay, post: post, owner: o, done: make(chan struct{})}
	c.wake.L = &c.mu
	go c.run()
	return c
}

// write queues a job.
func (c *committer) write(j job) {
	c.mu.Lock()
	c.jobs = append(c.jobs, j)
	c.mu.Unlock()
	c.wake.Signal()
}

// flush asks for a sync behind all that is queued.
func (c *committer) flush() {
	c.mu.Lock()
	c.sync = true
	c.mu.Unlock()
	c.wake.Signal()
}

// close ends the goroutine after what is queued is written and synced.
func (c *committer) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.wake.Signal()
}

func (c *committer) run() {
	defer close(c.done)
	var w logTarget
	w.c = c
	var timer *time.Timer
	for {
		c.mu.Lock()
		for len(c.jobs) == 0 && !c.sync && !c.closing {
			c.wake.Wait()
		}
		jobs, sync, closing := c.jobs, c.sync, c.closing
		c.jobs, c.spare, c.sync = c.spare[:0], nil, false
		c.mu.Unlock()

		for i := range jobs {
			w.write(&jobs[i])
			jobs[i] = job{}
		}
		if len(jobs) > 0 && !w.bad {
			seq := w.seq
			c.post(func() { c.owner.logWritten(seq) })
		}
		c.mu.Lock()
		c.spare = jobs[:0]
		c.mu.Unlock()

		if sync || closing {
			w.sync()
		}
		switch {
		case !w.dirty && timer != nil:
			timer.Stop()
			timer = nil
		case w.dirty && timer == nil && c.delay >= 0:
			timer = time.AfterFunc(c.delay, c.flush)
		}
		if closing {
			if timer != nil {
				timer.Stop()
			}
			w.leave()
			return
		}
	}
}

// logTarget is the file the committer writes to.
type logTarget struct {
	c     *committer
	file  *logFile
	bad   bool // it failed
	dirty bool // it has unsynced bytes
	seq   uint64
	upto  int64
}

func (w *logTarget) write(j *job) {
	if w.bad && !j.again {
		return
	}
	if j.file != w.file {
		w.sync() // the older file is durable before the newer one gets a byte
		if w.bad && !j.again {
			return
		}
		w.leave()
		w.file, w.bad, w.dirty = j.file, false, false
	}
	// Before older logs end earlier by a word of this one, this one has what they said.
	err := error(nil)
	if mutant.On(mutant.HeadFirst) {
		j.head = 0
	}
	if j.head > 0 {
		_, err = w.file.f.WriteAt(j.b[j.head:], j.off+int64(j.head))
	}
	if err == nil {
		_, err = w.file.f.WriteAt(j.b[:cmp.Or(j.head, len(j.b))], j.off)
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.dirty, w.seq, w.upto = true, j.seq, j.off+int64(len(j.b))
}

func (w *logTarget) sync() {
	if w.bad || !w.dirty {
		return
	}
	if !mutant.On(mutant.LogUnsynced) {
		if err := w.file.f.Sync(); err != nil {
			w.fail(err)
			return
		}
	}
	w.dirty = false
	f, seq, upto := w.file, w.seq, w.upto
	w.c.post(func() { w.c.owner.logSynced(f, seq, upto) })
}

func (w *logTarget) fail(err error) {
	w.bad, w.dirty = true, false
	f := w.file
	w.c.post(func() { w.c.owner.logFailed(f, err) })
}

func (w *logTarget) leave() {
	if f := w.file; f != nil {
		w.c.post(func() { w.c.owner.logLeft(f) })
	}
}
