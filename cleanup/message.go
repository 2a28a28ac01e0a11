package cleanup

import (
	"slices"
	"sync"

	"postrider/lib/crash"
	"postrider/lib/header"
	"postrider/lib/ipc"
	"postrider/lib/journal"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/slot"
)

// spillSize is what a message may hold in memory when all together hold too much.
const spillSize = 16 << 10

// keepBuffer is the largest buffer that is used again, in bytes.
const keepBuffer = 128 << 10

// message is one message from its first byte to its answer: write, then close, then
// append; or abort. Content stays in memory up to journal_inline_limit and goes to a
// file of its own beyond that.
type message struct {
	s        *service
	set      *settings
	env      *mail.Envelope
	envelope []byte                          // while it comes in parts
	rewrite  func(mail.Address) mail.Address // of header addresses; nil: the header stays as it is
	fullName string                          // for a From field
	err      *refusal

	scanner  header.Scanner
	sum      header.Summary
	list     header.List // scratch
	edits    []edit      // of the header, in their order; not made yet
	dropping bool        // in the rest of a field that goes
	parts    *parts      // looks at the body; nil: nobody does
	passed   bool        // nothing more is looked at
	kind     string      // the Content-Type, for parts
	bcc      []mail.Recipient
	body     bool // the header has ended
	buf      []byte
	frame    *ipc.Memory // in which buf came, or nil
	own      []byte      // then: memory of m's, for another message
	scanned  int         // bytes of buf known to be header
	held     int         // bytes of buf counted in service.buffered
	large    *journal.Large

	client *client // who is answered, or
	picked func(error)
	tx     uint32
	entry  journal.Message
	line   maillog.MessageID
	done   func(slot.Ref, error) // m.answered
}

var messages sync.Pool

func (s *service) newMessage(env *mail.Envelope, local bool) *message {
	m, ok := messages.Get().(*message)
	if !ok {
		m = &message{buf: make([]byte, 0, 8<<10)}
		m.done = m.answered
	}
	m.s, m.set, m.env = s, s.settings.Load(), env
	switch {
	case local:
		m.rewrite = m.set.rewrite
	case env.Origin == mail.FromSMTP:
		m.rewrite = m.set.remote
	}
	m.scanner.Limit = m.set.headerLimit
	return m
}

// release ends the life of m.
func (m *message) release() {
	m.s.buffered.Add(-int64(m.held))
	buf, done, list, edits := m.buf[:0], m.done, m.list, m.edits
	if m.frame != nil {
		m.frame.Release()
		buf = m.own
	}
	if cap(buf) > keepBuffer {
		return
	}
	clear(edits)
	*m = message{buf: buf, done: done, list: list, edits: edits[:0]}
	messages.Put(m)
}

// abort gives the message up.
func (m *message) abort() {
	if m.body && m.env.Origin == mail.FromSMTP { // as in Postfix, which logs it where the header ends
		m.env.MessageID = m.sum.MessageID
		m.identify()
	}
	if m.large != nil {
		m.large.Abort()
	}
	m.release()
}

// refuse notes why the message is not taken; the first reason stands.
func (m *message) refuse(r *refusal) {
	if m.err == nil {
		m.err = r
	}
}

// write takes content. What goes wrong shows in m.err.
func (m *message) write(p []byte) {
	if m.err != nil {
		return
	}
	if m.body && m.parts != nil {
		if p = m.parts.write(p); m.err != nil {
			return
		}
	}
	if m.body && m.large != nil {
		m.toFile(p)
		return
	}
	m.buf = append(m.buf, p...)
	m.added()
}

// take is write of the whole content, which is in the frame that was read last from c.
func (m *message) take(p []byte, c *ipc.Conn) {
	if len(p) >= ipc.KeepMin {
		if m.frame = c.Keep(); m.frame != nil {
			m.own, m.buf = m.buf, p[:len(p):len(p)]
			m.added()
			return
		}
	}
	m.write(p)
}

// added looks at what has come into buf.
func (m *message) added() {
	m.scan(false)
	limit := int(m.s.journal.InlineLimit())
	if m.s.buffered.Load() > maxBuffered {
		limit = spillSize
	}
	if m.err == nil && (m.large != nil || len(m.buf) > limit) {
		m.spill()
	}
	m.s.buffered.Add(int64(len(m.buf) - m.held))
	m.held = len(m.buf)
}

