package spool

import (
	"encoding/binary"

	"postrider/lib/slot"
)

// A log record holds entries in its content, and in its envelope the names of
// the messages that the records shortly before it speak of: when a block of
// the log is lost, the first good record behind it says whom that concerns.
const (
	recordTarget = 3 << 10 // entries of one record, so that a lost block hurts few
	lostBlock    = 4 << 10 // what is lost at once when a sector is
)

// batch is what one turn logged. It is kept until it is durable, so that it
// can be written again into another file.
type batch struct {
	seq     uint64
	entries []byte
	names   []byte // per entry: content file, slots as runs
	recs    []cuts
	out     []byte // as written
}

// cuts is where a record's entries and names end.
type cuts struct{ entries, names int }

func (b *batch) open() (entries, names int) {
	if n := len(b.recs); n > 0 {
		return b.recs[n-1].entries, b.recs[n-1].names
	}
	return 0, 0
}

func (b *batch) cut() {
	if n, _ := b.open(); len(b.entries) > n {
		b.recs = append(b.recs, cuts{len(b.entries), len(b.names)})
	}
}

type waiter struct {
	seq uint64
	f   func(error)
}

// logWriter is the owner's side of the log.
type logWriter struct {
	c       *committer
	file    *logFile
	enc     *slot.Encoder
	chain   []*logFile // older files that are not known to be durable to their ends
	cur     *batch
	spare   []*batch
	pending []*batch // committed and not durable, in order
	recent  recentNames

	seq, written, durable uint64
	onWritten, onSynced   []waiter

	proven Witness // the newest that is durable, but for which spool this is
	wanted bool    // a sync, at the end of the turn
	failed bool    // nothing can be written until there is another file
	unsure bool    // and until that is synced, nothing said before is certain
	repeat uint64  // the log that repeats what was not durable then

	bytes, syncs int64
}

// begin returns the buffer to append one entry to.
func (l *logWriter) begin() []byte {
	if n, _ := l.cur.open(); len(l.cur.entries)-n >= recordTarget {
		l.cur.cut()
	}
	return l.cur.entries
}

// end takes the buffer back with an entry that speaks of no message.
func (l *logWriter) end(b []byte) { l.cur.entries = b }

// endRef takes the buffer back with an entry about the message at ref.
func (l *logWriter) endRef(b []byte, ref slot.Ref) {
	l.cur.entries = b
	n := binary.AppendUvarint(l.cur.names, ref.File)
	n = binary.AppendUvarint(append(n, 1), uint64(ref.Slot))
	l.cur.names = append(n, 0)
}

// endSlots takes the buffer back with an entry about slots of a file.
func (l *logWriter) endSlots(b []byte, file uint64, slots []uint32) {
	l.cur.entries = b
	l.cur.names = appendNumbers(binary.AppendUvarint(l.cur.names, file), slots)
}

// next is the sequence number that what is logged now will have.
func (l *logWriter) next() uint64 { return l.seq + 1 }

// last is the sequence number of what was logged last.
func (l *logWriter) last() uint64 {
	if len(l.cur.entries) > 0 {
		return l.seq + 1
	}
	return l.seq
}

// commit hands the turn's entries to the committer.
func (l *logWriter) commit() {
	if len(l.cur.entries) == 0 {
		return
	}
	b := l.cur
	b.cut()
	l.seq++
	b.seq = l.seq
	l.pending = append(l.pending, b)
	l.cur = l.newBatch()
	if !l.failed {
		l.encode(b)
		l.send(b, 0)
	}
}

func (l *logWriter) newBatch() *batch {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b
	}
	return &batch{}
}

func (l *logWriter) encode(b *batch) {
	var e, n int
	for _, to := range b.recs {
		l.encodeRecord(b.entries[e:to.entries], b.names[n:to.names])
		e, n = to.entries, to.names
	}
}

func (l *logWriter) encodeRecord(entries, names []byte) {
	r := slot.Record{Type: recordType, Envelope: l.recent.before(), Content: entries}
	if err := l.enc.Append(&r); err != nil {
		// Only an entry beyond slot.MaxContent could do that; recipients and
		// texts are bounded far below.
		panic("spool: " + err.Error())
	}
	l.recent.add(r.Offset, r.End(), names)
}

// send gives what the encoder holds to the committer; it ends with b. head is 0, or how
// many bytes of it say where older files end whose entries it repeats.
func (l *logWriter) send(b *batch, head int) {
	p, off := l.enc.Batch()
	b.out = append(b.out[:0], p...)
	l.enc.Written()
	l.file.end = l.enc.End()
	l.bytes += int64(len(p))
	l.c.write(job{file: l.file, off: off, b: b.out, seq: b.seq, again: head > 0, head: head})
}

