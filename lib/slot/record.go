package slot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"postrider/lib/mail"
	"postrider/lib/mutant"
)

// head is the decoded first part of a record.
type head struct {
	Record
	envelope    int // length
	envelopeCRC uint32
}

// decodeHead reads a head with its id at offset off from b, which holds at
// least headSize+maxID bytes unless the file ends before.
func decodeHead(b []byte, key, number uint64, off int64) (h head, ok bool) {
	le := binary.LittleEndian
	if len(b) < headSize || le.Uint64(b) != key || le.Uint64(b[8:]) != number || le.Uint64(b[16:]) != uint64(off) {
		return h, false
	}
	n := headSize + int(b[38])
	if n > headSize+maxID || n > len(b) || headCRC(key, b[:n]) != le.Uint32(b[60:]) {
		return h, false
	}
	h.envelope, h.ContentSize = int(le.Uint32(b[44:])), int(le.Uint32(b[48:]))
	if h.envelope > MaxEnvelope || h.ContentSize > MaxContent {
		return h, false
	}
	h.Type, h.Flags, h.Generation = b[36], b[37], le.Uint32(b[40:])
	h.ID = mail.QueueID(b[headSize:n])
	h.Ref = Ref{number, le.Uint32(b[32:])}
	h.Offset, h.SyncedBelow = off, int64(le.Uint64(b[24:]))
	h.Size = pad(int64(n) + int64(h.envelope) + int64(h.ContentSize))
	h.envelopeCRC, h.contentCRC = le.Uint32(b[52:]), le.Uint32(b[56:])
	return h, true
}

// body checks the envelope and, if it is there, the content in b, which begins
// with the record's head, and points h into b. It returns what is wrong, or "".
func (h *head) body(b []byte, key uint64, lazy bool) string {
	seed := bodySeed(key, h.Offset)
	i := headSize + len(h.ID)
	h.Envelope = b[i : i+h.envelope : i+h.envelope]
	if crc32.Update(seed, table, h.Envelope) != h.envelopeCRC && !mutant.On(mutant.Unchecked) {
		return "envelope does not match its checksum"
	}
	if lazy {
		return ""
	}
	i += h.envelope
	h.Content = b[i : i+h.ContentSize : i+h.ContentSize]
	if crc32.Update(seed, table, h.Content) != h.contentCRC && !mutant.On(mutant.Unchecked) {
		return "content does not match its checksum"
	}
	return ""
}

// ReadRecord reads the record at off of the file with header h into buf, which
// grows as needed; the record points into what is returned. The error is
// ErrDamage when no good record stands there, else what reading gave.
func ReadRecord(r io.ReaderAt, h Header, off int64, buf []byte) (Record, []byte, error) {
	return ReadSized(r, h, off, 1024, buf) // most envelopes fit: one call then reads head and envelope
}

// ReadSized is ReadRecord of a record whose size in the file is known, or guessed: it
// reads so much at once, and more when that is not all.
func ReadSized(r io.ReaderAt, h Header, off, size int64, buf []byte) (Record, []byte, error) {
	buf = grow(buf, max(headSize+maxID, int(min(size, MaxContent))))
	n, err := r.ReadAt(buf, off)
	if err != nil && err != io.EOF {
		return Record{}, buf, err
	}
	rec, ok := decodeHead(buf[:min(n, headSize+maxID)], h.Key, h.Number, off)
	if !ok {
		return Record{}, buf, fmt.Errorf("%w: no record at %d of %v file %d", ErrDamage, off, h.Kind, h.Number)
	}
	want := headSize + len(rec.ID) + rec.envelope + rec.ContentSize
	if want > n {
		more := grow(buf, want)
		if cap(buf) < want {
			copy(more, buf[:n])
		}
		buf = more
		if k, err := r.ReadAt(buf[n:want], off+int64(n)); err != nil && (err != io.EOF || n+k < want) {
			if err == io.EOF {
				err = fmt.Errorf("%w: record %v is cut short", ErrDamage, rec.Ref)
			}
			return Record{}, buf, err
		}
	}
	if bad := rec.body(buf[:want], h.Key, false); bad != "" {
		return rec.Record, buf, fmt.Errorf("%w: record %v: %s", ErrDamage, rec.Ref, bad)
	}
	return rec.Record, buf, nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
