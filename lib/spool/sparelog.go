package spool

import (
	"errors"
	"fmt"
	"os"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// beginLog makes a spare the log.
func (q *Queue) beginLog(s *spareLog) {
	q.ckpt.logs[s.number] = s.name
	q.log.begun(s.logFile, s.h, q.clockEntry(nil))
}

// noLog begins without a log: everything waits in memory until one can be made.
func (q *Queue) noLog() {
	q.log.enc = slot.NewEncoder(slot.Header{Kind: slot.Log})
	q.log.failed, q.log.unsure = true, true
}

// makeSpare makes the next log file in the background.
func (q *Queue) makeSpare(advance bool) {
	k := &q.ckpt
	k.making = true
	number := q.nextLog()
	name := fmt.Sprintf("%s/%08d", dirLog, number)
	if n := len(k.free); n > 0 {
		name, k.free = k.free[n-1], k.free[:n-1]
	}
	k.logs[number] = name
	size, created := q.o.LogSize, q.clock.spool.UnixMicro()
	if !advance {
		size = 0
	}
	q.bg.do(func() {
		s, err := makeLog(q.fs, name, number, size, created)
		q.post(func() {
			k.making = false
			if err == nil {
				k.spare = s
				if q.log.failed {
					q.Commit()
				}
				return
			}
			q.o.Logf("warning: no log file in reserve: %v", err)
			delete(k.logs, number)
			k.free = append(k.free, name)
			k.retry = q.clock.spool.Add(retryDelay)
			if q.log.failed {
				time.AfterFunc(retryDelay, func() {
					q.post(func() { k.retry = time.Time{}; q.Commit() })
				})
			}
		})
	})
}

func (q *Queue) nextLog() uint64 {
	n := q.ckpt.top + 1
	for k := range q.ckpt.logs {
		n = max(n, k+1)
	}
	for _, k := range q.ckpt.have {
		n = max(n, k+1)
	}
	return n
}

// makeLog makes a log file of its whole size, so that a sync of it later has
// no size to write.
func makeLog(fsys disk.FS, name string, number uint64, size, created int64) (*spareLog, error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*spareLog, error) {
		f.Close()
		return nil, err
	}
	have, err := f.Size()
	if err != nil {
		return fail(err)
	}
	zero := make([]byte, min(1<<20, max(size-have, 0)))
	for have < size {
		n, err := f.WriteAt(zero[:min(int64(len(zero)), size-have)], have)
		if err != nil {
			return fail(err)
		}
		have += int64(n)
	}
	h := slot.Header{Kind: slot.Log, Number: number, Key: slot.NewKey(), Created: created}
	if err := slot.WriteHeader(f, h); err != nil {
		return fail(err)
	}
	if err := errors.Join(f.Sync(), fsys.SyncDir(dirLog)); err != nil {
		return fail(err)
	}
	return &spareLog{&logFile{number: number, key: h.Key, name: name, f: f, durable: slot.DataStart, end: slot.DataStart}, h}, nil
}

// What the committer tells.

func (q *Queue) logWritten(seq uint64) { q.log.isWritten(seq) }

func (q *Queue) logSynced(f *logFile, seq uint64, upto int64) {
	q.log.isSynced(f, seq, upto)
	q.freeStep()
}

func (q *Queue) logFailed(f *logFile, err error) {
	q.o.Logf("error: the log cannot be written, going on in another file: %v", err)
	q.log.failed, q.log.unsure = true, true
	if q.ckpt.bad == nil {
		q.ckpt.bad = make(map[uint64]bool)
	}
	q.ckpt.bad[f.number] = true
	q.ckpt.retry = time.Time{}
	q.Commit()
}

func (q *Queue) logLeft(f *logFile) { f.f.Close() }
