package spool

import (
	"encoding/binary"
	"fmt"

	"postrider/lib/slot"
)

// entryKind tells the entries of the log apart. Values are on disk and keep
// their meaning. An entry is atomic: it never spans two records of the log.
type entryKind byte

const (
	entDone    entryKind = iota + 1 // recipients of a message are finished
	entPut                          // a state record was filed; an older one is dead
	entFinish                       // a message is finished, its state record dead
	entHold                         // slots of a content file are on hold
	entRelease                      // slots of a content file are off hold
	entDelete                       // slots of a content file are finished
	entSuspect                      // a process died with the message in hand
	entSeal                         // a file ends at a length
	entFree                         // a file holds nothing any more
	entClock                        // spool time, and its offset from the wall clock
	entCursor                       // the journal was tailed to here; what that replaced is done
	entRun                          // a run was begun
	entSwap                         // what lives of content files is in a store file
)

// recordType is the type of all records in log, state and hold files.
const recordType = 1

// place is where a state record is; runs count from 1, so the zero place is none.
type place struct {
	run  uint64
	slot uint32
}

func (p place) ok() bool { return p.run != 0 }

// entry is a decoded entry; which fields mean something depends on the kind.
// Its slices refer to the log record.
type entry struct {
	kind    entryKind
	ref     slot.Ref // Done, Put, Finish, Suspect; Cursor: what was replaced
	kill    place    // Put, Finish
	at      place    // Put
	offset  int64    // Put: of the record in its run; Cursor: in the file
	id      []byte   // Put
	gen     uint32   // Put: counts PUTs, so that the newest record of a message is known
	state   []byte   // Put
	numbers []byte   // Done, Cursor: recipients; Hold, Release, Delete: slots
	large   string   // Finish: the file in content/ to be removed
	file    uint64   // Hold, Release, Delete, Seal, Free, Cursor, Run, Swap
	of      slot.Kind
	slots   uint32   // Cursor
	length  int64    // Seal, Swap
	n       uint64   // Suspect: strikes; Run, Swap: key
	minute  int64    // Run
	spool   int64    // Clock, microseconds
	skew    int64    // Clock, microseconds
	files   []uint64 // Swap
	crosses bool     // Cursor: ref and numbers are there
}

func appendRef(b []byte, r slot.Ref) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, r.File), uint64(r.Slot))
}

func appendPlace(b []byte, p place) []byte {
	b = binary.AppendUvarint(b, p.run)
	if p.ok() {
		b = binary.AppendUvarint(b, uint64(p.slot))
	}
	return b
}

func appendDone(b []byte, ref slot.Ref, recipients []uint32) []byte {
	return appendNumbers(appendRef(append(b, byte(entDone)), ref), recipients)
}

func appendPut(b []byte, gen uint32, kill, at place, offset int64, id string, state []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(entPut)), uint64(gen))
	b = appendPlace(b, kill)
	b = appendPlace(b, at)
	b = binary.AppendUvarint(b, uint64(offset))
	b = appendString(b, id)
	return appendBytes(b, state)
}

func appendFinish(b []byte, ref slot.Ref, kill place, large string) []byte {
	return appendString(appendPlace(appendRef(append(b, byte(entFinish)), ref), kill), large)
}

func appendSlots(b []byte, kind entryKind, file uint64, slots []uint32) []byte {
	return appendNumbers(binary.AppendUvarint(append(b, byte(kind)), file), slots)
}

func appendSuspect(b []byte, ref slot.Ref, strikes int) []byte {
	return binary.AppendUvarint(appendRef(append(b, byte(entSuspect)), ref), uint64(strikes))
}

func appendSeal(b []byte, of slot.Kind, file uint64, length int64) []byte {
	b = binary.AppendUvarint(append(b, byte(entSeal), byte(of)), file)
	return binary.AppendUvarint(b, uint64(length))
}

func appendFree(b []byte, of slot.Kind, file uint64) []byte {
	return binary.AppendUvarint(append(b, byte(entFree), byte(of)), file)
}

