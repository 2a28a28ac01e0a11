package submit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// Sizes of a message's buffer: most messages fit into the first. The second holds a
// frame's worth and what a caller appends at once.
const (
	smallBuffer = 16 << 10
	largeBuffer = proto.SubmitMax + 2*smallBuffer
	// streamed is how much content goes in a frame once it is clear that one will not
	// do: with its header it fits into what the other side reads at once.
	streamed = proto.SubmitMax - 4<<10
)

var (
	small = sync.Pool{New: func() any { b := make([]byte, 0, smallBuffer); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, 0, largeBuffer); return &b }}
	idle  = sync.Pool{New: func() any { return &Message{answer: make(chan proto.SubmitReply, 1)} }}
)

// Message is one transaction: content is written to it, then Close or Abort ends it, and
// it must not be used any more. Use by one goroutine.
type Message struct {
	c     *Client
	env   *mail.Envelope
	local bool
	size  int64 // bytes written

	buf    *[]byte // content that was not sent yet; nil once the message has ended
	tx     uint32
	conn   *ipc.Conn // on which it was opened; nil: not yet
	answer chan proto.SubmitReply
	err    error

	envelope []byte // scratch
	whole    proto.Submit
	part     proto.SubmitPart
}

// Begin starts a transaction. The envelope is read when the message is sent and must not
// change until then. Its size is set by Close when the message goes in one frame, as by
// then it is known; of a longer one cleanup counts the bytes.
func (c *Client) Begin(env *mail.Envelope, local bool) *Message {
	m := idle.Get().(*Message)
	m.c, m.env, m.local = c, env, local
	m.buf = small.Get().(*[]byte)
	return m
}

// Size is the number of bytes written so far.
func (m *Message) Size() int64 { return m.size }

// AvailableBuffer returns an empty slice to append to and pass to Write, which then
// copies nothing (as in package bufio). There is room for at least n bytes, up to 32 KiB.
func (m *Message) AvailableBuffer(n int) []byte {
	m.reserve(min(n, 2*smallBuffer))
	return (*m.buf)[len(*m.buf):]
}

// reserve makes room for n bytes behind what is buffered.
func (m *Message) reserve(n int) {
	b := *m.buf
	if cap(b)-len(b) >= n || cap(b) >= largeBuffer {
		return
	}
	l := large.Get().(*[]byte)
	*l = append(*l, b...)
	*m.buf = b[:0]
	small.Put(m.buf)
	m.buf = l
}

// Write appends to the content. An error is the result of the transaction, which still
// must be ended by Abort; it is *Refused or ErrUnknown.
func (m *Message) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	for done := 0; done < len(p); {
		// A frame's worth stays buffered, for it may be all.
		part := p[done:min(len(p), done+2*smallBuffer)]
		m.reserve(len(part))
		*m.buf = append(*m.buf, part...)
		if b := *m.buf; len(b) > proto.SubmitMax {
			if m.err = m.stream(b[:streamed]); m.err != nil {
				return done, m.err
			}
			*m.buf = b[:copy(b, b[streamed:])]
		}
		m.size += int64(len(part))
		done += len(part)
	}
	return len(p), nil
}

// stream sends a block of the content, the first time behind the envelope.
func (m *Message) stream(block []byte) error {
	if m.conn == nil {
		if err := m.open(); err != nil {
			return err
		}
	}
	select {
	case r := <-m.answer: // before the end: it cannot be taken
		m.conn = nil
		return result(r, false)
	default:
	}
	m.part = proto.SubmitPart{Tx: m.tx}
	m.send(proto.TypeSubmitData, &m.part, block)
	return nil
}

