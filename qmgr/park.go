package qmgr

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"time"

	"postrider/lib/sched"
	"postrider/lib/spool"
)

// Mail that its destination cannot take into the active queue is parked: what memory
// keeps of it is a reference in the list of the destination. A list is first in,
// first out; its middle is in a volatile file when there is much. Nothing of this is
// durable, or has to be: a start finds every message where the spool has it.

const (
	// parkedBlock is how many references are written to the volatile file at once.
	parkedBlock = 128
	// parkedMemory is how many references memory keeps before lists that have a
	// block or more are written to the file: about 3 MB.
	parkedMemory = 64 << 10
	// newMax is how many of the parked have no state record, so that a start reads
	// their contents again and a listing now.
	newMax = 64 << 10

	// parkedAhead is how many of a list are read at once before their turn.
	parkedAhead = 16

	parkedSize = spool.ParkedSize + 8
)

// parked is a reference to a parked message.
type parked struct {
	at    spool.Parked
	alarm int64 // when it is to be looked at though it is parked, spool time in ms
}

// parkedList is the mail that is parked for one destination, or is to be looked at.
type parkedList struct {
	key    sched.Parking
	hash   uint64
	head   []parked // the oldest
	middle []block  // in the file
	tail   []parked // the newest
	n      int
	ahead  int // how many of head are being read, or have been
}

// block is a part of a list that is in the file.
type block struct {
	at    int64 // in blocks
	n     int   // references in it
	alarm int64 // the earliest
}

// parking is all that is parked.
type parking struct {
	lists  map[sched.Parking]*parkedList
	hashes map[uint64]*parkedList // the same, by what a state record says of its destination
	again  parkedList             // to be looked at, in no order with what is new
	large  parkedList             // very many recipients each: one when another is over
	memory int                    // references in memory
	most   int                    // of them, before some are written: parkedMemory
	newest int                    // how many may be without a state record: newMax
	file   interface {
		io.ReaderAt
		io.WriterAt
	}
	rung    []parked // their time is up
	soonest int64    // no alarm is earlier
	end     int64    // of the file, in blocks
	free    []int64  // blocks of it
	buf     []byte
}

func (p *parking) init() {
	p.most, p.newest, p.soonest = parkedMemory, newMax, math.MaxInt64
	p.lists, p.hashes = map[sched.Parking]*parkedList{}, map[uint64]*parkedList{}
}

// list returns the list of a destination, a new one if need be.
func (p *parking) list(key sched.Parking) *parkedList {
	l := p.lists[key]
	if l == nil {
		l = &parkedList{key: key, hash: destHash(key)}
		p.lists[key] = l
		if key.Name != sched.Others {
			p.hashes[l.hash] = l
		}
	}
	return l
}

// destHash is what a state record says of the destination of its recipients
// (spool.State.Dest). 0 would say nothing.
func destHash(key sched.Parking) uint64 {
	h := fnv.New64a()
	io.WriteString(h, key.Transport)
	h.Write([]byte{0})
	io.WriteString(h, key.Name)
	if key.Queue != "" || key.Level != 0 || key.Terms != "" || key.Source != "" {
		for _, part := range [...]string{key.Queue, key.Level.String(), key.Terms, key.Source} {
			h.Write([]byte{0})
			io.WriteString(h, part)
		}
	}
	return h.Sum64() | 1
}

// push puts a reference at the end of a list.
func (p *parking) push(l *parkedList, x parked) {
	l.tail = append(l.tail, x)
	l.n++
	p.memory++
	p.soonest = min(p.soonest, x.alarm)
	if p.memory > p.most && len(l.tail) >= parkedBlock {
		p.spill(l)
	}
}

