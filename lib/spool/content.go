package spool

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"postrider/lib/crash"
	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// contentSpan is where a message's record is.
type contentSpan struct {
	name   string      // of the file
	h      slot.Header // of the file
	record int64       // offset
	size   int64       // of the record, or 0 when it is not known
}

// ReadContent returns the inline content of m, reading into buf, which is
// replaced when it is too small; keep what comes back as full for the next
// call. ErrDamaged when its CRC fails. From any goroutine while m is open.
func (q *Queue) ReadContent(m *Message, buf []byte) (content, full []byte, err error) {
	at := m.content
	if at.size == 0 && m.Large == "" {
		at.size = m.Size + sizeGuess
	}
	rec, buf, err := q.readRecord(at, buf)
	if err != nil {
		return nil, buf, fmt.Errorf("content of %s: %w", m.Envelope.ID, err)
	}
	return rec.Content, buf, nil
}

// OpenLarge opens the content of m when m.Large names its own file, for
// reading. The caller closes it, and checks m.CRC (CRC-32C of all of it, as the agent that
// sends it does). From any goroutine while m is open.
func (q *Queue) OpenLarge(m *Message) (disk.File, error) {
	return q.fs.OpenFile(dirContent+"/"+m.Large, os.O_RDONLY, 0)
}

// sizeGuess is how much of a record of unknown size is read first.
const sizeGuess = 1 << 10

// readRecord reads the record of a message.
func (q *Queue) readRecord(at contentSpan, buf []byte) (slot.Record, []byte, error) {
	e, err := q.files.get(at)
	if err != nil {
		return slot.Record{}, buf, err
	}
	defer q.files.put(e)
	rec, buf, err := slot.ReadSized(e.f, at.h, at.record, cmp.Or(at.size, sizeGuess), buf)
	if err == nil {
		err = original(&rec)
	}
	if errors.Is(err, slot.ErrDamage) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return rec, buf, err
}

// message makes a Message of its content record; rec may be lazy.
func (q *Queue) message(c *contentFile, rec *slot.Record, content []byte, at contentSpan) (*Message, error) {
	crash.At("qmgr", rec.Envelope)
	env, err := mail.DecodeEnvelope(rec.Envelope)
	if err != nil || env.ID != rec.ID {
		return nil, fmt.Errorf("envelope of %s: %w", rec.ID, ErrDamaged)
	}
	m := &Message{Ref: slot.Ref{File: c.number, Slot: rec.Ref.Slot}, Envelope: env, Size: int64(rec.ContentSize),
		Held: c.held.has(rec.Ref.Slot), Strikes: q.strikes[slot.Ref{File: c.number, Slot: rec.Ref.Slot}],
		content: at}
	if rec.Flags&slot.FlagLarge != 0 {
		l, err := slot.DecodeLarge(content)
		if err != nil {
			return nil, fmt.Errorf("large content of %s: %w", rec.ID, ErrDamaged)
		}
		m.Large, m.Size, m.CRC = string(env.ID), l.Size, l.CRC
	}
	return m, nil
}

// finishNow logs that a message is finished and forgets it.
func (q *Queue) finishNow(ref slot.Ref, kill place, large string) {
	q.log.endRef(appendFinish(q.log.begin(), ref, kill, large), ref)
	q.finished(ref, kill, large)
}

// finished does what a FINISH entry says.
func (q *Queue) finished(ref slot.Ref, kill place, large string) {
	q.kill(kill)
	if ref != (slot.Ref{}) && q.bury(ref) && large != "" {
		q.space.large = append(q.space.large, pendingLarge{large, q.log.next()})
	}
}

// Finish says that nothing is left to do for an open message. It takes m back.
func (q *Queue) Finish(m *Message) {
	if q.open[m.Ref] != m {
		return
	}
	if q.alive(m.Ref) {
		q.finishNow(m.Ref, m.place, m.Large)
	} else {
		q.kill(m.place)
	}
	q.letGo(m)
}

// Done logs that recipients of an unfinished message, by number, are
// finished. The message may be one that is not tailed yet: after a restart
// agents report what an earlier owner had tailed. For a message that was
// deleted meanwhile it does nothing (S8).
func (q *Queue) Done(ref slot.Ref, recipients ...uint32) {
	if len(recipients) == 0 || q.Finished(ref) {
		return
	}
	rs := rising(recipients)
	q.log.endRef(appendDone(q.log.begin(), ref, rs), ref)
	q.mark(ref, rs)
}

// mark remembers recipients as done until the next PUT says so. Who has the message
// open sees it in State.Done: it may not have been looked at since it was handed out.
func (q *Queue) mark(ref slot.Ref, recipients []uint32) {
	s, m := q.marks[ref], q.open[ref]
	for _, r := range recipients {
		s.Add(r)
		if m != nil {
			m.State.Done.Add(r)
		}
	}
	q.marks[ref] = s
}

// Absolve logs that the deaths Suspect counted were none of the message's fault.
func (q *Queue) Absolve(m *Message) {
	m.Strikes = 0
	if q.alive(m.Ref) && q.strikes[m.Ref] > 0 {
		delete(q.strikes, m.Ref)
		q.log.endRef(appendSuspect(q.log.begin(), m.Ref, 0), m.Ref)
	}
}

// Suspect logs that a process died with the message in hand and returns how
// often that was by now. What kills twice alone is for Corrupt.
func (q *Queue) Suspect(m *Message) int {
	m.Strikes++
	if q.alive(m.Ref) {
		q.strikes[m.Ref] = m.Strikes
		q.log.endRef(appendSuspect(q.log.begin(), m.Ref, m.Strikes), m.Ref)
	}
	return m.Strikes
}