// begun makes f the file that the log is written to. Its first record says
// where the files before it end. Nothing may be logged and not committed.
func (l *logWriter) begun(f *logFile, h slot.Header, clock []byte) {
	var head []byte
	if l.file != nil {
		l.chain = append(l.chain, l.file)
	}
	for _, o := range l.chain {
		if l.failed {
			o.end = o.durable // what lies behind is repeated here
		}
		head = appendSeal(head, slot.Log, o.number, o.end)
	}
	head = append(head, clock...)
	l.file = f
	if l.enc == nil {
		l.enc = slot.NewEncoder(h)
	} else {
		l.enc.Reset(h)
	}
	b := l.newBatch()
	b.entries = append(b.entries, head...)
	b.cut()
	l.encodeRecord(b.entries, nil) // naming what the last block of the older file speaks of
	l.recent.reset()
	l.seq++
	b.seq = l.seq
	again, size := l.failed, 0
	if again {
		size = int(l.enc.End() - slot.DataStart)
		for _, o := range l.pending {
			l.encode(o)
		}
		l.failed, l.repeat = false, f.number
	}
	l.pending = append(l.pending, b)
	l.send(b, size)
	if again {
		l.c.flush()
	}
}

func (l *logWriter) isWritten(seq uint64) {
	l.written = max(l.written, seq)
	l.onWritten = wake(l.onWritten, l.written)
}

func (l *logWriter) isSynced(f *logFile, seq uint64, upto int64) {
	l.syncs++
	f.durable = upto
	l.proven = Witness{Log: f.number, Key: f.key, Length: upto}
	for len(l.chain) > 0 && l.chain[0].number < f.number {
		l.chain[0].durable = l.chain[0].end
		l.chain = l.chain[1:]
	}
	if f == l.file {
		l.enc.Synced(upto)
	}
	if !l.failed && f.number >= l.repeat {
		l.unsure = false
	}
	l.durable = max(l.durable, seq)
	n := 0
	for n < len(l.pending) && l.pending[n].seq <= l.durable {
		b := l.pending[n]
		if len(l.spare) < 16 && cap(b.entries) < 1<<20 {
			b.entries, b.names, b.recs = b.entries[:0], b.names[:0], b.recs[:0]
			l.spare = append(l.spare, b)
		}
		n++
	}
	l.pending = append(l.pending[:0], l.pending[n:]...)
	l.onSynced = wake(l.onSynced, l.durable)
}

// wake calls the waiters up to seq and returns the others.
func wake(ws []waiter, seq uint64) []waiter {
	n := 0
	for n < len(ws) && ws[n].seq <= seq {
		n++
	}
	if n == 0 {
		return ws
	}
	due := append([]waiter(nil), ws[:n]...)
	ws = append(ws[:0], ws[n:]...)
	for _, w := range due {
		w.f(nil)
	}
	return ws
}

// recentNames are the names in the last records: those that a lost block
// before the next record could hold.
type recentNames struct {
	recs []namedRecord
	buf  []byte
}

type namedRecord struct {
	off, end int64
	names    []byte
}

func (r *recentNames) reset() { r.recs = r.recs[:0] }

func (r *recentNames) add(off, end int64, names []byte) {
	n := len(r.recs)
	if n < cap(r.recs) {
		r.recs = r.recs[:n+1]
	} else {
		r.recs = append(r.recs, namedRecord{})
	}
	p := &r.recs[n]
	p.off, p.end, p.names = off, end, append(p.names[:0], names...)
}

// before returns the names for the next record. A lost block ends where that
// begins at the latest, or inside the last record, which is lost with it.
func (r *recentNames) before() []byte {
	n := len(r.recs)
	if n == 0 {
		return nil
	}
	from := r.recs[n-1].off - lostBlock
	k := 0
	for r.recs[k].end <= from {
		k++
	}
	if k > 0 { // rotate, to keep the buffers
		dropped := append([]namedRecord(nil), r.recs[:k]...)
		copy(r.recs, r.recs[k:])
		copy(r.recs[n-k:], dropped)
		r.recs = r.recs[:n-k]
	}
	r.buf = r.buf[:0]
	for i := range r.recs {
		r.buf = binary.AppendUvarint(r.buf, uint64(r.recs[i].off/slot.Align))
		r.buf = appendBytes(r.buf, r.recs[i].names)
	}
	return r.buf
}
