package slot

import (
	"encoding/binary"
	"fmt"
	"io"

	"postrider/lib/mutant"
)

// Damage is an error of kind ErrDamage: the bytes [From, To) of a file were
// durable and are not good. When only the envelope or the content is bad,
// Record is the record without them, so its id and slot are known; otherwise
// it is nil and any number of records may have stood there (the slots tell).
type Damage struct {
	File     uint64
	From, To int64
	Record   *Record
	Reason   string
	Err      error // of reading, or nil
}

func (d *Damage) Error() string {
	s := fmt.Sprintf("slot: file %d, bytes %d to %d damaged: %s", d.File, d.From, d.To, d.Reason)
	if d.Err != nil {
		s += ": " + d.Err.Error()
	}
	return s
}

// Unwrap gives ErrDamage and the error of reading.
func (d *Damage) Unwrap() []error {
	if d.Err == nil {
		return []error{ErrDamage}
	}
	return []error{ErrDamage, d.Err}
}

// Scanner reads the records of one file in order. Each byte is looked at a
// bounded number of times, whatever the file holds.
type Scanner struct {
	// Durable is what others know to be durable: cleanup's last word, or a
	// Seal of a later file. Bad bytes below it are damage, never a torn tail.
	Durable int64
	// Lazy passes over contents: neither read nor checked. For files whose
	// scanned part is known to be durable; a torn content would go unseen.
	Lazy bool
	// Warm is up to what size in bytes contents are read, checked and given also when
	// Lazy. One that is not good is passed over like the others.
	Warm int

	h      Header
	off    int64
	w      window
	ahead  window // for looking ahead
	look   int64  // looked ahead to here
	synced int64  // highest SyncedBelow seen
	sealed bool
	torn   bool
	rec    head
}

// NewScanner reads from DataStart up to size, which is the file's size, or less
// when the rest must not be read: what its writer has not yet made durable, or
// what a Seal cut off.
func NewScanner(r io.ReaderAt, h Header, size int64) *Scanner {
	return &Scanner{h: h, off: DataStart, w: window{r: r, size: size}, ahead: window{r: r, size: size}}
}

// MoveTo continues at off, where a record begins.
func (s *Scanner) MoveTo(off int64) { s.off, s.sealed, s.torn = off, false, false }

// Extend says that the file may now be read up to size.
func (s *Scanner) Extend(size int64) {
	if size > s.w.size {
		s.w.size, s.ahead.size, s.torn = size, size, false
	}
}

// Offset returns where the next record is expected; after io.EOF, where the
// file ends.
func (s *Scanner) Offset() int64 { return s.off }

// Sealed says, after io.EOF, that the writer ended the file here.
func (s *Scanner) Sealed() bool { return s.sealed }

// Header returns the header the scanner was made with.
func (s *Scanner) Header() Header { return s.h }