// pop takes the first reference of a list that has some. An error is of the file.
func (p *parking) pop(l *parkedList) (parked, error) {
	var err error
	if len(l.head) == 0 {
		if len(l.middle) > 0 {
			if l.head, err = p.load(l.middle[0]); err != nil {
				return parked{}, err
			}
			l.middle = l.middle[1:]
		} else {
			l.head, l.tail = l.tail, nil
		}
	}
	x := l.head[0]
	if l.head = l.head[1:]; len(l.head) == 0 {
		l.head = nil
	}
	l.n--
	l.ahead = max(l.ahead-1, 0)
	p.memory--
	return x, nil
}

// soon returns the references that are to be read before their turn.
func (l *parkedList) soon() (next []spool.Parked) {
	if l.ahead > parkedAhead/2 {
		return nil
	}
	for _, x := range l.head[min(l.ahead, len(l.head)):min(l.ahead+parkedAhead, len(l.head))] {
		next = append(next, x.at)
	}
	l.ahead += len(next)
	return next
}

// drop forgets a list that is empty.
func (p *parking) drop(l *parkedList) {
	if l.n > 0 || p.lists[l.key] != l {
		return
	}
	delete(p.lists, l.key)
	if p.hashes[l.hash] == l {
		delete(p.hashes, l.hash)
	}
}

// spill writes a block of a list to the file, if it can.
func (p *parking) spill(l *parkedList) {
	if p.file == nil {
		return
	}
	if b, err := p.store(l.tail[:parkedBlock]); err == nil {
		l.middle = append(l.middle, b)
		l.tail = append(l.tail[:0], l.tail[parkedBlock:]...)
	}
}

// store writes a block to a free place of the file.
func (p *parking) store(list []parked) (block, error) {
	b := block{at: p.end, n: len(list), alarm: math.MaxInt64}
	if n := len(p.free); n > 0 {
		b.at = p.free[n-1]
	}
	p.buf = p.buf[:0]
	for _, x := range list {
		p.buf = binary.LittleEndian.AppendUint64(x.at.AppendBinary(p.buf), uint64(x.alarm))
		b.alarm = min(b.alarm, x.alarm)
	}
	if _, err := p.file.WriteAt(p.buf, b.at*parkedBlock*parkedSize); err != nil {
		return b, err
	}
	if n := len(p.free); n > 0 {
		p.free = p.free[:n-1]
	} else {
		p.end++
	}
	p.memory -= len(list)
	return b, nil
}

// load reads a block back and gives its place free.
func (p *parking) load(b block) ([]parked, error) {
	buf := make([]byte, b.n*parkedSize)
	if _, err := p.file.ReadAt(buf, b.at*parkedBlock*parkedSize); err != nil {
		return nil, err
	}
	p.free = append(p.free, b.at)
	list := make([]parked, b.n)
	for i := range list {
		x := buf[i*parkedSize:]
		list[i] = parked{spool.LoadParked(x), int64(binary.LittleEndian.Uint64(x[spool.ParkedSize:]))}
	}
	p.memory += b.n
	return list, nil
}

// park gives a message back to the spool and puts it into the list of to, its first
// destination. At expireAt, if that is not zero, it is looked at.
func (m *manager) park(in *spool.Message, to sched.Recipient, dest uint64, expireAt time.Time) {
	alarm := m.alarm(in.State.Since, in.Envelope.Sender == "", in.State.Notices > 0)
	if !expireAt.IsZero() {
		alarm = min(alarm, max(expireAt.UnixMilli(), m.spool.Now().Add(alarmPause).UnixMilli()))
	}
	at := m.giveBack(in, dest)
	if at == (spool.Parked{}) {
		return // nothing is left of it
	}
	key := m.machine.Parking(to)
	m.parking.push(m.parking.list(key), parked{at, alarm})
	m.machine.Park(m.now(), key, to)
}

// parkIn is park for one of the lists that the scheduler does not know.
func (m *manager) parkIn(l *parkedList, in *spool.Message) {
	alarm := m.alarm(in.State.Since, in.Envelope.Sender == "", in.State.Notices > 0)
	if at := m.giveBack(in, 0); at != (spool.Parked{}) {
		m.parking.push(l, parked{at, alarm})
	}
}

