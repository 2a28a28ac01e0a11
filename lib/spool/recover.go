package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// Open puts the spool together after whatever ended its last use: it makes
// what is missing, checks the version, loads the newest good checkpoint and
// replays the log behind it. The caller holds the lock of the queue
// directory. Without a good checkpoint it is rebuilt (rebuild.go). Errors:
// ErrVersion; what the disk says.
func Open(o Options) (*Queue, error) {
	q := &Queue{o: defaults(o), fs: o.FS, events: make(chan func(), 256)}
	q.files = fileCache{fs: o.FS, open: make(map[uint64]*cachedFile)}
	q.clock = clock{wall: q.o.Now, mono: q.o.Mono}
	q.ckpt.logs, q.ckpt.keys = make(map[uint64]string), make(map[uint64]uint64)
	q.tail.seals = make(map[uint64]int64)
	q.empty()
	q.replaying = true
	fresh, err := q.layout()
	if err != nil {
		return nil, err
	}
	q.identify(fresh)
	replayed := make(map[uint64]int64)
	last, offset, err := q.replayAll(fresh, replayed)
	if err != nil {
		return nil, err
	}
	older := ""
	if !fresh {
		older = q.older(q.o.Witness, replayed)
	}
	if q.ckpt.lost {
		q.space.orphans = true
	}
	if ignored := q.clock.start(last, offset); ignored > clockStep || ignored < -clockStep {
		q.o.Logf("the clock moved by %v beyond what counts while the spool was closed: schedule and age go on without it", ignored)
	}
	q.space.looked = q.clock.spool
	if err := q.takeOver(); err != nil {
		return nil, err
	}

	name := fmt.Sprintf("%s/%08d", dirLog, q.nextLog())
	if n := len(q.ckpt.free); n > 0 {
		name, q.ckpt.free = q.ckpt.free[n-1], q.ckpt.free[:n-1]
	}
	// Not in its whole size: the start waits for it.
	s, err := makeLog(q.fs, name, q.nextLog(), 0, q.clock.spool.UnixMicro())
	if err != nil && (fresh || !noSpace(err)) {
		return nil, fmt.Errorf("spool: new log: %w", err)
	}
	q.log.cur = &batch{}
	q.bg.start()
	q.ahead.bg.start()
	q.log.c = newCommitter(q.o.MarkSyncDelay, q.post, q)
	if err == nil {
		q.beginLog(s)
	} else {
		q.o.Logf("error: there is no space for a log: no mail is tried until there is: %v", err)
		q.ckpt.free = append(q.ckpt.free, name)
		q.noLog()
	}
	if older != "" {
		q.holdAll(older) // before the checkpoint
	}
	q.fileStrays()
	if err := q.writeRuns(); err == nil && !q.log.failed {
		q.snapshot(s.number, q.clock.spool)
	} else {
		q.ckpt.due, q.ckpt.retry = true, q.clock.spool.Add(retryDelay)
	}
	if fresh {
		q.wait(func() bool { return !q.ckpt.busy })
		if err := q.writeVersion(); err != nil || len(q.ckpt.have) == 0 {
			q.end()
			return nil, fmt.Errorf("spool: first checkpoint: %w", errors.Join(err, ErrLog))
		}
	}
	q.replaying = false
	for _, c := range q.contents {
		q.checkContent(c)
	}
	for _, r := range q.runs {
		q.checkRun(r)
	}
	for _, s := range q.stores {
		q.checkStore(s)
	}
	return q, nil
}

func defaults(o Options) Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mono == nil {
		start := time.Now()
		o.Mono = func() time.Duration { return time.Since(start) }
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.OnFreed == nil {
		o.OnFreed = func(string) {}
	}
	if o.LogSize == 0 {
		o.LogSize = defaultLogSize
	}
	if o.StoreSize == 0 {
		o.StoreSize = defaultStoreSize
	}
	if o.RunSlots == 0 {
		o.RunSlots = defaultRunSlots
	}
	if o.MarkSyncDelay == 0 {
		o.MarkSyncDelay = 20 * time.Millisecond
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 10 * time.Minute
	}
	return o
}

