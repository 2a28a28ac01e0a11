package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// An index says where the messages of one content or store file are, in
// NAME.idx in store/: magic, the file's key, how many entries, the entries in the
// order of their messages, CRC-32C. It is derived from the file, never synced,
// and made again when it is absent or bad. An entry takes 24 bytes.
const (
	indexMagic = "PRindex1"
	indexHead  = len(indexMagic) + 8 + 8
	indexEntry = 24
)

type indexed struct {
	id  uint64 // hash of the queue id
	ref slot.Ref
	at  uint32 // offset of the record, in units of slot.Align
}

func hashID(id mail.QueueID) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return h
}

func contentIndexName(number uint64) string {
	return fmt.Sprintf("%s/content.%d.idx", dirStore, number)
}
func storeIndexName(number uint64) string { return storeName(number) + ".idx" }

// index is what is known of one file.
type index []indexed

// find returns the offset of a message's record.
func (x index) find(ref slot.Ref) (int64, bool) {
	i, ok := slices.BinarySearchFunc(x, ref, func(e indexed, ref slot.Ref) int { return e.ref.Compare(ref) })
	if !ok {
		return 0, false
	}
	return int64(x[i].at) * slot.Align, true
}

func (x index) sort() {
	slices.SortFunc(x, func(a, b indexed) int { return a.ref.Compare(b.ref) })
}

// write writes an index. Whether that succeeds matters to nobody.
func (x index) write(fsys disk.FS, name string, key uint64) {
	le := binary.LittleEndian
	b := make([]byte, 0, indexHead+len(x)*indexEntry+4)
	b = append(b, indexMagic...)
	b = le.AppendUint64(le.AppendUint64(b, key), uint64(len(x)))
	for _, e := range x {
		b = le.AppendUint64(le.AppendUint64(b, e.id), e.ref.File)
		b = le.AppendUint32(le.AppendUint32(b, e.ref.Slot), e.at)
	}
	b = sumUp(b)
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if f.Truncate(0) == nil {
		f.WriteAt(b, 0)
	}
}

// readIndex reads the index of a file with that key. The error is ErrDamaged or one
// of reading.
func readIndex(fsys disk.FS, name string, key uint64) (index, error) {
	b, err := disk.ReadAll(fsys, name, 0)
	if err != nil {
		return nil, err
	}
	e, err := indexEntries(b, key)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	x := make(index, 0, len(e)/indexEntry)
	for ; len(e) >= indexEntry; e = e[indexEntry:] {
		x = append(x, indexed{id: le.Uint64(e), ref: slot.Ref{File: le.Uint64(e[8:]), Slot: le.Uint32(e[16:])}, at: le.Uint32(e[20:])})
	}
	return x, nil
}

// scanIndex makes the index of a file from the file. What is damaged is not in it;
// bad, if there is one, is told.
func scanIndex(fsys disk.FS, name string, h slot.Header, length int64, bad func(disk.File, *slot.Damage) error) (index, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var x index
	s := slot.NewScanner(f, h, length)
	s.Lazy, s.Durable = true, length
	for {
		rec, err := s.Next()
		if err == io.EOF {
			break
		}
		var d *slot.Damage
		if errors.As(err, &d) && d.Err != nil {
			return nil, d.Err
		}
		if err != nil {
			if bad != nil {
				if err := bad(f, d); err != nil {
					return nil, err
				}
			}
			continue
		}
		ref := slot.Ref{File: h.Number, Slot: rec.Ref.Slot}
		switch rec.Type {
		case slot.TypeMessage:
		case slot.TypeCopy:
			if ref, _, err = slot.DecodeCopy(rec.Envelope); err != nil {
				continue
			}
		default:
			continue
		}
		x = append(x, indexed{id: hashID(rec.ID), ref: ref, at: uint32(rec.Offset / slot.Align)})
	}
	x.sort()
	return x, nil
}

// loadIndex reads an index, or makes it.
func loadIndex(fsys disk.FS, idx, name string, h slot.Header, length int64) (index, error) {
	x, err := readIndex(fsys, idx, h.Key)
	if err == nil {
		return x, nil
	}
	if x, err = scanIndex(fsys, name, h, length, nil); err == nil {
		x.write(fsys, idx, h.Key)
	}
	return x, err
}
