package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mutant"
	"postrider/lib/slot"
)

// replay repeats what the log says behind a checkpoint. All entries may be
// repeated over what they did already.
type replay struct {
	q      *Queue
	last   time.Time
	offset time.Duration
	limit  map[uint64]int64 // logs that a later log says end there
	lost   []slot.Damage    // parts of logs that are lost
	ends   map[uint64]int64 // how far each log went, for a witness; or nil

	empty map[uint64]bool // logs without records

	rebuild *rebuild // nil with a checkpoint
}

// logs replays all logs from number on, in order. What a dead writer left is
// made durable before it is relied on.
func (p *replay) logs(from uint64) error {
	var numbers []uint64
	for n := range p.q.ckpt.logs {
		if n >= from {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers { // the first record of each speaks of those before
		f, h, err := openSlotFile(p.q.fs, p.q.ckpt.logs[n], slot.Log, n)
		if err != nil {
			return err
		}
		rec, _, err := slot.ReadRecord(f, h, slot.DataStart, nil)
		f.Close()
		if err == nil {
			decodeEntries(rec.Content, func(e *entry) {
				if e.kind == entSeal && e.of == slot.Log {
					p.limit[e.file] = e.length
				}
			})
		}
	}
	for _, n := range numbers {
		if err := p.log(n); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) log(number uint64) error {
	q := p.q
	f, err := q.fs.OpenFile(q.ckpt.logs[number], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	limit, limited := p.limit[number]
	if limited {
		size = min(size, limit)
	}
	s := slot.NewScanner(f, h, size)
	if limited {
		s.Durable = limit
	}
	durable := int64(slot.DataStart) // by the word of its writer
	for {
		rec, err := s.Next()
		if err == io.EOF && s.Offset() == slot.DataStart {
			if p.empty == nil {
				p.empty = make(map[uint64]bool)
			}
			p.empty[number] = true
		}
		if err == io.EOF {
			if limited {
				durable = limit
			}
			if p.ends != nil {
				p.ends[number] = max(min(s.Offset(), size), durable)
			}
			if err := disk.Rewrite(f, durable, min(s.Offset(), size)); err != nil {
				return fmt.Errorf("spool: what the last program logged is not certain: %w", err)
			}
			return nil
		}
		var d *slot.Damage
		if err == nil {
			durable = max(durable, rec.SyncedBelow)
			p.names(number, rec)
			if decodeEntries(rec.Content, p.entry) == nil {
				continue
			}
			d = &slot.Damage{File: number, From: rec.Offset, To: rec.End(), Reason: "entries cannot be read"}
		} else if !errors.As(err, &d) {
			return err
		}
		if err := q.save(fmt.Sprintf("log.%d.%d", number, d.From), d.Error(), f, d.From, d.To); err != nil {
			return err
		}
		p.lost = append(p.lost, *d)
		q.space.orphans = true
	}
}

// names puts on hold what lost records spoke of, as far as this one tells.
func (p *replay) names(number uint64, rec *slot.Record) {
	if len(p.lost) == 0 || mutant.On(mutant.LostNamesTried) {
		return
	}
	for d := (decoder{b: rec.Envelope}); len(d.b) > 0 && !d.bad; {
		off := int64(d.uint()) * slot.Align
		names := decoder{b: d.bytes()}
		if !slices.ContainsFunc(p.lost, func(l slot.Damage) bool {
			in := off >= l.From && off < l.To
			return in && (l.File == number || rec.Ref.Slot == 0)
		}) {
			continue
		}
		for len(names.b) > 0 && !names.bad {
			c := p.q.content(names.uint())
			r := names.runs()
			for {
				from, to, ok := r.next()
				if !ok {
					break
				}
				for n := from; n < to; n++ {
					if !c.dead.has(n) && c.held.set(n) {
						p.q.o.Logf("warning: message %d/%d is put on hold: what the log said of it is lost", c.number, n)
					}
				}
			}
			names.after(&r)
		}
	}
}

// entry does what an entry says.
func (p *replay) entry(e *entry) {
	q := p.q
	switch e.kind {
	case entDone:
		p.done(e)
	case entPut:
		if p.rebuild != nil {
			p.rebuild.put(e)
			return
		}
		if q.wheel.puts = e.gen; q.alive(e.ref) || q.contents[e.ref.File] == nil {
			p.record(e)
		}
		q.put(e.ref, e.kill)
	case entFinish:
		q.finished(e.ref, e.kill, e.large)
	case entHold, entRelease, entDelete:
		c := q.content(e.file)
		d := decoder{b: e.numbers}
		for r := d.runs(); ; {
			from, to, ok := r.next()
			if !ok {
				break
			}
			for n := from; n < to; n++ {
				switch {
				case e.kind == entDelete:
					q.bury(slot.Ref{File: e.file, Slot: n})
				case c.dead.has(n):
				case e.kind == entHold:
					c.held.set(n)
				default:
					c.held.clear(n)
				}
			}
		}
	case entSuspect:
		if q.content(e.ref.File); q.alive(e.ref) {
			if q.strikes[e.ref] = int(e.n); e.n == 0 {
				delete(q.strikes, e.ref)
			}
		}
	case entSeal:
		if e.of == slot.Content {
			c := q.content(e.file)
			c.sealed, c.length = true, e.length
			c.passed = c.passed || c.offset >= e.length
			if c.passed {
				q.space.passed = max(q.space.passed, c.number)
			}
		}
	case entFree:
		q.freed(e.of, e.file)
	case entSwap:
		if p.rebuild != nil && q.stores[e.file] == nil {
			return // a later one took its place
		}
		q.swapped(e.file, e.n, e.length, e.files)
	case entClock:
		p.last, p.offset = time.UnixMicro(e.spool), time.Duration(e.skew)*time.Microsecond
	case entCursor:
		c := q.content(e.file)
		if e.slots > c.slots && !p.last.IsZero() {
			c.taken(c.slots, p.last)
		}
		if e.slots > c.slots || e.offset > c.offset {
			c.slots, c.offset = max(c.slots, e.slots), e.offset
		}
		if e.crosses {
			p.done(e)
		}
	case entRun:
		if p.rebuild != nil {
			q.wheel.number = max(q.wheel.number, e.file+1)
			return
		}
		p.run(e.file, e.of == slot.Hold, e.minute, e.n)
	}
}

func (p *replay) done(e *entry) {
	if p.q.content(e.ref.File); p.q.alive(e.ref) {
		d := decoder{b: e.numbers}
		s := p.q.marks[e.ref]
		s.Merge(d.set())
		p.q.marks[e.ref] = s
	}
}

func (p *replay) run(number uint64, hold bool, minute int64, key uint64) *run {
	q := p.q
	q.wheel.number = max(q.wheel.number, number+1)
	r := q.runs[number]
	if r == nil {
		r = &run{number: number, hold: hold, minute: minute, key: key, length: slot.DataStart}
		r.filter.Store(&filter{})
		q.runs[number] = r
	}
	return r
}

// record writes a state record again where it was, if a power cut may have
// taken it.
func (p *replay) record(e *entry) {
	q := p.q
	r := q.runs[e.at.run]
	if r == nil { // its RUN entry is lost, or it was freed
		r = p.run(e.at.run, q.IsHeld(e.ref), minuteOf(stateDue(e.state)), slot.NewKey())
	}
	if e.at.slot < r.slots {
		return // said twice, around a failed sync
	}
	if r.enc == nil || e.at.slot != r.slots || e.offset != r.length && e.offset != r.length+slot.HeaderSize {
		if r.enc != nil {
			q.writeRun(r)
		} else {
			r.enc = slot.NewEncoder(r.header())
		}
		for n := r.slots; n < e.at.slot; n++ { // said by what is lost
			r.dead.set(n)
			r.ndead++
		}
		if due := e.offset == r.length+slot.HeaderSize; due {
			r.enc.Resume(r.header(), r.length, e.at.slot, true)
		} else {
			r.enc.Resume(r.header(), e.offset, e.at.slot, false)
		}
	}
	q.append(r, e.gen, string(e.id), e.state)
}
