package spool

import (
	"errors"
	"fmt"
	"os"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// checkpoints makes snapshots and the log files that begin with them. A
// checkpoint is made in the background: first the log goes on in a new file,
// then what the older log says is written and synced, then the snapshot.
type checkpoints struct {
	spare  *spareLog         // written in advance
	making bool              // a spare is being made
	busy   bool              // a checkpoint is being made
	due    bool              // one is wanted as soon as it can be
	logs   map[uint64]string // log files, by number
	keys   map[uint64]uint64 // of those that were found at the start
	free   []string          // files that may become logs
	have   []uint64          // durable checkpoints, at most two, rising
	top    uint64            // highest number of a bad checkpoint
	bad    map[uint64]bool   // logs that failed
	lost   bool              // a log cannot be read: what it said is unknown
	last   time.Time         // when the last one was begun
	bytes  int64             // of the log then
	retry  time.Time         // after a failure
}

type spareLog struct {
	*logFile
	h slot.Header
}

func (s *spareLog) close() {
	if s != nil {
		s.f.Close()
	}
}

const retryDelay = time.Second

func ckptName(n uint64) string { return fmt.Sprintf("%s/ckpt.%d", dirLog, n) }

// rotate begins a new log and a checkpoint when it is time, and keeps a log
// file in reserve.
func (q *Queue) rotate(now time.Time) {
	k := &q.ckpt
	if now.Before(k.retry) {
		return
	}
	if q.log.failed && k.spare != nil {
		q.log.commit()
		q.beginLog(k.spare)
		k.spare, k.due = nil, true
	}
	if k.spare == nil && !k.making && !q.dead && (!k.busy || q.log.failed) {
		q.makeSpare(!q.log.failed) // once the checkpoint gives a log back: one file less
	}
	full := q.log.enc.End() >= q.o.LogSize-q.o.LogSize/16
	old := now.Sub(k.last) >= q.o.CheckpointEvery && q.log.bytes > k.bytes
	if k.busy || k.spare == nil || q.log.failed || !full && !old && !k.due {
		return
	}
	q.checkpoint(now)
}

// checkpoint switches to the spare log and makes a snapshot of this moment.
func (q *Queue) checkpoint(now time.Time) {
	k := &q.ckpt
	for _, r := range q.runs {
		if r.enc != nil && r.slots > 0 && r.live() == 0 && r != q.wheel.late {
			q.seal(r) // to be freed
		}
	}
	if q.wheel.late != nil && q.wheel.late.slots > 0 {
		q.sealLate()
	}
	if err := q.writeRuns(); err != nil {
		k.retry = now.Add(retryDelay)
		return
	}
	q.log.commit()
	number := k.spare.number
	q.beginLog(k.spare)
	k.spare, k.due = nil, false
	q.snapshot(number, now)
}

// snapshot saves what memory holds as checkpoint number, in the background.
func (q *Queue) snapshot(number uint64, now time.Time) {
	k := &q.ckpt
	k.busy, k.last, k.bytes = true, now, q.log.bytes
	body := q.encodeCheckpoint()
	var dirty []*run
	var names []string
	for _, r := range q.runs {
		if r.dirty {
			r.dirty = false
			dirty = append(dirty, r)
			names = append(names, r.name())
		}
	}
	q.bg.do(func() {
		bad, err := syncRuns(q.fs, names)
		if err == nil {
			err = writeCheckpoint(q.fs, ckptName(number), body)
		}
		q.post(func() {
			k.busy = false
			if err == nil {
				q.checkpointed(number)
				return
			}
			q.o.Logf("warning: no checkpoint: %v", err)
			for i, r := range dirty {
				if names[i] == bad {
					q.evacuate(r)
				} else {
					r.dirty = true
				}
			}
			k.due, k.retry = true, q.clock.spool.Add(retryDelay)
		})
	})
}

// syncRuns syncs run files and their directories; bad is the one that failed.
func syncRuns(fsys disk.FS, names []string) (bad string, err error) {
	for _, name := range names {
		f, err := fsys.OpenFile(name, os.O_RDWR, 0)
		if notExist(err) {
			continue // freed meanwhile
		}
		if err == nil {
			err = f.Sync()
			f.Close()
		}
		if err != nil {
			return name, err
		}
	}
	return "", errors.Join(fsys.SyncDir(dirDeferred), fsys.SyncDir(dirHold))
}

func writeCheckpoint(fsys disk.FS, name string, body []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(body, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return fsys.SyncDir(dirLog)
}

// checkpointed says that a checkpoint is durable. Two are kept; logs older
// than both are not needed any more.
func (q *Queue) checkpointed(number uint64) {
	k := &q.ckpt
	k.have = append(k.have, number)
	if len(k.have) < 2 {
		return
	}
	var names []string
	for _, n := range k.have[:len(k.have)-2] {
		names = append(names, ckptName(n))
	}
	k.have = append([]uint64(nil), k.have[len(k.have)-2:]...)
	for n, name := range k.logs {
		if n < k.have[0] {
			delete(k.logs, n)
			if k.bad[n] { // what failed once is never synced again
				names = append(names, name)
				delete(k.bad, n)
				continue
			}
			k.free = append(k.free, name)
		}
	}
	for len(k.free) > 1 { // no more than can be needed
		names = append(names, k.free[len(k.free)-1])
		k.free = k.free[:len(k.free)-1]
	}
	q.bg.do(func() {
		for _, name := range names {
			if err := q.fs.Remove(name); err != nil && !notExist(err) {
				q.post(func() { q.o.Logf("warning: %v", err) })
			}
		}
	})
}

// evacuate files what lives in a run again that could not be synced: nothing
// is known of what it holds on disk, and it is never synced again.
func (q *Queue) evacuate(r *run) {
	if q.runs[r.number] != r || r.freeing {
		return
	}
	if q.hold.run == r {
		q.hold.run = nil
	}
	if q.wheel.late == r {
		q.wheel.late = nil
	}
	if r.enc != nil {
		q.writeRun(r)
		r.enc, r.sealed = nil, true
		r.close()
	}
	f, s, err := q.scan(r)
	if err != nil {
		q.o.Logf("warning: %v", err)
		return
	}
	defer f.Close()
	for {
		rec, err := s.Next()
		if err != nil {
			var d *slot.Damage
			if !errors.As(err, &d) {
				break
			}
			q.damagedState(r, f, err)
			continue
		}
		p := place{r.number, rec.Ref.Slot}
		if r.dead.has(p.slot) || len(rec.Envelope) < stateHead {
			continue
		}
		ref := stateRef(rec.Envelope)
		if !q.alive(ref) {
			q.kill(p)
			continue
		}
		at := q.move(ref, string(rec.ID), rec.Envelope, p)
		if m := q.open[ref]; m != nil {
			m.place = at
		}
	}
	q.checkRun(r)
}

// closingCheckpoint makes one if it can.
func (q *Queue) closingCheckpoint() {
	k := &q.ckpt
	q.wait(func() bool { return !k.busy && !k.making })
	if k.spare == nil {
		k.retry = time.Time{}
		q.makeSpare(false)
		q.wait(func() bool { return !k.making })
	}
	if k.spare != nil && !q.log.failed {
		q.checkpoint(q.clock.spool)
		q.wait(func() bool { return !k.busy })
	}
}
