package smtpd

import (
	"errors"
	"sync"

	"postrider/lib/header"
	"postrider/lib/submit"
	"postrider/lib/transcript"
	"postrider/lib/wire"
)

// contentBuffer is what is read at once of a message's content, and block what is worked
// on at once.
const (
	contentBuffer = 32 << 10
	block         = 15 << 10
)

var contentBuffers = sync.Pool{New: func() any { b := make([]byte, contentBuffer); return &b }}

// content receives what follows DATA and hands it to cleanup as it comes: memory does not
// grow with the message. It returns the reply; the zero one when the session is over.
func (f *front) content() reply {
	f.body, f.bytes, f.said = true, 0, false
	defer func() { f.body = false }()
	f.borrowBuffer()

	env := &f.tx.env
	f.apply(env)
	msg := f.service.server.submit.Begin(env, f.local())
	open := true // msg has not ended
	drop := func() {
		if open {
			open = false
			msg.Abort()
		}
	}
	defer drop()
	var refusal reply
	for _, field := range f.acts.prepend {
		msg.Write(append(msg.AvailableBuffer(len(field)+2), field+"\r\n"...)) // an error comes again
	}
	if _, err := msg.Write(f.set.appendReceived(msg.AvailableBuffer(1024), env, f.addr.Is6(), f.tls)); err != nil {
		refusal = f.failure(err)
		drop()
	}

	var dots wire.Unstuffer
	var opening header.Opening
	var waste []byte // where content goes that is refused
	for done := false; !done; {
		in, err := f.in.Window()
		if err != nil {
			if f.wakeUp(err) {
				continue
			}
			f.lost(err)
			return reply{}
		}
		in = in[:min(len(in), block)]
		buf := waste[:0]
		if open {
			buf = msg.AvailableBuffer(2*len(in) + 1)
		}
		var n int
		buf, n, done = dots.Append(buf, in)
		f.in.Discard(n)
		f.bytes += int64(len(buf))
		if !open {
			waste = buf
			continue
		}
		if limit := f.set.sizeLimit; limit > 0 && f.bytes > limit {
			refusal, f.blame = reply{552, "5.3.4", "Error: message file too big"}, transcript.Policy
			drop()
		} else if _, err := msg.Write(opening.Take(buf, done)); err != nil {
			refusal = f.failure(err)
			drop()
			if f.closed {
				return reply{}
			}
		}
	}
	f.returnBuffer()
	f.where = "END-OF-MESSAGE"
	if refusal.code == 0 && dots.BareLF && f.set.rejectBareLF {
		f.log.Infof("bare <LF> received after DATA from %s[%s]", f.client.Name, f.client.Addr)
		refusal = reply{550, "5.5.2", "Error: bare <LF> received"}
	}
	if refusal.code == 0 && len(f.set.access.lists[atEnd]) > 0 {
		c := f.check("END-OF-MESSAGE")
		c.message()
		if c.size = f.bytes; c.command(atEnd, "END-OF-MESSAGE", endClass) == refused {
			return c.answer
		}
		f.apply(env)
	}
	if refusal.code == 0 {
		open = false
		if err := msg.Close(); err != nil {
			refusal = f.failure(err)
		}
		if f.closed {
			return reply{}
		}
	}
	if refusal.code != 0 {
		if !f.said {
			f.refuse("END-OF-MESSAGE", refusal, "")
		}
		return refusal
	}
	f.errors, f.junk = 0, 0
	return reply{250, "2.0.0", "Ok: queued as " + string(env.ID)}
}

// failure turns the outcome of a submission into a reply. When nobody knows what became of
// the message there is none: any reply might be a lie, and the client tries again.
func (f *front) failure(err error) reply {
	var r *submit.Refused
	if errors.As(err, &r) {
		f.said, f.blame = r.Said, transcript.Resource
		if r.Said || r.Code/100 == 5 {
			f.blame = transcript.Policy
		}
		return reply{r.Code, r.DSN, r.Text}
	}
	f.log.Warnf("%s: connection to cleanup lost, the message may or may not be queued: closing without a reply to %s[%s]",
		f.tx.env.ID, f.client.Name, f.client.Addr)
	f.closed = true
	return reply{}
}

// borrowBuffer gives the reader room for content while there is some.
func (f *front) borrowBuffer() {
	if f.buffer == nil {
		f.buffer = contentBuffers.Get().(*[]byte)
		*f.buffer = f.in.Swap(*f.buffer)
	}
}

// returnBuffer takes it back, unless too much was read ahead: then after the next message.
func (f *front) returnBuffer() {
	if f.buffer == nil {
		return
	}
	if small := *f.buffer; f.closed {
		f.in.Discard(contentBuffer)
	} else if len(f.in.Buffered()) > len(small) {
		return
	}
	*f.buffer = f.in.Swap(*f.buffer)
	contentBuffers.Put(f.buffer)
	f.buffer = nil
}
