// Package submittest is a cleanup for tests of programs that submit mail: it speaks the
// server's half of the submit conversation and keeps messages in memory.
package submittest

import (
	"fmt"
	"net"
	"sync"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// Message is a submission as cleanup saw it.
type Message struct {
	Envelope *mail.Envelope
	Local    bool
	Content  []byte
	Frames   int // how many frames it came in
}

// Cleanup is the server. Set its fields before Serve.
type Cleanup struct {
	// Reply, if set, decides about each complete message; else all are accepted.
	// Returning false leaves it without an answer.
	Reply func(*Message) (proto.SubmitReply, bool)
	// Discard makes it keep nothing.
	Discard bool

	mu       sync.Mutex
	messages []*Message
	opened   int
	aborted  int
	conns    []*ipc.Conn
	done     sync.WaitGroup
}

// Serve begins to serve a new connection and returns the client's end of it.
func (s *Cleanup) Serve() (*net.UnixConn, error) {
	a, b, err := ipc.Pair()
	if err != nil {
		return nil, err
	}
	ours, err := ipc.FromFD(a)
	if err != nil {
		return nil, err
	}
	theirs, err := ipc.FromFD(b)
	if err != nil {
		return nil, err
	}
	conn := ipc.New(ours, 0)
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	s.done.Go(func() {
		defer conn.Close()
		_ = s.serve(conn) // the end of the connection, which the client sees as well
	})
	return theirs, nil
}

// Close ends all connections, as the death of cleanup would, and waits for their
// goroutines.
func (s *Cleanup) Close() {
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// Messages returns what was accepted so far, in order.
func (s *Cleanup) Messages() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Message(nil), s.messages...)
}

// Opened is how many transactions of more than one frame were begun.
func (s *Cleanup) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Aborted is how many transactions the clients gave up.
func (s *Cleanup) Aborted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

// pending is a streamed transaction before its end.
type pending struct {
	Message
	envelope []byte
}

func (s *Cleanup) serve(conn *ipc.Conn) error {
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion}); err != nil {
		return err
	}
	open := map[uint32]*pending{}
	var replies proto.SubmitReplies
	for {
		f, err := conn.Next()
		if err != nil {
			return err
		}
		switch f.Type {
		case proto.TypeSubmit, proto.TypeSubmitOpen:
			var m proto.Submit
			if err := m.Decode(f.Payload); err != nil {
				return err
			}
			if len(m.Content) > proto.SubmitMax || open[m.Tx] != nil {
				return fmt.Errorf("transaction %d, %d bytes: %w", m.Tx, len(m.Content), ipc.ErrFrame)
			}
			p := &pending{Message{Local: m.Local, Frames: 1}, m.Envelope}
			if f.Type == proto.TypeSubmit {
				p.Content = m.Content
				err = s.finish(m.Tx, p, &replies)
				break
			}
			p.envelope = append([]byte(nil), m.Envelope...)
			p.Content = append([]byte(nil), m.Content...)
			open[m.Tx] = p
			s.mu.Lock()
			s.opened++
			s.mu.Unlock()
		case proto.TypeSubmitEnvelope, proto.TypeSubmitData, proto.TypeSubmitEnd, proto.TypeSubmitAbort:
			var m proto.SubmitPart
			if err := m.Decode(f.Payload); err != nil {
				return err
			}
			p := open[m.Tx]
			if p == nil || len(m.Data) > proto.SubmitMax {
				return fmt.Errorf("transaction %d, %d bytes: %w", m.Tx, len(m.Data), ipc.ErrFrame)
			}
			p.Frames++
			switch f.Type {
			case proto.TypeSubmitEnvelope:
				p.envelope = append(p.envelope, m.Data...)
			case proto.TypeSubmitData:
				if !s.Discard {
					p.Content = append(p.Content, m.Data...)
				}
			case proto.TypeSubmitEnd:
				delete(open, m.Tx)
				err = s.finish(m.Tx, p, &replies)
			case proto.TypeSubmitAbort:
				delete(open, m.Tx)
				s.mu.Lock()
				s.aborted++
				s.mu.Unlock()
			}
		default:
			return fmt.Errorf("frame type %d: %w", f.Type, ipc.ErrFrame)
		}
		if err != nil {
			return err
		}
		if len(replies.Replies) > 0 && !conn.Buffered() {
			if err := conn.Send(proto.TypeSubmitReplies, &replies); err != nil {
				return err
			}
			replies.Replies = replies.Replies[:0]
		}
	}
}

// finish takes a complete message and adds the answer.
func (s *Cleanup) finish(tx uint32, p *pending, replies *proto.SubmitReplies) error {
	reply, answer := proto.SubmitReply{}, true
	if !s.Discard || s.Reply != nil {
		env, err := mail.DecodeEnvelope(p.envelope)
		if err != nil {
			return err
		}
		p.Envelope = env
		p.Content = append([]byte(nil), p.Content...)
		m := p.Message
		if s.Reply != nil {
			reply, answer = s.Reply(&m)
		}
		if reply.Code == 0 && !s.Discard {
			s.mu.Lock()
			s.messages = append(s.messages, &m)
			s.mu.Unlock()
		}
	}
	if answer {
		reply.Tx = tx
		replies.Replies = append(replies.Replies, reply)
	}
	return nil
}
