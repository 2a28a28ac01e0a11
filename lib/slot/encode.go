package slot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Encoder turns records into batches for one file that its owner opened fresh.
// The owner writes what Batch returns at the offset it returns, then calls
// Written; after a successful sync it calls Synced. It allocates nothing once
// its buffer has grown. The zero Encoder is not usable.
type Encoder struct {
	h      Header
	buf    []byte
	start  int64 // offset of buf in the file
	slot   uint32
	mark   int64 // a copy of the header is due at or behind it
	synced int64
	sealed bool
}

// NewEncoder begins a file whose fixed headers are h and durable.
func NewEncoder(h Header) *Encoder {
	e := &Encoder{}
	e.Reset(h)
	return e
}

// Reset begins another file, keeping the buffer.
func (e *Encoder) Reset(h Header) {
	*e = Encoder{h: h, buf: e.buf[:0], start: DataStart, mark: HeaderEvery, synced: DataStart}
}

// Header returns the header of the file.
func (e *Encoder) Header() Header { return e.h }

// End returns the offset at which the file will end once the batch is written.
func (e *Encoder) End() int64 { return e.start + int64(len(e.buf)) }

// Slots returns the number of records so far, those of the batch included.
func (e *Encoder) Slots() uint32 { return e.slot }

// Size returns how far Append of such a record would move End.
func (e *Encoder) Size(id, envelope, content int) int64 {
	n := pad(headSize + int64(id) + int64(envelope) + int64(content))
	if e.End() >= e.mark {
		n += HeaderSize
	}
	return n
}

func pad(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// Append adds r to the batch and sets its Ref, Offset, Size, SyncedBelow and
// ContentSize. The error is ErrTooLarge, and then nothing was added.
func (e *Encoder) Append(r *Record) error {
	if len(r.ID) > maxID || len(r.Envelope) > MaxEnvelope || len(r.Content) > MaxContent {
		return fmt.Errorf("%w: id %d, envelope %d, content %d bytes", ErrTooLarge, len(r.ID), len(r.Envelope), len(r.Content))
	}
	if e.End() >= e.mark {
		e.copyHeader(0)
	}
	at := len(e.buf)
	r.Ref = Ref{e.h.Number, e.slot}
	r.Offset = e.End()
	r.SyncedBelow = e.synced
	r.ContentSize = len(r.Content)
	r.Size = pad(headSize + int64(len(r.ID)) + int64(len(r.Envelope)) + int64(len(r.Content)))
	e.slot++

	seed := bodySeed(e.h.Key, r.Offset)
	r.contentCRC = crc32.Update(seed, table, r.Content)
	e.buf = append(e.buf, zeros[:headSize]...)
	e.buf = append(e.buf, r.ID...)
	h := e.buf[at:] // filled in place: an array here would go to the heap
	le := binary.LittleEndian
	le.PutUint64(h[0:], e.h.Key)
	le.PutUint64(h[8:], e.h.Number)
	le.PutUint64(h[16:], uint64(r.Offset))
	le.PutUint64(h[24:], uint64(r.SyncedBelow))
	le.PutUint32(h[32:], r.Ref.Slot)
	h[36], h[37], h[38] = r.Type, r.Flags, byte(len(r.ID))
	le.PutUint32(h[40:], r.Generation)
	le.PutUint32(h[44:], uint32(len(r.Envelope)))
	le.PutUint32(h[48:], uint32(len(r.Content)))
	le.PutUint32(h[52:], crc32.Update(seed, table, r.Envelope))
	le.PutUint32(h[56:], r.contentCRC)
	le.PutUint32(h[60:], headCRC(e.h.Key, h))

	e.buf = append(e.buf, r.Envelope...)
	e.buf = append(e.buf, r.Content...)
	e.buf = append(e.buf, zeros[:at+int(r.Size)-len(e.buf)]...)
	return nil
}

// Seal ends the file: a copy of the header with the length goes behind the last
// record. Nothing may be appended afterwards.
func (e *Encoder) Seal() {
	if !e.sealed {
		e.copyHeader(e.End() + HeaderSize)
		e.sealed = true
	}
}

func (e *Encoder) copyHeader(sealed int64) {
	h := e.h
	h.Sealed, h.Offset, h.SyncedBelow = sealed, e.End(), e.synced
	e.buf = appendHeader(e.buf, &h)
	for e.mark < e.End() {
		e.mark += HeaderEvery
	}
}

// Batch returns the bytes that wait to be written and their offset in the file.
// They are valid until the next call of Written or Reset.
func (e *Encoder) Batch() (b []byte, off int64) { return e.buf, e.start }

// Written says that the batch was written: the next one follows it.
func (e *Encoder) Written() {
	e.start = e.End()
	if cap(e.buf) > 32<<20 { // a huge envelope passed by
		e.buf = nil
	}
	e.buf = e.buf[:0]
}

// Synced says that the file is durable up to off.
func (e *Encoder) Synced(off int64) { e.synced = off }

// bodySeed starts the CRCs of envelope and content.
func bodySeed(key uint64, off int64) uint32 {
	return uint32(key) ^ uint32(key>>32) ^ uint32(off>>6)*0x9e3779b1
}

// headCRC covers a head and the id behind it, but for the CRC's own place.
func headCRC(key uint64, h []byte) uint32 {
	c := crc32.Update(uint32(key)^uint32(key>>32), table, h[:60])
	return crc32.Update(c, table, h[headSize:])
}