// giveBack parks a message in the spool, with a state record when there are too many
// without.
func (m *manager) giveBack(in *spool.Message, dest uint64) spool.Parked {
	delete(m.deleted, in.Ref) // the spool knows
	delete(m.bumped, in.Ref)
	if !in.Deferred() && m.spool.Parking() >= m.parking.newest {
		return m.spool.PutParked(in, dest)
	}
	return m.spool.Park(in)
}

// parkDue takes a message that is due without reading it, when its destination has
// parked mail that came before.
func (m *manager) parkDue(h spool.Hint, at spool.Parked) bool {
	l := m.parking.hashes[h.Dest]
	if l == nil {
		return false
	}
	m.parking.push(l, parked{at, m.alarm(h.Since, h.NullSender, h.Noticed)})
	m.machine.Again(m.now(), l.key)
	return true
}

// unpark takes the parked message whose turn it is. More is false when none can be
// taken now; the message is nil when the reference was stale.
func (m *manager) unpark() (in *spool.Message, from sched.Parking, more bool) {
	l := &m.parking.again
	if m.fromAgain = !m.fromAgain && l.n > 0; !m.fromAgain {
		key, ok := m.machine.Unpark()
		switch {
		case ok:
			l = m.parking.lists[key]
		case l.n == 0:
			return nil, from, false
		default:
			m.fromAgain = true
		}
	}
	before := l.n
	x, err := m.parking.pop(l)
	if !m.fromAgain {
		from = l.key
		m.machine.Unparked(l.key, before-l.n)
		m.parking.drop(l)
	}
	if next := l.soon(); len(next) > 0 {
		m.spool.ReadAhead(next)
	}
	if err == nil {
		if in, err = m.spool.Open(x.at); err != nil {
			m.parking.push(&m.parking.again, x)
		}
	}
	if err != nil {
		m.log.Warnf("reading a message that waits: %v", err)
		m.ailing = m.spool.Now().Add(afterError)
		return nil, from, false
	}
	return in, from, true
}

// unparkAll has everything that is parked looked at again, as when routes changed.
func (m *manager) unparkAll() {
	for key, l := range m.parking.lists {
		m.machine.Unparked(key, l.n)
		if again := &m.parking.again; again.n == 0 {
			*again = *l
		} else {
			m.parking.join(again, l)
		}
		l.n = 0
		m.parking.drop(l)
	}
	for _, q := range m.questions.open {
		m.parking.join(&m.parking.again, &q.list)
	}
}

// join puts what l has behind what a has.
func (p *parking) join(a, l *parkedList) {
	for l.n > 0 && len(l.middle) > 0 && len(l.head) > 0 {
		x, _ := p.pop(l) // of head: no file is read
		p.push(a, x)
	}
	for _, b := range l.middle {
		a.n += b.n
		l.n -= b.n
	}
	a.middle = append(a.middle, l.middle...)
	l.middle = nil
	for l.n > 0 {
		x, _ := p.pop(l)
		p.push(a, x)
	}
}

// alarm is when a parked message is to be looked at wherever it is: its time is up,
// or its sender is to be told of a delay. Milliseconds of spool time.
func (m *manager) alarm(since time.Time, nullSender, noticed bool) int64 {
	if since.IsZero() {
		since = m.spool.Now()
	}
	expire, notice := m.times(since, nullSender, noticed)
	if notice != 0 && (notice < expire || expire == 0) {
		expire = notice
	}
	if expire == 0 {
		return math.MaxInt64
	}
	return int64(expire) / 1e6
}

// times are when a message is too old, and when its sender is to be told of the delay; 0 is
// never.
func (m *manager) times(since time.Time, nullSender, noticed bool) (expire, notice sched.Time) {
	if m.book.policy != nil {
		return m.thresholds(since, nullSender)
	}
	if w := m.set.delayWarning; w > 0 && !noticed && !nullSender {
		notice = stime(since.Add(w))
	}
	return m.set.sched.Retry.Expiry(stime(since), nullSender), notice
}
