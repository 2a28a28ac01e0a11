package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A cdb file (D. J. Bernstein, "cdb file format") begins with 256 pairs of position and
// length, in slots, of the hash tables at its end. Between them are the records: length
// of the key, length of the value, key, value. A slot is the hash of a key and the
// position of its record, 0 for none. All numbers have 32 bits, little end first.
const (
	cdbTables = 256
	cdbHeader = cdbTables * 8
	cdbMax    = 1<<32 - 1
)

// cdb is an indexed table. It holds the header in memory and reads the rest with two
// reads for each lookup, so that a large table costs no memory.
type cdb struct {
	name string
	r    *io.SectionReader
	head [cdbHeader]byte
	nul  bool // keys and values end with a NUL byte, as Postfix and postmap -N write them
}

// errCDB is the cause when a file is no cdb, or damaged.
var errCDB = errors.New("not a cdb file, or cut short: run postmap or postalias again")

// openCDB checks the header: whatever it says lies within the file.
func openCDB(name string, r *io.SectionReader) (*cdb, error) {
	c := &cdb{name: name, r: r}
	size := r.Size()
	if size > cdbMax {
		return nil, errCDB
	}
	if err := c.read(c.head[:], 0); err != nil {
		return nil, errCDB
	}
	for t := range cdbTables {
		pos, slots := c.table(uint32(t))
		if int64(pos) < cdbHeader || int64(pos)+8*int64(slots) > size {
			return nil, errCDB
		}
	}
	err := c.each(func(key, _ string) bool {
		c.nul = strings.HasSuffix(key, "\x00")
		return false
	})
	return c, err
}

// table is where a hash table is and how many slots it has.
func (c *cdb) table(hash uint32) (pos, slots uint32) {
	b := c.head[hash%cdbTables*8:]
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}

// read fills b with what is at off.
func (c *cdb) read(b []byte, off int64) error {
	n, err := c.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = errCDB
	}
	return err
}

func cdbHash(key string) uint32 {
	h := uint32(5381)
	for i := 0; i < len(key); i++ {
		h = (h << 5) + h ^ uint32(key[i])
	}
	return h
}

// Lookup implements Table.
func (c *cdb) Lookup(_ context.Context, key string) (string, bool, error) {
	key = strings.ToLower(key)
	if c.nul {
		key += "\x00"
	}
	v, ok, err := c.find(key)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w: %v", c.name, ErrTemp, err)
	}
	if c.nul {
		v = strings.TrimSuffix(v, "\x00")
	}
	return v, ok, nil
}

func (c *cdb) find(key string) (string, bool, error) {
	hash := cdbHash(key)
	pos, slots := c.table(hash)
	if slots == 0 {
		return "", false, nil
	}
	var buf [512]byte // slots are read many at a time, a record with one read
	at := (hash >> 8) % slots
	for seen := uint32(0); seen < slots; {
		n := min(uint32(len(buf)/8), slots-at, slots-seen)
		b := buf[:8*n]
		if err := c.read(b, int64(pos)+8*int64(at)); err != nil {
			return "", false, err
		}
		for ; len(b) > 0; b = b[8:] {
			record := binary.LittleEndian.Uint32(b[4:])
			if record == 0 {
				return "", false, nil
			}
			if binary.LittleEndian.Uint32(b) != hash {
				continue
			}
			if v, ok, err := c.record(int64(record), key); ok || err != nil {
				return v, ok, err
			}
		}
		seen += n
		if at += n; at == slots {
			at = 0
		}
	}
	return "", false, nil
}

// record returns the value of the record at pos if it has the key.
func (c *cdb) record(pos int64, key string) (string, bool, error) {
	var buf [512]byte
	b := buf[:min(int64(len(buf)), c.r.Size()-pos)]
	if len(b) < 8 {
		return "", false, errCDB
	}
	if err := c.read(b, pos); err != nil {
		return "", false, err
	}
	klen, vlen := int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
	if pos+8+klen+vlen > c.r.Size() {
		return "", false, errCDB
	}
	if klen != int64(len(key)) {
		return "", false, nil
	}
	if whole := 8 + klen + vlen; whole > int64(len(b)) {
		b = make([]byte, whole)
		if err := c.read(b, pos); err != nil {
			return "", false, err
		}
	}
	if string(b[8:8+klen]) != key {
		return "", false, nil
	}
	return string(b[8+klen : 8+klen+vlen]), true, nil
}

