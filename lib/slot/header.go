package slot

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Version is the format this package reads and writes.
const Version = 1

// Header is what a file says of itself.
type Header struct {
	Kind    Kind
	Number  uint64 // among the files of its kind; of a free file: its last
	Key     uint64 // random, new in each life of the file
	Created int64  // microseconds since the epoch, by the writer's clock

	// Of the copy at the end of a sealed file: the length of what is sealed,
	// this copy included. Elsewhere 0.
	Sealed int64
	// Of a copy among the records: its own offset, and what was durable before
	// its batch was begun.
	Offset, SyncedBelow int64
}

// NewKey returns a random key for a file's next life. It is never 0.
func NewKey() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if k := binary.LittleEndian.Uint64(b[:]); k != 0 {
			return k
		}
	}
}

// magic never equals a key but by a chance of 2^-64 per file.
const magic = "PRslots\n"

const headerLen = 72 // bytes of a header copy that mean something; one sector

var table = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, table) }

// appendHeader appends one copy of HeaderSize bytes.
func appendHeader(b []byte, h *Header) []byte {
	n := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, Version)
	b = append(b, byte(h.Kind), 0, 0, 0, 0, 0)
	for _, v := range [...]uint64{h.Number, h.Key, uint64(h.Created), uint64(h.Sealed), uint64(h.Offset), uint64(h.SyncedBelow)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, checksum(b[n:]))
	return append(b, zeros[:HeaderSize-headerLen]...)
}

var zeros [HeaderSize]byte

// decodeHeader reads a copy from its first headerLen bytes. Errors are
// ErrDamage or ErrVersion.
func decodeHeader(b []byte) (h Header, err error) {
	if len(b) < headerLen || string(b[:len(magic)]) != magic ||
		checksum(b[:headerLen-4]) != binary.LittleEndian.Uint32(b[headerLen-4:]) {
		return h, ErrDamage
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != Version {
		return h, fmt.Errorf("%w %d", ErrVersion, v)
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	h = Header{Kind: Kind(b[10]), Number: u(16), Key: u(24), Created: int64(u(32)),
		Sealed: int64(u(40)), Offset: int64(u(48)), SyncedBelow: int64(u(56))}
	if h.Key == 0 || h.Kind < Free || h.Kind > Log {
		return h, ErrDamage
	}
	return h, nil
}

// WriteHeader writes both fixed copies. They count when the caller has synced
// the file, and its directory if it is new.
func WriteHeader(w io.WriterAt, h Header) error {
	h.Sealed, h.Offset, h.SyncedBelow = 0, 0, 0
	b := appendHeader(make([]byte, 0, DataStart), &h)
	h.Offset = HeaderSize
	_, err := w.WriteAt(appendHeader(b, &h), 0)
	return err
}

// ReadHeader reads the fixed copies; the first good one counts. Other errors
// than those of reading are ErrVersion, ErrBlank (nothing but zeros, or
// nothing), or ErrDamage: then FindHeader may help.
func ReadHeader(r io.ReaderAt) (Header, error) {
	var buf [DataStart]byte
	n, err := r.ReadAt(buf[:], 0)
	if err == io.EOF {
		err = nil
	}
	if err != nil { // a bad sector in one copy must not cost the other
		n = len(buf)
		for i := 0; i < DataStart; i += HeaderSize {
			if _, e := r.ReadAt(buf[i:i+HeaderSize], int64(i)); e != nil {
				clear(buf[i : i+HeaderSize])
			}
		}
	}
	for i := 0; i < DataStart && i < n; i += HeaderSize {
		h, herr := decodeHeader(buf[i:min(n, i+headerLen)])
		if errors.Is(herr, ErrVersion) || herr == nil && h.Offset == int64(i) && h.Sealed == 0 {
			return h, herr
		}
	}
	switch {
	case err != nil:
		return Header{}, err
	case bytes.Equal(buf[:n], make([]byte, n)):
		return Header{}, ErrBlank
	}
	return Header{}, fmt.Errorf("%w: no good file header", ErrDamage)
}

// FindHeader looks for the copies of the header among the records of a file of
// size bytes whose fixed copies are lost. Content may imitate a header, and
// remains of earlier lives are real ones, so the key that has copies in the
// most MiB of the file wins; a tie is ErrDamage. One pass, bounded memory.
func FindHeader(r io.ReaderAt, size int64) (Header, error) {
	type votes struct {
		h     Header
		mib   int64 // last one counted
		count int
	}
	const maxKeys = 4096
	found := make(map[uint64]*votes)
	w := window{r: r, size: size}
	for off := int64(DataStart); off < size; off += Align {
		b := w.bytes(off, headerLen)
		if len(b) < headerLen || string(b[:len(magic)]) != magic {
			continue
		}
		h, err := decodeHeader(b)
		if err != nil || h.Offset != off {
			continue
		}
		v := found[h.Key]
		if v == nil {
			if len(found) == maxKeys {
				continue
			}
			v = &votes{h: h, mib: -1}
			found[h.Key] = v
		}
		if mib := off / HeaderEvery; mib != v.mib {
			v.mib, v.count = mib, v.count+1
		}
	}
	var best *votes
	tie := false
	for _, v := range found {
		switch {
		case best == nil || v.count > best.count:
			best, tie = v, false
		case v.count == best.count:
			tie = true
		}
	}
	if best == nil || tie {
		return Header{}, fmt.Errorf("%w: no copy of the file header decides", ErrDamage)
	}
	h := best.h
	h.Sealed, h.Offset, h.SyncedBelow = 0, 0, 0
	return h, nil
}