func appendClock(b []byte, spool, skew int64) []byte {
	return binary.AppendVarint(binary.AppendVarint(append(b, byte(entClock)), spool), skew)
}

// appendCursor says that the first slots records of file, which end at offset,
// were tailed. With recipients it also crosses those of the message at ref off.
func appendCursor(b []byte, file uint64, slots uint32, offset int64, ref slot.Ref, recipients []uint32) []byte {
	b = binary.AppendUvarint(append(b, byte(entCursor)), file)
	b = binary.AppendUvarint(b, uint64(slots))
	b = binary.AppendUvarint(b, uint64(offset))
	if len(recipients) == 0 {
		return append(b, 0)
	}
	return appendNumbers(appendRef(append(b, 1), ref), recipients)
}

func appendRun(b []byte, of slot.Kind, number uint64, minute int64, key uint64) []byte {
	b = binary.AppendUvarint(append(b, byte(entRun), byte(of)), number)
	return binary.AppendUvarint(binary.AppendVarint(b, minute), key)
}

// appendSwap says that the living messages of content files are in a store file.
func appendSwap(b []byte, store, key uint64, length int64, files []uint64) []byte {
	b = binary.AppendUvarint(append(b, byte(entSwap)), store)
	b = binary.AppendUvarint(b, key)
	b = binary.AppendUvarint(b, uint64(length))
	b = binary.AppendUvarint(b, uint64(len(files)))
	for _, n := range files {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func (d *decoder) ref() slot.Ref { return slot.Ref{File: d.uint(), Slot: d.uint32()} }

func (d *decoder) place() (p place) {
	if p.run = d.uint(); p.run != 0 {
		p.slot = d.uint32()
	}
	return p
}

// entry reads the next entry; d.bad tells when there was none.
func (d *decoder) entry(e *entry) {
	*e = entry{kind: entryKind(d.byte())}
	switch e.kind {
	case entDone:
		e.ref, e.numbers = d.ref(), d.skipRuns()
	case entPut:
		e.gen, e.kill, e.at, e.offset = d.uint32(), d.place(), d.place(), int64(d.uint())
		e.id, e.state = d.bytes(), d.bytes()
		if len(e.state) < stateHead || !e.at.ok() {
			d.bad = true
			return
		}
		e.ref = stateRef(e.state)
	case entFinish:
		e.ref, e.kill, e.large = d.ref(), d.place(), d.string()
	case entHold, entRelease, entDelete:
		e.file, e.numbers = d.uint(), d.skipRuns()
	case entSuspect:
		e.ref, e.n = d.ref(), d.uint()
	case entSeal:
		e.of, e.file, e.length = slot.Kind(d.byte()), d.uint(), int64(d.uint())
	case entFree:
		e.of, e.file = slot.Kind(d.byte()), d.uint()
	case entClock:
		e.spool, e.skew = d.int(), d.int()
	case entCursor:
		e.file, e.slots, e.offset = d.uint(), d.uint32(), int64(d.uint())
		if e.crosses = d.byte() != 0; e.crosses {
			e.ref, e.numbers = d.ref(), d.skipRuns()
		}
	case entRun:
		e.of, e.file, e.minute, e.n = slot.Kind(d.byte()), d.uint(), d.int(), d.uint()
	case entSwap:
		e.file, e.n, e.length = d.uint(), d.uint(), int64(d.uint())
		n := d.uint()
		if n > uint64(len(d.b)) {
			d.bad = true
			return
		}
		e.files = make([]uint64, n)
		for i := range e.files {
			e.files[i] = d.uint()
		}
	default:
		d.bad = true
	}
}

// decodeEntries calls f for each entry in b. The error is ErrDamaged, and then
// f was not called at all.
func decodeEntries(b []byte, f func(*entry)) error {
	var e entry
	for d := (decoder{b: b}); len(d.b) > 0; {
		if d.entry(&e); d.bad {
			return fmt.Errorf("log entry: %w", ErrDamaged)
		}
	}
	for d := (decoder{b: b}); len(d.b) > 0; {
		d.entry(&e)
		f(&e)
	}
	return nil
}