// layout makes the directories and checks the version. A spool is fresh until
// its version file is there, which is written last.
func (q *Queue) layout() (fresh bool, err error) {
	for _, d := range []struct {
		name string
		perm fs.FileMode
	}{
		{dirIncoming, 0o2770}, {dirContent, 0o2770}, {dirDeferred, 0o700}, {dirHold, 0o700},
		{dirStore, 0o700}, {dirLog, 0o700}, {dirCorrupt, 0o700},
	} {
		if err := q.fs.Mkdir(d.name, d.perm); err == nil {
			if d.name == dirLog {
				if err := disk.NoCOW(q.fs, dirLog); err != nil {
					q.o.Logf("warning: %s is copied on write, which is slower: %v", dirLog, err)
				}
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("spool: %w", err)
		}
	}
	if err := q.fs.SyncDir("."); err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	b, err := disk.ReadAll(q.fs, versionFile, 0)
	switch {
	case notExist(err) || err == nil && len(b) == 0:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("spool: %w", err)
	}
	if good, err := knows(b); good || err != nil {
		return false, err
	}
	q.o.Logf("warning: %s is damaged and written anew", versionFile) // each file has a version too
	return false, q.writeVersion()
}

func (q *Queue) writeVersion() error { return q.writeSmall(versionFile, versionText) }

// writeSmall writes a file in the spool's own directory.
func (q *Queue) writeSmall(name, text string) error {
	f, err := q.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return errors.Join(f.Sync(), q.fs.SyncDir("."))
}

// replayAll loads the newest good checkpoint and replays what follows. It
// returns the last spool time known and its offset from the wall clock, and in ends how
// far each log went.
func (q *Queue) replayAll(fresh bool, ends map[uint64]int64) (last time.Time, offset time.Duration, err error) {
	es, err := q.fs.ReadDir(dirLog)
	if err != nil {
		return last, 0, err
	}
	k := &q.ckpt
	var ckpts []uint64
	for _, e := range es {
		name := dirLog + "/" + e.Name()
		if s, ok := strings.CutPrefix(e.Name(), "ckpt."); ok {
			if n, err := strconv.ParseUint(s, 10, 64); err == nil {
				ckpts = append(ckpts, n)
			}
			continue
		}
		if err := q.foundLog(name); err != nil {
			return last, 0, err
		}
	}
	slices.Sort(ckpts)
	found := uint64(0)
	var bad []uint64
	for i := len(ckpts) - 1; i >= 0 && found == 0; i-- {
		n := ckpts[i]
		last, offset, err = q.loadCheckpoint(ckptName(n))
		if err != nil {
			if err := q.badCheckpoint(n, err); err != nil {
				return last, 0, err
			}
			bad = append(bad, n)
			continue
		}
		found = n
		k.have = append(k.have, n)
		if i > 0 { // kept until the next one is there
			k.have = []uint64{ckpts[i-1], n}
		}
	}
	used := found != 0 || !fresh
	if !used {
		if used, err = q.hasRuns(); err != nil {
			return last, 0, err
		}
	}
	if err := q.dropCheckpoints(bad, used && found == 0); err != nil {
		return last, 0, err
	}
	if used && found == 0 {
		return q.rebuild()
	}
	p := replay{q: q, last: last, offset: offset, limit: make(map[uint64]int64), ends: ends}
	if err := p.logs(found); err != nil {
		return last, 0, err
	}
	for n, name := range k.logs { // made in advance: needs no space
		if p.empty[n] {
			k.top = max(k.top, n)
			delete(k.logs, n)
			k.free = append(k.free, name)
		}
	}
	return p.last, p.offset, nil
}

// badCheckpoint passes over a checkpoint that cannot be used: a power cut may have
// torn the newest one. One that the disk does not give stays where it is. Another
// error is returned.
func (q *Queue) badCheckpoint(n uint64, err error) error {
	q.ckpt.top = max(q.ckpt.top, n)
	q.o.Logf("warning: a checkpoint is passed over: %v", err)
	if errors.Is(err, ErrDamaged) || errors.Is(err, syscall.EIO) {
		return nil
	}
	return err
}

// dropCheckpoints removes those that were passed over, to corrupt/ when none was good.
func (q *Queue) dropCheckpoints(bad []uint64, keep bool) error {
	for _, n := range bad {
		if keep {
			err := q.saveFile(fmt.Sprintf("ckpt.%d", n), "no good checkpoint", ckptName(n))
			if err != nil {
				q.o.Logf("warning: %v", err)
				continue
			}
		}
		if err := q.fs.Remove(ckptName(n)); err != nil && !notExist(err) {
			return err
		}
	}
	return nil
}

// noSpace says that the disk is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// hasRuns says whether mail was ever deferred here.
func (q *Queue) hasRuns() (bool, error) {
	for _, dir := range []string{dirDeferred, dirHold} {
		if es, err := q.fs.ReadDir(dir); err != nil || len(es) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// foundLog takes note of a log file.
func (q *Queue) foundLog(name string) error {
	f, err := q.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := readHeader(f)
	switch {
	case errors.Is(err, ErrVersion):
		return err
	case err == nil && h.Kind == slot.Log:
		q.ckpt.logs[h.Number], q.ckpt.keys[h.Number] = name, h.Key
	case err == nil || errors.Is(err, slot.ErrBlank):
		q.ckpt.free = append(q.ckpt.free, name)
	default:
		q.o.Logf("warning: %s is left alone: %v", name, err)
		q.ckpt.lost = true
	}
	return nil
}

// takeOver compares memory with the directories: content files that a FREE
// left behind are given back, runs that nothing names are removed, the others
// filed.
func (q *Queue) takeOver() error {
	if err := q.list(); err != nil {
		return err
	}
	for _, r := range q.runs {
		if r.enc != nil { // replayed records
			if err := q.seal(r); noSpace(err) {
				continue // they stay in memory and in the log
			} else if err != nil {
				return err
			}
		}
		r.sealed = true
	}
	for _, dir := range []string{dirDeferred, dirHold} {
		es, err := q.fs.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range es {
			if r := q.runs[runNumber(e.Name())]; r == nil || r.name() != dir+"/"+e.Name() {
				if err := q.fs.Remove(dir + "/" + e.Name()); err != nil {
					return err
				}
			}
		}
	}
	if err := q.tidyStore(); err != nil {
		return err
	}
	for _, r := range q.runs {
		if r.hold || r.live() == 0 {
			continue
		}
		b := q.wheel.buckets[r.minute]
		if b == nil {
			b = &bucket{minute: r.minute}
			q.wheel.buckets[r.minute] = b
		}
		b.runs = append(b.runs, r)
		r.first = r.minute * 60000
		q.wheel.soonest = min(q.wheel.soonest, r.first)
	}
	q.hold.again = true
	for _, c := range q.contents {
		for n := range c.slots {
			if !c.dead.has(n) && !c.stated.has(n) {
				q.tail.old = append(q.tail.old, c)
				break
			}
		}
	}
	slices.SortFunc(q.tail.old, func(a, b *contentFile) int { return int(int64(a.number - b.number)) })
	return nil
}

// tidyStore removes what is in store/ and nothing names.
func (q *Queue) tidyStore() error {
	es, err := q.fs.ReadDir(dirStore)
	if err != nil {
		return err
	}
	for _, e := range es {
		name, isIndex := strings.CutSuffix(e.Name(), ".idx")
		if s, ok := strings.CutPrefix(name, "content."); ok && isIndex {
			if n, err := strconv.ParseUint(s, 10, 64); err == nil && q.contents[n] != nil {
				continue
			}
		} else if n, err := strconv.ParseUint(name, 10, 64); err == nil && q.stores[n] != nil {
			continue
		}
		if err := q.fs.Remove(dirStore + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// runNumber reads the number out of the name of a run; 0 when it is none.
func runNumber(name string) uint64 {
	name = strings.TrimSuffix(name, ".run")
	n, _ := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64)
	return n
}