// scan reads on in the header, and completes it where it ends.
func (m *message) scan(eof bool) {
	for !m.body && m.err == nil {
		f, n, st := m.scanner.Next(m.buf[m.scanned:], eof)
		m.rest(n - len(f.Raw))
		m.scanned += n
		m.dropping = m.dropping && st == header.More
		crash.At("cleanup", m.buf[:m.scanned])
		switch st {
		case header.More:
			return
		case header.Found:
			m.sum.Add(f)
			if c := m.set.capture; c != nil {
				c.note(m.env, f)
			}
			m.field(f)
			if limit := m.set.hopLimit; limit > 0 && m.sum.Received >= limit {
				m.refuse(&refusal{code: 554, dsn: "5.4.0", text: "Error: too many hops"})
			}
		case header.End:
			m.body = true
			m.apply()
			if add := m.missing(); len(add) > 0 {
				m.buf = slices.Insert(m.buf, m.scanned, add...)
				m.scanned += len(add)
			}
			if c := m.inspected(); c != nil && m.err == nil && len(c.body)+len(c.mime)+len(c.nested) > 0 {
				m.inspectBody(c)
			}
		}
	}
}

// spill moves what needs no more looking at to the message's file.
func (m *message) spill() {
	if m.large == nil {
		l, err := m.s.journal.NewLarge(m.env.ID)
		if err != nil {
			m.refuse(refusalOf(err))
			return
		}
		m.large = l
	}
	m.apply()
	n := len(m.buf)
	if !m.body {
		n = m.scanned
	}
	m.toFile(m.buf[:n])
	m.buf = m.buf[:copy(m.buf, m.buf[n:])]
	m.scanned = 0
}

func (m *message) toFile(p []byte) {
	if len(p) == 0 {
		return
	}
	if _, err := m.large.Write(p); err != nil {
		m.refuse(refusalOf(err))
	}
}

// close ends the content and the envelope. When m.err stays nil the message may be
// appended, else aborted.
func (m *message) close() {
	m.scan(true)
	if m.parts != nil && m.err == nil {
		rest := m.parts.end()
		m.parts = nil
		if m.large != nil {
			m.toFile(rest)
		} else {
			m.buf = append(m.buf, rest...)
		}
	}
	if m.err != nil {
		return
	}
	m.env.Recipients = append(m.env.Recipients, m.bcc...)
	if m.large != nil || int64(len(m.buf)) > m.s.journal.InlineLimit() {
		m.spill()
	}
	m.env.Size = int64(len(m.buf))
	if m.large != nil {
		m.env.Size = m.large.Size()
	}
	m.env.MessageID = m.sum.MessageID
	if m.env.Origin == mail.FromBounce {
		m.env.Kind = mail.DSN
	}
	if m.set.mapper != nil {
		m.readdress()
	}
	m.env.Recipients = unique(m.env.Recipients)
	if len(m.env.Recipients) == 0 {
		m.refuse(&refusal{code: 550, dsn: "5.1.0", text: "Error: no recipients specified"})
	} else if m.env.Redirect != "" {
		m.redirect()
	}
}

// identify logs the Message-Id.
func (m *message) identify() {
	m.line = maillog.MessageID{Queue: m.env.ID, ID: m.env.MessageID}
	m.s.log.Event(&m.line)
}

// append makes the message durable; its answer comes when it is.
func (m *message) append() {
	if m.env.Discard { // DISCARD of an access table or of a check of the content
		if m.large != nil {
			m.large.Abort()
			m.large = nil
		}
		m.answer(nil)
		return
	}
	m.identify()
	m.entry = journal.Message{Envelope: m.env, Content: m.buf}
	if m.large != nil {
		if err := m.large.Commit(); err != nil {
			m.large = nil // its file is gone
			m.answer(err)
			return
		}
		m.entry.Content, m.entry.Large = nil, m.large
	}
	m.s.journal.Append(&m.entry, m.done)
}

// answered is called by the journal, once.
func (m *message) answered(_ slot.Ref, err error) { m.answer(err) }

func (m *message) answer(err error) {
	if err != nil && m.large != nil && refusalOf(err).code >= 400 {
		m.large.Abort() // S1: what was refused is not kept
	}
	if err != nil {
		m.s.log.Warnf("%s: %v", m.env.ID, err)
	}
	client, tx, picked := m.client, m.tx, m.picked
	m.release()
	if picked != nil {
		picked(err)
		return
	}
	client.answered(tx, err)
}
