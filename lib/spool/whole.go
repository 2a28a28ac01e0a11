package spool

import (
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// Envelope returns the envelope of an item that a listing gave, as it is stored.
func (q *Queue) Envelope(it *Item) (*mail.Envelope, error) {
	rec, err := q.contentOf(it)
	if err != nil {
		return nil, err
	}
	return mail.DecodeEnvelope(rec.Envelope)
}

// Whole lists every unfinished recipient of it, not only the first: it reads the
// envelope when there are more. From any goroutine, until Queue.Close; errors are those
// of Cat.
func (q *Queue) Whole(it *Item) error {
	if it.More <= 0 {
		return nil
	}
	rec, err := q.contentOf(it)
	if err != nil {
		return err
	}
	env, err := mail.DecodeEnvelope(rec.Envelope)
	if err != nil {
		return err
	}
	all := make([]ItemRecipient, 0, len(it.Recipients)+it.More)
	for i := range it.groups {
		g := &it.groups[i]
		for _, n := range g.Recipients {
			if int(n) < len(env.Recipients) {
				r := &env.Recipients[n]
				all = append(all, ItemRecipient{Number: n, Address: r.Address, Original: r.Original, Due: g.Due, Attempts: g.Attempts, Queue: g.Queue, Status: g.Status})
			}
		}
	}
	it.Recipients, it.More, it.groups = all, 0, nil
	return nil
}

// contentOf reads the record of a message in a listing, wherever it is by now.
func (q *Queue) contentOf(it *Item) (slot.Record, error) {
	rec, _, err := q.readRecord(it.Target.content, nil)
	if s, ok := q.moved.Load(it.Ref.File); ok && (err != nil || rec.Ref != it.Ref) {
		// It was copied to store/ since it was listed.
		at, serr := s.(*storeFile).span(q.fs, it.Ref)
		if serr != nil {
			return rec, serr
		}
		rec, _, err = q.readRecord(at, nil)
	}
	return rec, err
}
