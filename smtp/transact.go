package smtp

import (
	"errors"
	"io"
	"strconv"
	"time"

	"postrider/lib/agent"
	"postrider/lib/mail"
)

// window is how many bytes of commands are sent ahead of their replies, well below
// what the buffers of two hosts take: else both could wait for the other to read.
const window = 8 << 10

// transact sends the message to the recipients that are not decided, in one mail
// transaction. With PIPELINING, MAIL, RCPTs and DATA go ahead in one write
// (RFC 2920), so a message takes two writes and two reads.
func (d *delivery) transact(s *session) verdict {
	clear(d.kept)
	clear(d.accepted)
	if bad, ok := d.unfit(s); !ok {
		d.fail(bad, false)
		return usable
	}
	t := transaction{d: d, s: s}
	s.silent = s.silent || s.chat != nil && s.st.notices.IsNotice(d.r.Sender)
	s.rcpts = s.rcpts[:0]
	for i, done := range d.decided {
		if !done {
			s.rcpts = append(s.rcpts, i)
		}
	}
	v, err := t.envelope()
	if err != nil {
		if s.uses > 1 && t.got == 0 && !s.stopped.Load() {
			return dead
		}
		d.lost(s, t.at, err)
		return spent
	}
	if v != usable || !t.ready {
		return v
	}
	return t.content()
}

// lost is the end of a session in the middle. After the stop it is our own doing.
func (d *delivery) lost(s *session, at stage, err error) {
	if d.stopping() {
		d.aborted = true
		return
	}
	bad := s.broken(at, err)
	for i := range d.decided {
		d.fell = d.fell || s.fell && !d.decided[i] && !d.kept[i]
	}
	d.fail(bad, true)
}

// unfit says whether the message cannot go to this server at all.
func (d *delivery) unfit(s *session) (mail.Status, bool) {
	if n := d.r.Content.Size(); s.sizeLimit > 0 && n > s.sizeLimit {
		return mail.Status{Class: mail.Bounced, DSN: "5.3.4", Text: "message size " + strconv.FormatInt(n, 10) +
			" exceeds size limit " + strconv.FormatInt(s.sizeLimit, 10) + " of server " + s.name}, false
	}
	if d.needUTF8 && !s.has(smtpUTF8) {
		return mail.Status{Class: mail.Bounced, DSN: "5.6.7", Text: "SMTPUTF8 is required, but was not offered by host " + s.name}, false
	}
	return mail.Status{}, true
}

// transaction is the dialogue of one message. Its commands are MAIL, a RCPT for
// each of session.rcpts, and DATA, numbered from 0.
type transaction struct {
	d  *delivery
	s  *session
	at stage // of the reply that is waited for

	got      int  // replies read
	accepted int  // recipients
	mailOK   bool // and not undone
	ready    bool // the server waits for content
}

// envelope sends MAIL, the RCPTs and DATA. Without an error, the verdict holds when
// the server is not ready for the content.
func (t *transaction) envelope() (verdict, error) {
	d, s := t.d, t.s
	total := len(s.rcpts) + 2
	if d.r.Verify {
		total-- // no DATA
	}
	sent := 0
	for t.got < total {
		s.out = s.out[:0]
		for sent < total && (sent == t.got || s.has(pipelining) && len(s.out) < window) {
			t.command(sent)
			sent++
		}
		t.at = t.stageOf(t.got)
		s.wait(t.timeout())
		if err := s.send(s.out); err != nil {
			return spent, err
		}
		for t.got < sent {
			if at := t.stageOf(t.got); at != t.at {
				t.at = at
				if len(s.in.Buffered()) == 0 {
					s.wait(t.timeout())
				}
			}
			if err := s.hear(); err != nil {
				return spent, err
			}
			if s.reply.Code == 421 {
				if t.got == 0 && s.uses > 1 {
					return spent, io.EOF // the kept session had timed out at the server's end
				}
				d.fail(s.refused(t.at), false)
				return spent, nil
			}
			if v, err := t.take(); v != usable || err != nil {
				return v, err
			}
			t.got++
			if t.ready {
				return usable, nil
			}
		}
		if t.pointless(sent, total) {
			return t.reset()
		}
	}
	// DATA was refused, or not sent.
	return t.reset()
}

// pointless says that DATA has not been sent and need not be.
func (t *transaction) pointless(sent, total int) bool {
	if t.got > 0 && !t.mailOK {
		return true
	}
	return sent == total-1 && t.accepted == 0 && !t.d.r.Verify
}

// reset ends a transaction that came to nothing. Where MAIL was accepted the server
// is still in it.
func (t *transaction) reset() (verdict, error) {
	if !t.mailOK {
		return usable, nil
	}
	if err := t.s.ask(t.s.st.timeout.rset, "RSET"); err != nil || t.s.reply.Code/100 != 2 {
		return spent, nil // everybody has been told already
	}
	return usable, nil
}

