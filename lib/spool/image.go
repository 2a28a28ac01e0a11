package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// A checkpoint is what memory holds at the start of a log, as one checked
// piece: magic, fields (numbers as uvarints), CRC-32C.
const ckptMagic = "PRckpt1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendBits(b []byte, m bitmap) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, w := range m {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (d *decoder) bits() bitmap {
	n := d.uint()
	if n > uint64(len(d.b)/8) {
		d.bad, d.b = true, nil
		return nil
	}
	m := make(bitmap, n)
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(d.b[8*i:])
	}
	d.b = d.b[8*n:]
	return m
}

func (q *Queue) encodeCheckpoint() []byte {
	b := []byte(ckptMagic)
	b = binary.AppendVarint(b, q.clock.spool.UnixMicro())
	b = binary.AppendVarint(b, q.clock.offset.Microseconds())
	b = binary.AppendUvarint(b, q.wheel.number)
	b = binary.AppendUvarint(b, uint64(q.wheel.puts))
	b = binary.AppendUvarint(b, q.space.passed)

	b = binary.AppendUvarint(b, uint64(len(q.contents)))
	for _, c := range q.contents {
		b = binary.AppendUvarint(b, c.number)
		b = binary.AppendUvarint(b, uint64(c.slots))
		b = binary.AppendUvarint(b, uint64(c.offset))
		b = binary.AppendUvarint(b, uint64(c.length))
		var flags byte
		if c.sealed {
			flags |= 1
		}
		if c.passed {
			flags |= 2
		}
		b = append(b, flags)
		b = appendBits(appendBits(appendBits(b, c.dead), c.held), c.stated)
	}
	b = binary.AppendUvarint(b, uint64(len(q.runs)))
	for _, r := range q.runs {
		var hold byte
		if r.hold {
			hold = 1
		}
		b = append(binary.AppendUvarint(b, r.number), hold)
		b = binary.AppendVarint(b, r.minute)
		b = binary.LittleEndian.AppendUint64(b, r.key)
		b = binary.AppendUvarint(b, uint64(r.slots))
		b = binary.AppendUvarint(b, uint64(r.length))
		b = appendBits(b, r.dead)
	}
	b = binary.AppendUvarint(b, uint64(len(q.marks)))
	for ref, s := range q.marks {
		b = appendSet(appendRef(b, ref), s)
	}
	b = binary.AppendUvarint(b, uint64(len(q.strikes)))
	for ref, n := range q.strikes {
		b = binary.AppendUvarint(appendRef(b, ref), uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(q.space.large)))
	for _, l := range q.space.large {
		b = appendString(b, l.name)
	}
	b = binary.AppendUvarint(b, q.space.store)
	b = binary.AppendUvarint(b, uint64(len(q.stores)))
	for _, s := range q.stores {
		b = binary.AppendUvarint(b, s.number)
		b = binary.LittleEndian.AppendUint64(b, s.key)
		b = binary.AppendUvarint(b, uint64(s.length))
		b = binary.AppendUvarint(b, uint64(len(s.files)))
		for n := range s.files {
			b = binary.AppendUvarint(b, n)
		}
	}
	return sumUp(q.appendTailed(b))
}

// appendTailed appends when the messages of each content file were tailed.
func (q *Queue) appendTailed(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(q.contents)))
	for _, c := range q.contents {
		b = binary.AppendUvarint(binary.AppendUvarint(b, c.number), uint64(len(c.tailed)))
		for _, t := range c.tailed {
			b = binary.AppendVarint(binary.AppendUvarint(b, uint64(t.slot)), t.at)
		}
	}
	return b
}

func sumUp(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// loadCheckpoint fills an empty Queue from a checkpoint. The error is
// ErrDamaged or one of reading; the Queue is then still empty.
func (q *Queue) loadCheckpoint(name string) (last time.Time, offset time.Duration, err error) {
	b, err := disk.ReadAll(q.fs, name, 0)
	if err != nil {
		return last, 0, err
	}
	bad := fmt.Errorf("%s: %w", name, ErrDamaged)
	n := len(b) - 4
	if n < len(ckptMagic) || string(b[:len(ckptMagic)]) != ckptMagic ||
		crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return last, 0, bad
	}
	d := decoder{b: b[len(ckptMagic):n]}
	last = time.UnixMicro(d.int())
	offset = time.Duration(d.int()) * time.Microsecond
	q.wheel.number = d.uint()
	q.wheel.puts = d.uint32()
	q.space.passed = d.uint()
	for i := d.uint(); i > 0 && !d.bad; i-- {
		c := q.content(d.uint())
		c.slots, c.offset, c.length = d.uint32(), int64(d.uint()), int64(d.uint())
		flags := d.byte()
		c.sealed, c.passed = flags&1 != 0, flags&2 != 0
		c.dead, c.held, c.stated = d.bits(), d.bits(), d.bits()
		c.ndead = uint32(c.dead.count(maxNumber))
	}
	for i := d.uint(); i > 0 && !d.bad; i-- {
		r := &run{number: d.uint(), hold: d.byte() != 0, minute: d.int()}
		if len(d.b) < 8 {
			d.bad = true
			break
		}
		r.key = binary.LittleEndian.Uint64(d.b)
		d.b = d.b[8:]
		r.slots, r.length = d.uint32(), int64(d.uint())
		r.dead = d.bits()
		r.ndead = uint32(r.dead.count(r.slots))
		q.runs[r.number] = r
	}
	for i := d.uint(); i > 0 && !d.bad; i-- {
		ref := d.ref()
		q.marks[ref] = d.set()
	}
	for i := d.uint(); i > 0 && !d.bad; i-- {
		ref := d.ref()
		q.strikes[ref] = int(d.uint())
	}
	for i := d.uint(); i > 0 && !d.bad; i-- {
		q.space.large = append(q.space.large, pendingLarge{name: d.string()})
	}
	if len(d.b) > 0 { // older checkpoints end here
		q.space.store = d.uint()
		for i := d.uint(); i > 0 && !d.bad; i-- {
			d.store(q)
		}
	}
	if len(d.b) > 0 { // and those here
		for i := d.uint(); i > 0 && !d.bad; i-- {
			c := q.content(d.uint())
			for n := d.uint(); n > 0 && !d.bad; n-- {
				c.tailed = append(c.tailed, tailedAt{d.uint32(), d.int()})
			}
		}
	}
	if d.bad || len(d.b) != 0 {
		q.empty()
		return last, 0, bad
	}
	return last, offset, nil
}

// store reads what a checkpoint says of a store file.
func (d *decoder) store(q *Queue) {
	number := d.uint()
	if len(d.b) < 8 {
		d.bad = true
		return
	}
	key := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	length, n := int64(d.uint()), d.uint()
	var files []uint64
	for ; n > 0 && !d.bad; n-- {
		files = append(files, d.uint())
	}
	if !d.bad {
		q.swapped(number, key, length, files)
	}
}

// empty makes q know nothing.
func (q *Queue) empty() {
	q.contents = make(map[uint64]*contentFile)
	q.stores = make(map[uint64]*storeFile)
	q.runs = make(map[uint64]*run)
	q.open = make(map[slot.Ref]*Message)
	q.marks = make(map[slot.Ref]Set)
	q.parked = make(map[slot.Ref]waiting)
	q.strikes = make(map[slot.Ref]int)
	q.wheel = wheel{number: 1, buckets: make(map[int64]*bucket), soonest: never}
	q.space = space{told: make(map[string]bool), left: make(map[string]bool)}
}
