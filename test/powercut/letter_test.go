package powercut

import (
	"fmt"
	"slices"

	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/test/ledger"
)

// letter is a message as its sender and its recipients know it.
type letter struct {
	id       mail.QueueID
	content  []byte
	rcpts    []*rcpt
	fate     fate
	deleted  fact
	held     fact
	original *letter  // of a report: what it reports about
	about    []uint32 // and which recipients of that
}

type rcpt struct {
	addr      string
	over      fact // the queue has nothing more to do for it
	delivered int
	mayRepeat bool // whoever knew that it was delivered is dead
}

// fate is what the sender was told.
type fate uint8

const (
	unknown fate = iota
	refused      // or found to be nowhere after all
	taken
)

// fact is something that was logged. It is certain once the act that said so is
// durable (or, for a kill, written).
type fact struct {
	is  bool
	act uint64 // 0: beyond doubt
}

func (l *letter) addrs(numbers []uint32) []string {
	var s []string
	for n, r := range l.rcpts {
		if numbers == nil || slices.Contains(numbers, uint32(n)) {
			s = append(s, r.addr)
		}
	}
	return s
}

// compose makes a letter of about size bytes with so many recipients.
func (w *world) compose(size, rcpts int) *letter {
	l := &letter{id: w.ids.Next(w.now())}
	l.content = ledger.Content(string(l.id), size)
	for n := range rcpts {
		l.rcpts = append(l.rcpts, &rcpt{addr: fmt.Sprintf("r%d@example.net", n)})
	}
	w.ledger.Attempt(string(l.id), ledger.Hash(l.content), l.addrs(nil)...)
	w.letters[l.id] = l
	w.order = append(w.order, l)
	return l
}

// report makes the bounce for recipients of l.
func (w *world) report(l *letter, numbers []uint32) *letter {
	r := &letter{id: w.ids.Next(w.now()), original: l, about: numbers, rcpts: []*rcpt{{addr: "sender@source.test"}}}
	text := "Subject: Undelivered Mail Returned to Sender\r\n\r\n"
	for _, a := range l.addrs(numbers) {
		text += "Final-Recipient: rfc822; " + a + "\r\nAction: failed\r\n\r\n"
	}
	r.content = []byte(text + ledger.Header + ": " + string(l.id) + "\r\n")
	w.letters[r.id] = r
	w.order = append(w.order, r)
	return r
}

// envelope is what l is sent with.
func (w *world) envelope(l *letter) *mail.Envelope {
	e := &mail.Envelope{ID: l.id, Sender: "sender@source.test", Size: int64(len(l.content)), Arrival: w.now()}
	for _, r := range l.rcpts {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: mail.Address(r.addr)})
	}
	if o := l.original; o != nil {
		e.Sender, e.Origin = "", mail.FromBounce
		ref := w.refs[o.id]
		e.Replaces = mail.Replaces{ID: o.id, File: ref.File, Slot: ref.Slot, Recipients: l.about}
	}
	return e
}

// append gives l to the journal; done gets the answer.
func (w *world) append(l *letter, done func(error)) {
	m := &journal.Message{Envelope: w.envelope(l), Content: l.content}
	if int64(len(l.content)) > w.journal.InlineLimit() {
		large, err := w.journal.NewLarge(l.id)
		if err == nil {
			large.Write(l.content)
			err = large.Commit()
		}
		if err != nil {
			done(err)
			return
		}
		m.Content, m.Large = nil, large
	}
	w.journal.Append(m, func(_ ref, err error) { done(err) })
}

// delivered is what happens when an agent gets the 250 for recipient n.
func (w *world) delivered(l *letter, n uint32, content []byte) {
	r := l.rcpts[n]
	if r.delivered++; r.delivered > 1 && !r.mayRepeat {
		w.fail("%s to %s is delivered again", l.id, r.addr)
	}
	r.mayRepeat = false
	w.note("delivered %s to %s", l.id, r.addr)
	if l.original == nil {
		w.ledger.Found(r.addr, content)
		return
	}
	id, failed, err := ledger.Reported(content)
	if err != nil {
		w.fail("report %s: %v", l.id, err)
	}
	w.ledger.Bounced(id, failed...)
}