func (t *transaction) stageOf(n int) stage {
	switch n {
	case 0:
		return mailFrom
	case len(t.s.rcpts) + 1:
		return data
	}
	return rcptTo
}

// command appends command number n.
func (t *transaction) command(n int) {
	switch t.stageOf(n) {
	case mailFrom:
		t.s.out = t.d.appendMail(t.s.out, t.s)
	case rcptTo:
		t.s.out = t.d.appendRcpt(t.s.out, t.s, t.s.rcpts[n-1])
	default:
		t.s.out = append(t.s.out, "DATA\r\n"...)
	}
}

// take acts on the reply to command number t.got.
func (t *transaction) take() (verdict, error) {
	d, s := t.d, t.s
	ok := s.reply.Code/100 == 2
	switch t.at {
	case mailFrom:
		if t.mailOK = ok; !ok {
			d.fail(s.refused(mailFrom), false)
		}
	case rcptTo:
		i := s.rcpts[t.got-1]
		switch {
		case !t.mailOK:
		case ok && d.r.Verify:
			d.decide(i, s.replyStatus(), d.at)
		case ok:
			d.accepted[i] = true
			t.accepted++
		default:
			if s.reply.Code == 552 { // too many recipients, in the words of RFC 821 (RFC 5321, section 4.5.3.1.10)
				s.reply.Code = 452
			}
			d.failOne(i, s.refused(rcptTo))
		}
	case data:
		if s.reply.Code/100 == 3 {
			if t.accepted > 0 {
				t.ready = true
				return usable, nil
			}
			// The server is ready for a message to nobody: give it none.
			if err := s.ask(s.st.timeout.dataDone, "."); err != nil {
				return spent, nil
			}
			t.mailOK = false // the transaction is over
			return usable, nil
		}
		if t.accepted > 0 {
			d.fail(s.refused(data), false)
			if ok {
				return spent, nil // nobody can say what state this server is in
			}
		}
	}
	return usable, nil
}

// timeout is the time for the reply that is waited for.
func (t *transaction) timeout() time.Duration {
	switch t.at {
	case mailFrom:
		return t.s.st.timeout.mail
	case rcptTo:
		return t.s.st.timeout.rcpt
	}
	return t.s.st.timeout.dataInit
}

// content sends the message and reads what became of it.
func (t *transaction) content() verdict {
	d, s := t.d, t.s
	if len(s.in.Buffered()) > 0 {
		// An answer to content that was not sent: it must not be taken for one.
		d.lost(s, body, errStep)
		return spent
	}
	switch err := d.sendContent(s); {
	case errors.Is(err, agent.ErrContent):
		d.final, d.over = true, true
		d.fail(agent.ContentStatus, false)
		return spent
	case errors.Is(err, errEarly):
		d.fail(s.refused(endOfData), false)
		return spent
	case errors.Is(err, errRead):
		d.final = true
		d.fail(mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "cannot read the content of the message"}, false)
		return spent
	case err != nil:
		d.lost(s, body, err)
		return spent
	}
	if s.st.lmtp {
		return t.replies()
	}
	s.wait(s.st.timeout.dataDone)
	if err := s.hear(); err != nil {
		// Whether the server has the message nobody knows; another server must not
		// get it now as well.
		d.final, d.over = true, true
		d.fail(s.broken(endOfData, err), true)
		return spent
	}
	if s.reply.Code/100 != 2 {
		d.fail(s.refused(endOfData), false)
		if s.reply.Code == 421 || s.reply.Code/100 == 3 {
			return spent
		}
		return usable
	}
	st := s.replyStatus()
	for i, ok := range d.accepted {
		if ok {
			d.decide(i, st, d.at)
		}
	}
	return usable
}

// replies reads what became of the message with LMTP: a reply for each recipient that was
// accepted, in their order (RFC 2033, section 4.2). Those whose replies are missing may have
// got it.
func (t *transaction) replies() verdict {
	d, s := t.d, t.s
	for i, ok := range d.accepted {
		if !ok {
			continue
		}
		s.wait(s.st.timeout.dataDone)
		if err := s.hear(); err != nil {
			d.final, d.over = true, true
			d.fail(s.broken(endOfData, err), true)
			return spent
		}
		if s.reply.Code/100 == 2 {
			d.decide(i, s.replyStatus(), d.at)
			continue
		}
		d.failOne(i, s.refused(endOfData))
		if s.reply.Code == 421 || s.reply.Code/100 == 3 {
			d.final, d.over = true, true
			d.fail(s.refused(endOfData), true)
			return spent
		}
	}
	return usable
}
