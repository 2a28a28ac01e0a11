package spool

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// decisions reads what qmgr decided: the newest good checkpoint, the logs
// since, and where the state records are. errMoved: it is to be read again.
func (s *survey) decisions() error {
	logs, ckpts, err := s.listLog()
	if err != nil {
		return err
	}
	from, ok := uint64(0), false
	for i := len(ckpts) - 1; i >= 0 && !ok; i-- {
		_, offset, err := s.mem.loadCheckpoint(ckptName(ckpts[i]))
		switch {
		case err == nil:
			from, ok, s.offset = ckpts[i], true, offset
		case notExist(err) && !s.still:
			return errMoved
		default:
			s.forget()
		}
	}
	var numbers []uint64
	for n := range logs {
		if n >= from {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	switch {
	case !ok:
		s.sure = false
		if es, err := s.fs.ReadDir(dirIncoming); err == nil && len(es) > 0 {
			s.lose(dirLog, 0, "no good checkpoint: mail that is delivered already may be found")
		}
	case len(numbers) == 0 || numbers[0] != from || numbers[len(numbers)-1] != from+uint64(len(numbers))-1:
		s.sure = false
		s.lose(dirLog, 0, "a log behind checkpoint %d is missing: mail that is delivered already may be found", from)
	}
	if err := s.replay(logs, numbers); err != nil {
		return err
	}
	return s.listRuns()
}

// listLog finds the logs and checkpoints, by number.
func (s *survey) listLog() (logs map[uint64]string, ckpts []uint64, err error) {
	logs = make(map[uint64]string)
	es, err := s.fs.ReadDir(dirLog)
	if err != nil {
		return logs, nil, nil // as without any
	}
	for _, e := range es {
		name := dirLog + "/" + e.Name()
		if n, ok := strings.CutPrefix(e.Name(), "ckpt."); ok {
			if n, err := strconv.ParseUint(n, 10, 64); err == nil {
				ckpts = append(ckpts, n)
			}
			continue
		}
		h, err := s.header(name)
		switch {
		case err == nil && h.Kind == slot.Log:
			logs[h.Number] = name
		case err == nil || errors.Is(err, slot.ErrBlank):
		case notExist(err):
			return nil, nil, errMoved
		default:
			s.lose(name, 0, "%v", err)
		}
	}
	slices.Sort(ckpts)
	return logs, ckpts, nil
}

// header reads the header of a file, looking for copies when the first are lost.
func (s *survey) header(name string) (slot.Header, error) {
	f, err := s.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return slot.Header{}, err
	}
	defer f.Close()
	h, err := readHeader(f)
	if size, serr := f.Size(); errors.Is(err, slot.ErrBlank) && serr == nil && size > slot.DataStart {
		if found, ferr := slot.FindHeader(f, size); ferr == nil {
			return found, nil // zeros where it was
		}
	}
	return h, err
}

// replay repeats the logs in memory.
func (s *survey) replay(logs map[uint64]string, numbers []uint64) error {
	p := &replay{q: s.mem, offset: s.offset, limit: make(map[uint64]int64)}
	files := make(map[uint64]disk.File)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, n := range numbers { // the first record of each speaks of those before
		f, h, err := openSlotFile(s.fs, logs[n], slot.Log, n)
		if err != nil {
			if !s.still {
				return errMoved
			}
			s.sure = false
			s.lose(logs[n], 0, "%v", err)
			continue
		}
		files[n] = f
		if rec, _, err := slot.ReadRecord(f, h, slot.DataStart, nil); err == nil {
			s.entries(&rec, logs[n], func(e *entry) {
				if e.kind == entSeal && e.of == slot.Log {
					p.limit[e.file] = e.length
				}
			})
		}
	}
	for _, n := range numbers {
		if f := files[n]; f != nil {
			s.log(p, n, logs[n], f)
		}
	}
	s.offset = p.offset
	return nil
}

func (s *survey) log(p *replay, n uint64, name string, f disk.File) {
	h, err := readHeader(f)
	size, serr := f.Size()
	if err := errors.Join(err, serr); err != nil || h.Number != n {
		s.sure = false
		s.lose(name, 0, "%v", err)
		return
	}
	limit, limited := p.limit[n]
	if limited {
		size = min(size, limit)
	}
	scan := slot.NewScanner(f, h, size)
	scan.Durable = limit
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.sure = false
			s.damage(name, err, "; mail that is delivered already may be found")
			continue
		}
		if !s.entries(rec, name, func(e *entry) { s.entry(p, e) }) {
			s.sure = false
			s.lose(name, rec.Offset, "an entry of an unknown kind; mail that is delivered already may be found")
		}
	}
}