// open begins a transaction of more than one frame.
func (m *Message) open() error {
	m.envelope = mail.AppendEnvelope(m.envelope[:0], m.env)
	if err := m.c.register(m); err != nil {
		return err
	}
	rest := m.envelope
	first := fields(rest)
	m.whole = proto.Submit{Tx: m.tx, Local: m.local, Envelope: rest[:first]}
	m.send(proto.TypeSubmitOpen, &m.whole, nil)
	for rest = rest[first:]; len(rest) > 0; {
		n := fields(rest)
		m.part = proto.SubmitPart{Tx: m.tx, Data: rest[:n]}
		m.send(proto.TypeSubmitEnvelope, &m.part, nil)
		rest = rest[n:]
	}
	return nil
}

// send sends a frame, whose payload ends in content. When that fails, the connection is
// broken: it is closed, so that whoever reads from it ends, and that tells all who wait
// for an answer.
func (m *Message) send(typ uint8, a ipc.Appender, content []byte) {
	if err := m.conn.SendTail(typ, a, content); err != nil {
		m.conn.Close()
	}
}

// fields is how many bytes of b, an envelope, make a frame: whole fields.
func fields(b []byte) int {
	if len(b) <= proto.SubmitMax {
		return len(b)
	}
	n := 0
	for n < len(b) {
		_, k := binary.Uvarint(b[n:])
		size, l := binary.Uvarint(b[n+k:])
		next := n + k + l + int(size)
		if next > proto.SubmitMax && n > 0 {
			break
		}
		n = next
	}
	return n
}

// Close ends the transaction and waits for the answer: nil when the message is durable,
// *Refused, or ErrUnknown.
func (m *Message) Close() error {
	defer m.release()
	if m.err != nil {
		return m.err
	}
	if m.conn == nil {
		m.env.Size = m.size
		m.envelope = mail.AppendEnvelope(m.envelope[:0], m.env)
		if len(m.envelope) <= proto.SubmitMax {
			if err := m.c.register(m); err != nil {
				return err
			}
			m.whole = proto.Submit{Tx: m.tx, Local: m.local, Envelope: m.envelope}
			m.send(proto.TypeSubmit, &m.whole, *m.buf)
			return m.wait(true)
		}
	}
	if err := m.stream(*m.buf); err != nil {
		return err
	}
	m.part = proto.SubmitPart{Tx: m.tx}
	m.send(proto.TypeSubmitEnd, &m.part, nil)
	return m.wait(true)
}

func (m *Message) wait(ended bool) error {
	r := <-m.answer
	m.conn = nil
	return result(r, ended)
}

// result turns an answer into an error. A transaction whose end was not sent is not in
// the queue, whatever became of cleanup.
func result(r proto.SubmitReply, ended bool) error {
	switch {
	case r.Code == 0 && ended:
		return nil
	case r.Code == proto.SubmitUnknown && ended:
		return ErrUnknown
	case r.Code == proto.SubmitSuspect:
		return fmt.Errorf("%w: %s", ErrSuspect, r.Text)
	case r.Code < 400 || r.Code > 599:
		return unavailable
	}
	return &Refused{int(r.Code), r.DSN, r.Text, r.Said}
}

// Abort gives the transaction up. Nothing is left of it, unless it has ended.
func (m *Message) Abort() {
	if m.conn != nil {
		m.part = proto.SubmitPart{Tx: m.tx}
		m.send(proto.TypeSubmitAbort, &m.part, nil)
	}
	m.release()
}

// release returns the buffers. Nobody else refers to m once it is forgotten: an answer
// that comes late finds no one.
func (m *Message) release() {
	if m.conn != nil {
		m.c.forget(m)
		select {
		case <-m.answer:
		default:
		}
	}
	*m.buf = (*m.buf)[:0]
	if cap(*m.buf) >= largeBuffer {
		large.Put(m.buf)
	} else {
		small.Put(m.buf)
	}
	if cap(m.envelope) > smallBuffer {
		m.envelope = nil
	}
	*m = Message{answer: m.answer, envelope: m.envelope}
	idle.Put(m)
}

// IsTemporary says whether err may be gone another time: all but a refusal with 5xx.
func IsTemporary(err error) bool {
	var r *Refused
	return !errors.As(err, &r) || r.Code/100 == 4
}