// Next returns the next record, valid until the next call. io.EOF means that
// nothing follows: the size given was reached, or the end of a sealed file, or
// there is no record there that anybody was told is safe (a torn tail, or what
// an earlier life of the file left). A *Damage tells of a part that is lost;
// the call after it goes on behind it. There are no other errors.
func (s *Scanner) Next() (*Record, error) {
	for {
		if s.sealed || s.torn || s.off >= s.w.size {
			return nil, io.EOF
		}
		b := s.w.bytes(s.off, headSize+maxID)
		if c, ok := s.header(b, s.off); ok {
			s.synced = max(s.synced, c.SyncedBelow)
			s.off += HeaderSize
			s.sealed = c.Sealed == s.off
			continue
		}
		reason := "no record"
		h, ok := decodeHead(b, s.h.Key, s.h.Number, s.off)
		if ok {
			want := headSize + len(h.ID) + h.envelope
			if !s.Lazy || h.ContentSize <= s.Warm {
				want += h.ContentSize
			}
			b = s.w.bytes(s.off, want)
			warm := b
			if s.Lazy && h.ContentSize <= s.Warm {
				want -= h.ContentSize
				b = b[:min(want, len(b))]
			}
			switch {
			case h.End() > s.w.size || len(b) < want:
				reason = "record is cut short"
			default:
				reason = h.body(b, s.h.Key, s.Lazy)
			}
			if len(warm) > want && len(warm) == want+h.ContentSize && reason == "" {
				if h.body(warm, s.h.Key, false) != "" {
					h.Content = nil
				}
			}
			if reason == "" {
				s.synced = max(s.synced, h.SyncedBelow)
				s.off += h.Size
				s.rec = h
				return &s.rec.Record, nil
			}
		}
		d := &Damage{File: s.h.Number, From: s.off, Reason: reason}
		if ok && h.End() <= s.w.size {
			r := h.Record
			r.Envelope, r.Content = nil, nil
			d.To, d.Record = r.End(), &r
		} else {
			d.To = s.search(s.off + Align)
		}
		if !s.wasSynced(d.From, d.To) {
			s.torn = true
			return nil, io.EOF
		}
		if s.w.errEnd > d.From {
			d.Err = s.w.err
		}
		// Nothing good follows: the damage ends where nothing was promised.
		if last := max(s.Durable, s.w.errEnd, s.ahead.errEnd); d.To >= s.w.size && last > d.From {
			d.To = min(d.To, pad(last))
		}
		s.off = d.To
		return nil, d
	}
}

// header reads a copy of this file's header from b, at offset off.
func (s *Scanner) header(b []byte, off int64) (Header, bool) {
	if len(b) < headerLen || string(b[:len(magic)]) != magic {
		return Header{}, false
	}
	h, err := decodeHeader(b)
	return h, err == nil && h.Key == s.h.Key && h.Offset == off
}

// search returns the offset of the first good head or header at or behind off,
// or the end of the file. Only bodies could still be bad there.
func (s *Scanner) search(off int64) int64 {
	for off < s.w.size {
		b := s.w.bytes(off, chunk)
		for i := 0; i < len(b); i += Align {
			if !s.promising(b[i:]) {
				continue
			}
			at := off + int64(i)
			c := s.w.bytes(at, headSize+maxID)
			if _, _, ok := s.good(c, at); ok {
				return at
			}
			b = s.w.bytes(off, chunk) // the window may have moved
		}
		if len(b) == 0 {
			break
		}
		off += pad(int64(len(b)))
	}
	return s.w.size
}

func (s *Scanner) promising(b []byte) bool {
	return len(b) >= 8 && (binary.LittleEndian.Uint64(b) == s.h.Key || string(b[:8]) == magic)
}

// good reads a head or a header: how much it takes up and its SyncedBelow.
func (s *Scanner) good(b []byte, at int64) (size, synced int64, ok bool) {
	if h, ok := decodeHead(b, s.h.Key, s.h.Number, at); ok {
		return h.Size, h.SyncedBelow, true
	}
	if c, ok := s.header(b, at); ok {
		return HeaderSize, c.SyncedBelow, true
	}
	return 0, 0, false
}

// wasSynced says whether the bytes at off were durable, by what follows at from
// or later. It remembers how far it looked, so all calls together read the file
// once. What cannot be read is taken to have been durable: no mail is dropped
// because a disk fails for a moment.
func (s *Scanner) wasSynced(off, from int64) bool {
	if s.Durable > off || s.synced > off || mutant.On(mutant.TornIsDamage) {
		return true
	}
	s.look = max(s.look, from)
	for s.look < s.ahead.size {
		b := s.ahead.bytes(s.look, headSize+maxID)
		if len(b) == 0 {
			break
		}
		step := int64(Align)
		if s.promising(b) {
			if size, synced, ok := s.good(b, s.look); ok {
				s.synced = max(s.synced, synced)
				if mutant.On(mutant.GoodIsDurable) {
					return true
				}
				step = size
			}
		}
		s.look += step
		if s.synced > off {
			return true
		}
	}
	return s.w.errEnd > off || s.ahead.errEnd > off
}