// entries calls f for each entry up to one that it does not understand, and
// reports whether there was none such.
func (s *survey) entries(rec *slot.Record, name string, f func(*entry)) bool {
	var e entry
	for d := (decoder{b: rec.Content}); len(d.b) > 0; {
		if d.entry(&e); d.bad {
			return false
		}
		f(&e)
	}
	return true
}

// entry does in memory what an entry says.
func (s *survey) entry(p *replay, e *entry) {
	switch e.kind {
	case entPut: // the record is here; where it is filed does not matter
		s.mem.put(e.ref, e.kill)
		s.states[e.ref] = filed{gen: e.gen, state: slices.Clone(e.state)}
		return
	case entFree:
		if e.of == slot.Content {
			s.freed[e.file] = true
		}
	}
	p.entry(e)
	s.mem.space.large = nil
}

// listRuns finds the state records that the log since the checkpoint has not.
func (s *survey) listRuns() error {
	there := make(map[uint64]bool)
	for _, dir := range []string{dirDeferred, dirHold} {
		es, err := s.fs.ReadDir(dir)
		if err != nil {
			continue // as without any
		}
		for _, e := range es {
			n := runNumber(e.Name())
			r := s.mem.runs[n]
			if s.sure && (r == nil || r.slots == 0 || r.name() != dir+"/"+e.Name()) {
				continue // nobody's, or what the log has
			}
			there[n] = true
			if err := s.run(dir+"/"+e.Name(), n, r); err != nil {
				return err
			}
		}
	}
	for n, r := range s.mem.runs {
		if r.slots > 0 && r.live() > 0 && !there[n] {
			if s.sure && !s.still {
				return errMoved
			}
			s.lose(r.name(), 0, "is missing: what it says of %d messages is lost", r.live())
		}
	}
	return nil
}

// run notes what is in a file of state records, which stays open: it may be
// removed by the time that it is needed.
func (s *survey) run(name string, n uint64, r *run) error {
	f, err := s.fs.OpenFile(name, os.O_RDONLY, 0)
	if notExist(err) && !s.still {
		return errMoved
	}
	if err != nil {
		s.lose(name, 0, "%v", err)
		return nil
	}
	s.runs = append(s.runs, f)
	h, err := readHeader(f)
	size, serr := f.Size()
	switch {
	case serr != nil:
		s.lose(name, 0, "%v", serr)
		return nil
	case err != nil && r != nil && r.key != 0:
		h = r.header() // the checkpoint has it
	case err != nil || h.Kind != slot.State && h.Kind != slot.Hold || h.Number != n:
		s.lose(name, 0, "no run of that number (%v)", err)
		return nil
	}
	scan := slot.NewScanner(f, h, size)
	if s.sure {
		scan = slot.NewScanner(f, h, min(size, r.length))
		scan.Durable = r.length
	}
	for {
		rec, err := scan.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			s.damage(name, err, "")
			continue
		}
		if len(rec.Envelope) < stateHead || s.sure && rec.Ref.Slot >= r.slots || r != nil && r.dead.has(rec.Ref.Slot) {
			continue
		}
		ref := stateRef(rec.Envelope)
		if at, ok := s.states[ref]; !ok || rec.Generation > at.gen {
			s.states[ref] = filed{gen: rec.Generation, f: f, h: h, name: name, offset: rec.Offset}
		}
	}
}

// damage reports what a scanner could not read.
func (s *survey) damage(name string, err error, also string) {
	var d *slot.Damage
	if !errors.As(err, &d) {
		d = &slot.Damage{Reason: err.Error()}
	}
	s.lose(name, d.From, "%d bytes are damaged: %s%s", d.To-d.From, d.Reason, also)
}