// each calls f with each record, in the order of the file, until it returns false. Keys
// and values are as they are stored.
func (c *cdb) each(f func(key, value string) bool) error {
	end := c.r.Size()
	for t := range cdbTables {
		if pos, slots := c.table(uint32(t)); slots > 0 {
			end = min(end, int64(pos))
		}
	}
	var head [8]byte
	for pos := int64(cdbHeader); pos+8 <= end; {
		if err := c.read(head[:], pos); err != nil {
			return err
		}
		klen, vlen := int64(binary.LittleEndian.Uint32(head[:])), int64(binary.LittleEndian.Uint32(head[4:]))
		if pos+8+klen+vlen > end {
			return errCDB
		}
		b := make([]byte, klen+vlen)
		if err := c.read(b, pos+8); err != nil {
			return err
		}
		if !f(string(b[:klen]), string(b[klen:])) {
			return nil
		}
		pos += 8 + klen + vlen
	}
	return nil
}

// Record is a key of a table with its value.
type Record struct{ Key, Value string }

// EachRecord calls f with each record of an indexed file, in the order in which they
// were put there, until it returns false. NUL bytes at the end of keys and values are
// left out.
func EachRecord(r *io.SectionReader, f func(Record) bool) error {
	c, err := openCDB("", r)
	if err != nil {
		return err
	}
	return c.each(func(k, v string) bool {
		if c.nul {
			k, v = strings.TrimSuffix(k, "\x00"), strings.TrimSuffix(v, "\x00")
		}
		return f(Record{k, v})
	})
}

// WriteIndex writes records as an indexed file; of two with one key the first is found.
// Keys are written as they are: lookups are in lower case. With nul a NUL byte is put
// behind each key and value.
func WriteIndex(w io.Writer, records []Record, nul bool) error {
	type slot struct{ hash, pos uint32 }
	var counts [cdbTables]uint32
	tail := 0
	if nul {
		tail = 1
	}
	pos := int64(cdbHeader)
	slots := make([]slot, len(records))
	for i, r := range records {
		key := r.Key
		if nul {
			key += "\x00"
		}
		slots[i] = slot{cdbHash(key), uint32(pos)}
		counts[slots[i].hash%cdbTables]++
		pos += 8 + int64(len(r.Key)+len(r.Value)+2*tail)
		if pos+16*int64(len(records)) > cdbMax {
			return fmt.Errorf("a cdb file cannot have more than %d bytes", int64(cdbMax))
		}
	}
	// The slots of each table, in the order of their records.
	var begin [cdbTables + 1]uint32
	for t, n := range counts {
		begin[t+1] = begin[t] + n
	}
	sorted, next := make([]slot, len(slots)), begin
	for _, s := range slots {
		t := s.hash % cdbTables
		sorted[next[t]] = s
		next[t]++
	}

	var head bytes.Buffer
	number := func(n ...uint32) []byte {
		var b []byte
		for _, n := range n {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return b
	}
	for _, n := range counts {
		head.Write(number(uint32(pos), 2*n))
		pos += 16 * int64(n)
	}
	if _, err := w.Write(head.Bytes()); err != nil {
		return err
	}
	var b []byte
	for _, r := range records {
		b = append(b[:0], number(uint32(len(r.Key)+tail), uint32(len(r.Value)+tail))...)
		b = append(append(b, r.Key...), "\x00"[:tail]...)
		b = append(append(b, r.Value...), "\x00"[:tail]...)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for t, n := range counts {
		table := make([]slot, 2*n) // half of the slots stay empty
		for _, s := range sorted[begin[t]:begin[t+1]] {
			at := (s.hash >> 8) % uint32(len(table))
			for table[at].pos != 0 {
				at = (at + 1) % uint32(len(table))
			}
			table[at] = s
		}
		b = b[:0]
		for _, s := range table {
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, s.hash), s.pos)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
