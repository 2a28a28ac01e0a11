package spool

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// run is a file of state records: of one minute of the wheel, or on hold. Its
// records are first in memory, then written, and synced by the checkpoint;
// until then the log has them.
type run struct {
	number uint64
	hold   bool
	minute int64 // of spool time
	key    uint64
	slots  uint32
	length int64 // where the next record goes
	dead   bitmap
	ndead  uint32

	f       disk.File
	enc     *slot.Encoder // while it grows
	sealed  bool          // will not grow
	dirty   bool          // has bytes that no checkpoint synced
	freeing bool
	flush   bool  // everything in it is due at once
	over    bool  // it has late records that are not in the heap
	first   int64 // earliest due time in it, milliseconds
	pins    atomic.Int32
	filter  atomic.Pointer[filter] // what its records are about; nil: not known
}

const (
	runBuffer = 16 << 10 // bytes of a run kept in memory before they are written
	allBuffer = 1 << 20  // of all runs
)

func (r *run) kind() slot.Kind {
	if r.hold {
		return slot.Hold
	}
	return slot.State
}

func (r *run) name() string {
	if r.hold {
		return fmt.Sprintf("%s/%08d", dirHold, r.number)
	}
	return fmt.Sprintf("%s/%d.%d.run", dirDeferred, r.minute, r.number)
}

func (r *run) header() slot.Header {
	return slot.Header{Kind: r.kind(), Number: r.number, Key: r.key}
}

func (r *run) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// live returns how many records are not dead by themselves.
func (r *run) live() int { return int(r.slots - r.ndead) }

// newRun begins a run. Its file is made when its first records are written.
func (q *Queue) newRun(hold bool, minute int64) *run {
	r := &run{number: q.wheel.number, hold: hold, minute: minute, key: slot.NewKey(), length: slot.DataStart}
	q.wheel.number++
	q.runs[r.number] = r
	r.filter.Store(&filter{})
	q.log.end(appendRun(q.log.begin(), r.kind(), r.number, minute, r.key))
	r.enc = q.wheel.encoder(r)
	return r
}

// encoder returns an encoder for a fresh run, with a used buffer if there is one.
func (w *wheel) encoder(r *run) *slot.Encoder {
	if n := len(w.encoders); n > 0 {
		e := w.encoders[n-1]
		w.encoders = w.encoders[:n-1]
		e.Reset(r.header())
		return e
	}
	return slot.NewEncoder(r.header())
}

// append adds a state record to a run that grows and returns its place.
func (q *Queue) append(r *run, gen uint32, id string, state []byte) (p place, offset int64) {
	rec := slot.Record{Type: recordType, Generation: gen, ID: queueID(id), Envelope: state}
	before := r.enc.End()
	if err := r.enc.Append(&rec); err != nil {
		panic("spool: " + err.Error()) // bounded far below slot.MaxEnvelope
	}
	r.slots = rec.Ref.Slot + 1
	if f := r.filter.Load(); f != nil {
		f.add(stateRef(state), rec.Offset)
	}
	r.length = r.enc.End()
	q.wheel.buffered += r.length - before
	if b, _ := r.enc.Batch(); len(b) >= runBuffer {
		q.writeRun(r)
	} else if q.wheel.buffered > allBuffer {
		q.writeRuns()
	}
	return place{r.number, rec.Ref.Slot}, rec.Offset
}

// writeRuns writes what is buffered of all runs.
func (q *Queue) writeRuns() (err error) {
	for _, r := range q.runs {
		if r.enc != nil {
			err = errors.Join(err, q.writeRun(r))
		}
	}
	return err
}

// writeRun writes what is buffered of a run. When that fails it stays in
// memory: the log has it, and takes nothing new before a checkpoint could
// write it (Reserve), so memory is bounded by the log.
func (q *Queue) writeRun(r *run) error {
	b, off := r.enc.Batch()
	if len(b) == 0 {
		return nil
	}
	if r.f == nil {
		f, err := q.fs.OpenFile(r.name(), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return q.runFailed(r, err)
		}
		h := r.header()
		h.Created = q.clock.spool.UnixMicro()
		if err := slot.WriteHeader(f, h); err != nil {
			f.Close()
			return q.runFailed(r, err)
		}
		r.f, r.dirty = f, true
	}
	r.dirty = true
	if _, err := r.f.WriteAt(b, off); err != nil {
		return q.runFailed(r, err)
	}
	q.stats.RunBytes += int64(len(b))
	q.wheel.buffered -= int64(len(b))
	r.enc.Written()
	q.wheel.stuck = false
	return nil
}

func (q *Queue) runFailed(r *run, err error) error {
	if !q.wheel.stuck {
		q.wheel.stuck = true
		q.o.Logf("warning: deferred mail stays in memory and in the log: %v", err)
	}
	return err
}

// seal ends a run, so that it can be read as a whole. After an error it is as
// before and may be tried again.
func (q *Queue) seal(r *run) error {
	if r.sealed {
		return nil
	}
	if err := q.writeRun(r); err != nil {
		return err
	}
	if r.slots > 0 {
		r.enc.Seal()
		// The end mark only helps those who read without a log: no error
		// of it matters.
		if b, off := r.enc.Batch(); r.f != nil {
			r.f.WriteAt(b, off)
			q.stats.RunBytes += int64(len(b))
		}
	}
	q.wheel.encoders = append(q.wheel.encoders, r.enc)
	r.enc, r.sealed = nil, true
	r.close()
	q.checkRun(r)
	return nil
}

// kill marks a state record dead, in memory.
func (q *Queue) kill(p place) {
	if !p.ok() {
		return
	}
	if r := q.runs[p.run]; r != nil && p.slot < r.slots && r.dead.set(p.slot) {
		r.ndead++
		q.checkRun(r)
	}
}

// readState reads the record at a place. It writes what is buffered first.
func (q *Queue) readState(r *run, offset int64) (slot.Record, error) {
	f := r.f
	if r.enc != nil {
		if err := q.writeRun(r); err != nil {
			return slot.Record{}, err
		}
		f = r.f
	}
	if f == nil {
		var err error
		if f, err = q.fs.OpenFile(r.name(), os.O_RDONLY, 0); err != nil {
			return slot.Record{}, err
		}
		defer f.Close()
	}
	rec, buf, err := slot.ReadRecord(f, r.header(), offset, q.rbuf)
	q.rbuf = buf
	return rec, err
}

// scan opens a sealed run for reading from its beginning.
func (q *Queue) scan(r *run) (disk.File, *slot.Scanner, error) {
	f, err := q.fs.OpenFile(r.name(), os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	s := slot.NewScanner(f, r.header(), r.length)
	s.Durable = r.length
	return f, s, nil
}
