package maildrop

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// magic begins every file; its last byte is the version.
const magic = "\x7fPRDROP\x01"

// Limits.
const (
	// MaxString bounds a sender, recipient, name or option, in bytes.
	MaxString = 4096
	// MaxEnvelope bounds all records before the content together, in bytes; over a
	// million recipients fit.
	MaxEnvelope = 48 << 20
	// MaxPiece bounds the content in one record, in bytes.
	MaxPiece = 64 << 10
)

// Kinds of errors of a Reader, besides those of what it reads.
var (
	ErrIncomplete = errors.New("maildrop: incomplete") // ends before its end record
	ErrFormat     = errors.New("maildrop: malformed")  // no such file, or a damaged one
	ErrLimit      = errors.New("maildrop: over a limit")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kind is the type of a record.
type kind byte

// The kinds of records. The numbers are for ever.
const (
	kindUID       kind = 'U' // uvarint
	kindTime      kind = 'T' // varint, microseconds since the epoch
	kindSender    kind = 'S'
	kindFullName  kind = 'F'
	kindOption    kind = 'A' // "name=value"
	kindRecipient kind = 'R'
	kindContent   kind = 'C'
	kindEnd       kind = 'E'
)

// phase says in what order kinds may come: never lower than the one before.
func (k kind) phase() int {
	switch k {
	case kindUID, kindTime, kindSender, kindFullName, kindOption:
		return 1
	case kindRecipient:
		return 2
	case kindContent:
		return 3
	case kindEnd:
		return 4
	}
	return 0
}

// recordWriter writes records and keeps the CRC.
type recordWriter struct {
	w   *bufio.Writer
	crc uint32
	err error
}

func newRecordWriter(w io.Writer) *recordWriter {
	r := &recordWriter{w: bufio.NewWriterSize(w, 32<<10)}
	r.write([]byte(magic))
	return r
}

func (r *recordWriter) write(b []byte) {
	r.crc = crc32.Update(r.crc, castagnoli, b)
	if _, err := r.w.Write(b); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *recordWriter) put(k kind, data []byte) {
	var a [1 + binary.MaxVarintLen64]byte
	a[0] = byte(k)
	n := binary.PutUvarint(a[1:], uint64(len(data)))
	r.write(a[:1+n])
	r.write(data)
}

func (r *recordWriter) end() error {
	var a [4]byte
	binary.LittleEndian.PutUint32(a[:], r.crc)
	r.put(kindEnd, a[:])
	if err := r.w.Flush(); err != nil && r.err == nil {
		r.err = err
	}
	return r.err
}

// recordReader reads records. The bytes of next are valid until it is called again.
type recordReader struct {
	r     *bufio.Reader
	crc   uint32
	begun bool
	phase int
	head  int64 // bytes of records before the content
	buf   []byte
}

func (r *recordReader) next() (kind, []byte, error) {
	if !r.begun {
		var a [len(magic)]byte
		if err := r.full(a[:]); err != nil {
			return 0, nil, err
		}
		if string(a[:]) != magic {
			return 0, nil, fmt.Errorf("no maildrop file, or one of another version: %w", ErrFormat)
		}
		r.begun = true
	}
	before := r.crc
	c, err := r.r.ReadByte()
	if err != nil {
		return 0, nil, cut(err)
	}
	k := kind(c)
	r.crc = crc32.Update(r.crc, castagnoli, []byte{c})
	n, err := r.uvarint()
	if err != nil {
		return 0, nil, err
	}
	if p := k.phase(); p == 0 || p < r.phase {
		return 0, nil, fmt.Errorf("record type %d is unknown or out of place: %w", k, ErrFormat)
	} else {
		r.phase = p
	}
	limit := uint64(MaxString)
	if k == kindContent {
		limit = MaxPiece
	}
	if n > limit {
		return 0, nil, fmt.Errorf("record type %d of %d bytes: %w", k, n, ErrLimit)
	}
	if k != kindContent {
		if r.head += int64(n) + 2; r.head > MaxEnvelope {
			return 0, nil, fmt.Errorf("envelope over %d bytes: %w", MaxEnvelope, ErrLimit)
		}
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 512))
	}
	b := r.buf[:n]
	if err := r.full(b); err != nil {
		return 0, nil, err
	}
	if k == kindEnd {
		if n != 4 || binary.LittleEndian.Uint32(b) != before {
			return 0, nil, fmt.Errorf("wrong checksum: %w", ErrFormat)
		}
		if _, err := r.r.ReadByte(); err == nil {
			return 0, nil, fmt.Errorf("bytes behind the end: %w", ErrFormat)
		} else if err != io.EOF {
			return 0, nil, err
		}
	}
	return k, b, nil
}

func (r *recordReader) full(b []byte) error {
	if _, err := io.ReadFull(r.r, b); err != nil {
		return cut(err)
	}
	r.crc = crc32.Update(r.crc, castagnoli, b)
	return nil
}

func (r *recordReader) uvarint() (uint64, error) {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		c, err := r.r.ReadByte()
		if err != nil {
			return 0, cut(err)
		}
		r.crc = crc32.Update(r.crc, castagnoli, []byte{c})
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("record length: %w", ErrFormat)
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrIncomplete
	}
	return err
}
