package maillog

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// linger is how long lines gather when the last write was only just now.
	// The first line after a pause is written at once.
	linger = 10 * time.Millisecond
	// retry is the pause after a failed write.
	retry = time.Second
	// patience is how long Close and Flush wait for a log that is stuck.
	patience = time.Second
	// yield is how long one who logs waits for room when lines come faster than
	// they are written. Once that was in vain nobody waits until a write succeeds,
	// so a stuck log costs this much once.
	yield = 50 * time.Millisecond
	// pipeBuf is what a pipe takes in one piece among several writers.
	pipeBuf = 4096
)

// ring is the bounded buffer between those who log and the goroutine that
// writes. Nobody but that goroutine ever waits for an output that does not take
// what it is given.
type ring struct {
	notice func(lost uint64) []byte // renders the line about lost ones

	mu      sync.Mutex
	buf     []byte // whole lines
	max     int
	lost    uint64
	closed  bool
	last    lastLines     // of which each comes behind what others say of its message
	order   *Order        // or nil
	ticket  uint64        // of the oldest line in buf, for order; 0 when there is none
	writing bool          // order still has the ticket of what is being written
	awake   bool          // the writer has been told that there is something
	stuck   bool          // waiting for room was in vain since the last write that succeeded
	room    chan struct{} // nil while nobody waits for room; closed when the buffer was taken
	out     *os.File
	kind    Kind

	datagrams atomic.Bool // kind is Syslog
	wake      chan struct{}
	full      chan struct{} // more than half of the buffer is used: do not linger
	opened    chan struct{}
	timer     *time.Timer // of gather
	flushes   chan chan struct{}
	closing   chan struct{}
	done      chan struct{}
}

func newRing(max int, notice func(uint64) []byte) *ring {
	r := &ring{notice: notice, max: max,
		full: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), opened: make(chan struct{}, 1),
		flushes: make(chan chan struct{}), closing: make(chan struct{}), done: make(chan struct{})}
	r.timer = time.NewTimer(0)
	r.timer.Stop()
	go r.write()
	return r
}

func (r *ring) syslog() bool { return r.datagrams.Load() }

// put takes one line, or counts it as lost when there is no room and the output
// does not make any. One that is last waits for what processes of a higher rank have
// to say before.
func (r *ring) put(b []byte, last bool) {
	r.mu.Lock()
	if r.used()+len(b) > r.max && !r.closed && !r.stuck && r.out != nil && len(b) <= r.max {
		r.await(len(b))
	}
	if r.closed || r.used()+len(b) > r.max {
		r.lost++
		r.mu.Unlock()
		return
	}
	if last && r.order != nil {
		r.last.fresh = append(r.last.fresh, b...)
	} else {
		if len(r.buf) == 0 {
			r.draw()
		}
		r.buf = append(r.buf, b...)
	}
	rouse := !r.awake
	r.awake = true
	half := r.used() > r.max/2
	r.mu.Unlock()
	if rouse {
		signal(r.wake)
	}
	if half {
		signal(r.full)
	}
}

func (r *ring) used() int { return len(r.buf) + len(r.last.fresh) + len(r.last.held) }

// draw gives the lines that are going to wait their place in the order.
func (r *ring) draw() {
	if r.order == nil {
		return
	}
	r.ticket = r.order.draw()
	if !r.writing {
		r.order.say(r.ticket)
	}
}

// join has the lines that come from now on keep the order.
func (r *ring) join(o *Order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = o
	if len(r.buf) > 0 {
		r.draw()
	}
}

// await waits until there is room for n bytes, or it was in vain. r.mu is held, but
// not while waiting.
func (r *ring) await(n int) {
	t := time.NewTimer(yield)
	defer t.Stop()
	for r.used()+n > r.max && !r.closed && !r.stuck {
		if r.room == nil {
			r.room = make(chan struct{})
		}
		room := r.room
		r.mu.Unlock()
		signal(r.full)
		select {
		case <-room:
			r.mu.Lock()
		case <-t.C:
			r.mu.Lock()
			r.stuck = r.used()+n > r.max
		}
	}
}

func (r *ring) open(f *os.File, kind Kind) {
	r.mu.Lock()
	old := r.out
	r.out, r.kind = f, kind
	r.mu.Unlock()
	r.datagrams.Store(kind == Syslog)
	if old != nil {
		old.Close()
	}
	signal(r.opened)
	signal(r.wake)
}

