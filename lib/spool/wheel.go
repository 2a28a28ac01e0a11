package spool

import (
	"container/heap"
	"math"
	"slices"
	"time"

	"postrider/lib/slot"
)

// wheel files state records by the minute in which they are due. What is due
// beyond its rim is filed in the last minute and filed again from there.
type wheel struct {
	number   uint64 // of the next run
	puts     uint32 // PUTs so far
	buckets  map[int64]*bucket
	soonest  int64 // no bucket has anything due before, milliseconds
	through  int64 // minutes up to this one are read, or were
	late     *run  // for what is due in such a minute
	heap     lateHeap
	queue    []*run // sealed, to be read, in order
	readers  []*reader
	scanning *run // is being read, to become one of them
	refiles  []refile
	encoders []*slot.Encoder
	buffered int64 // bytes of runs not written
	stuck    bool  // runs cannot be written
	patience int64 // no run is read before, after one could not be read
}

const (
	wheelMinutes = 120
	readAhead    = 2000 // milliseconds
	afterError   = 5000 // milliseconds until a run is read that could not be
	maxLate      = 16384
	maxIndex     = 512 << 10 // entries of all readers, but for one run
	maxParked    = 1000      // in one call of Due
	never        = math.MaxInt64
)

// bucket is a minute of the wheel: its runs, of which the last may grow.
type bucket struct {
	minute int64
	runs   []*run
}

func minuteOf(ms int64) int64 { return ms / 60000 }

// target returns the run for a record due at that time, and whether the time
// lies in a minute that is read already, so that the record is to be noted.
func (w *wheel) target(q *Queue, due int64) (r *run, late bool) {
	m := minuteOf(due)
	if m <= w.through {
		if w.late == nil || w.late.slots >= uint32(q.o.RunSlots) {
			if w.late != nil {
				q.sealLate()
			}
			w.late = q.newRun(false, w.through)
		}
		return w.late, true
	}
	m = min(m, max(w.through, minuteOf(q.clock.spool.UnixMilli()))+wheelMinutes)
	b := w.buckets[m]
	if b == nil {
		b = &bucket{minute: m}
		w.buckets[m] = b
	}
	if n := len(b.runs); n > 0 {
		if last := b.runs[n-1]; !last.sealed {
			if last.slots < uint32(q.o.RunSlots) {
				return last, false
			}
			q.seal(last) // when that fails it is sealed before it is read
		}
	}
	r = q.newRun(false, m)
	b.runs = append(b.runs, r)
	return r, false
}

// sealLate ends the run of late records; what the heap had no room for is
// read from it like from any other.
func (q *Queue) sealLate() {
	r := q.wheel.late
	q.wheel.late = nil
	q.seal(r)
	if r.over || !r.sealed {
		q.wheel.queue = append(q.wheel.queue, r)
	}
}

// late notes where a record is that no reading of its minute will find.
type lateRecord struct {
	due    int64
	run    *run
	slot   uint32
	offset int64
	flush  bool
}

type lateHeap []lateRecord

func (h lateHeap) Len() int           { return len(h) }
func (h lateHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h lateHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lateHeap) Push(x any)        { *h = append(*h, x.(lateRecord)) }
func (h *lateHeap) Pop() any {
	n := len(*h) - 1
	x := (*h)[n]
	(*h)[n] = lateRecord{}
	*h = (*h)[:n]
	return x
}

func (w *wheel) note(q *Queue, r *run, slot uint32, offset, due int64) {
	if len(w.heap) >= maxLate {
		r.over = true
		return
	}
	heap.Push(&w.heap, lateRecord{due: due, run: r, slot: slot, offset: offset})
}

// advance hands the buckets whose minute has come to the readers.
func (q *Queue) advance(now int64) {
	w := &q.wheel
	w.through = max(w.through, minuteOf(now+readAhead))
	if minuteOf(w.soonest) <= w.through {
		w.soonest = never
		var come []*run
		for m, b := range w.buckets {
			if m <= w.through {
				come = append(come, b.runs...)
				delete(w.buckets, m)
				continue
			}
			for _, r := range b.runs {
				w.soonest = min(w.soonest, r.first)
			}
		}
		slices.SortFunc(come, byMinute)
		w.queue = append(w.queue, come...)
	}
	if w.late != nil && w.late.over {
		q.sealLate()
	}
	entries, flushed := 0, 0
	for _, rd := range w.readers {
		n := len(rd.list) - rd.next
		if entries += n; rd.run.flush {
			flushed += n
		}
	}
	for now >= w.patience && w.scanning == nil && len(w.queue) > 0 && (entries < maxIndex || w.queue[0].flush && flushed < maxIndex) {
		r := w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1)
		if err := q.seal(r); err != nil {
			q.o.Logf("warning: deferred mail has to wait: %v", err)
			w.queue = append(w.queue, r) // others first
			w.patience = now + afterError
			break
		}
		if q.runs[r.number] == r && !r.freeing && r.live() > 0 {
			q.readRun(r)
		}
	}
}

func byMinute(a, b *run) int {
	if a.minute != b.minute {
		return int(a.minute - b.minute)
	}
	return int(int64(a.number) - int64(b.number))
}

// NextDue returns when Due may next have something: a time in the past while
// it does. False when nothing is deferred, or while it is being read: then it is to be
// asked again when Events gave something.
func (q *Queue) NextDue() (time.Time, bool) {
	w := &q.wheel
	next, now := w.soonest, q.clock.spool.UnixMilli()
	if len(w.queue) > 0 && w.scanning == nil {
		next = min(next, max(now, w.patience))
	}
	if a := q.ahead.asked; len(a) > 0 && a[0].step != reading {
		next = min(next, now)
	}
	if len(q.ahead.asked) < askedMax {
		if len(w.refiles) > 0 {
			next = min(next, now)
		}
		if len(w.heap) > 0 {
			next = min(next, w.heap[0].due)
		}
		for _, rd := range w.readers {
			next = min(next, rd.list[rd.next].due)
		}
	}
	if next == never {
		return time.Time{}, false
	}
	return time.UnixMilli(next), true
}

// Flush makes everything that is deferred now due now: it seals what is there
// and reads exactly that, so what is deferred again meanwhile is not tried
// twice and the flush ends. Messages given out by it have Flushed set.
func (q *Queue) Flush() {
	w := &q.wheel
	w.patience = 0
	if w.late != nil && w.late.over {
		q.sealLate()
	}
	var all []*run
	for m, b := range w.buckets {
		all = append(all, b.runs...)
		delete(w.buckets, m)
	}
	w.soonest = never
	slices.SortFunc(all, byMinute)
	w.queue = append(all, w.queue...)
	for _, r := range w.queue {
		r.flush = true
	}
	for _, x := range q.ahead.asked {
		x.flush, x.refile = true, false
	}
	if w.scanning != nil {
		w.scanning.flush = true
	}
	for i := range w.heap {
		w.heap[i].due, w.heap[i].flush = 0, true
	}
	for _, rd := range w.readers {
		rd.run.flush = true
		for i := rd.next; i < len(rd.list); i++ {
			rd.list[i].due = 0
		}
	}
	for _, f := range w.refiles {
		f.r.flush = true
		q.wheel.heap = append(q.wheel.heap, lateRecord{run: f.r, slot: f.slot, offset: f.offset, flush: true})
	}
	w.refiles = nil
	heap.Init(&w.heap)
}

// push notes a record whatever room there is: for what an operator names.
func (w *wheel) push(x lateRecord) { heap.Push(&w.heap, x) }