func (r *ring) flush() {
	late := time.NewTimer(patience)
	defer late.Stop()
	reply := make(chan struct{})
	select {
	case r.flushes <- reply:
	case <-r.done:
		return
	case <-late.C:
		return
	}
	select {
	case <-reply:
	case <-r.done:
	case <-late.C:
	}
}

func (r *ring) close() {
	r.mu.Lock()
	already := r.closed
	r.closed = true
	r.mu.Unlock()
	if !already {
		close(r.closing)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
	}
}

// write is the writer's goroutine.
func (r *ring) write() {
	defer close(r.done)
	var (
		spare []byte
		last  time.Time
		ended bool
	)
	for !ended {
		var reply chan struct{}
		select {
		case <-r.wake:
			if pause := linger - time.Since(last); pause > 0 {
				reply = r.gather(pause)
			}
		case reply = <-r.flushes:
		case <-r.closing:
		}
		select {
		case <-r.closing:
			ended = true
		default:
		}
		b, lost, order, upTo := r.take(spare)
		if order != nil && len(b) > 0 {
			order.wait(upTo, r.hurry)
		}
		if lost > 0 {
			b = append(b, r.notice(lost)...)
		}
		r.deliver(b)
		r.wrote()
		last = time.Now()
		if spare = nil; cap(b) <= 256<<10 {
			spare = b[:0]
		}
		if reply != nil {
			close(reply)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil {
		r.out.Close()
		r.out = nil
	}
}

// gather lets lines come in for a while.
func (r *ring) gather(d time.Duration) (reply chan struct{}) {
	t := r.timer
	t.Reset(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.full:
	case reply = <-r.flushes:
	case <-r.closing:
	}
	return reply
}

// take returns all lines there are, if there is a log to write them to, but for those of
// which others have not said all yet; and the order, if they keep one, with their place.
func (r *ring) take(spare []byte) (b []byte, lost uint64, o *Order, upTo uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awake = false
	if r.out == nil {
		return spare, 0, nil, 0
	}
	b, lost, o = r.buf, r.lost, r.order
	r.buf, r.lost = spare, 0
	if o != nil {
		upTo = o.now()
		r.writing = len(b) > 0
		r.ticket = 0
		b = r.last.take(b, o, r.closed)
		if len(r.last.held)+len(r.last.fresh) > 0 {
			r.awake = true
			signal(r.wake)
		}
	}
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
	return b, lost, o, upTo
}

// hurry says whether there is no time to wait for others.
func (r *ring) hurry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used() > r.max/2
}

// wrote says that what was taken is in the log, or given up.
func (r *ring) wrote() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writing {
		r.writing = false
		r.order.say(r.ticket)
	}
}

// deliver writes b. After an error it tries again, and at once when the log is
// opened anew, until it is done or the log is closed.
func (r *ring) deliver(b []byte) {
	for len(b) > 0 {
		r.mu.Lock()
		f, kind := r.out, r.kind
		r.mu.Unlock()
		n, err := writeLines(f, kind, b)
		b = b[n:]
		if n > 0 {
			r.mu.Lock()
			r.stuck = false
			r.mu.Unlock()
		}
		if err == nil || len(b) == 0 {
			continue
		}
		t := time.NewTimer(retry)
		select {
		case <-t.C:
		case <-r.opened:
		case <-r.closing:
			r.mu.Lock()
			anew := r.out != f
			r.mu.Unlock()
			if !anew {
				t.Stop()
				return
			}
		}
		t.Stop()
	}
}

// writeLines writes some or all of b and returns how much of it is done with.
func writeLines(f *os.File, kind Kind, b []byte) (int, error) {
	switch kind {
	case Syslog:
		return writeDatagrams(f, b)
	case Stdout:
		// Several processes may write to one pipe.
		if len(b) > pipeBuf {
			if i := bytes.LastIndexByte(b[:pipeBuf], '\n'); i >= 0 {
				b = b[:i+1]
			} else if i := bytes.IndexByte(b, '\n'); i >= 0 {
				b = b[:i+1]
			}
		}
	}
	return f.Write(b)
}

func writeDatagrams(f *os.File, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n := bytes.IndexByte(b[done:], '\n')
		if n < 0 {
			n = len(b) - done - 1
		}
		record := b[done : done+n]
		if n > 0 && record[0] != '<' { // made before it was known that the log is syslog
			record = append([]byte("<22>"), record...) // mail, info
		}
		// A record that is too long for the daemon is given up.
		if _, err := f.Write(record); err != nil && !errors.Is(err, syscall.EMSGSIZE) {
			return done, err
		}
		done += n + 1
	}
	return done, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
