package submit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// ErrUnknown means that the message was handed over complete and the answer got lost: it
// may be durable or not. An SMTP server closes the connection without a reply; others
// submit again what says by Envelope.Replaces that it takes the place of something.
var ErrUnknown = errors.New("submit: nobody knows what became of the message")

// Refused says that the message is not in the queue, by the SMTP reply to give for it.
type Refused struct {
	Code int    // 4xx: another time, 5xx: never
	DSN  string // RFC 3463
	Text string
	Said bool // cleanup has logged it
}

func (r *Refused) Error() string { return fmt.Sprintf("submit: %d %s %s", r.Code, r.DSN, r.Text) }

// ErrSuspect means that cleanup will not read the message any more: it has crashed it
// too often.
var ErrSuspect = errors.New("submit: the message crashes cleanup")

// unavailable is what everybody hears while there is no cleanup.
var unavailable = &Refused{Code: 451, DSN: "4.3.0", Text: "Error: queue file write error"}

// patience is how long a message waits for cleanup to come (back).
const patience = 5 * time.Second

// Client submits messages over the connection it was given last. The zero value is ready
// for use; its methods may be called by many goroutines.
type Client struct {
	Lost func(error) // if set, told why a connection ended; not for an orderly end
	// Full, if set, hears which keys of quotas are used up, in the order in which cleanup
	// says so.
	Full func(*proto.Full)

	mu    sync.Mutex
	conn  *ipc.Conn     // nil: none
	ready chan struct{} // closed when there is a connection; nil while nobody waits
	last  uint32        // newest transaction number
	open  map[uint32]*Message
}

// Connect makes the client use sock, a new end of a connection with cleanup, which it
// takes over, in place of the one before. It does not wait for cleanup.
func (c *Client) Connect(sock *net.UnixConn) {
	conn := ipc.New(sock, 0)
	go func() {
		err := c.serve(conn)
		conn.Close()
		if c.Lost != nil && err != nil {
			c.Lost(err)
		}
	}()
}

// Close ends the connection.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
	}
}

// serve greets, makes conn the current connection and hands out answers until it ends.
func (c *Client) serve(conn *ipc.Conn) error {
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.SubmitName, Version: proto.SubmitVersion,
		Data: (&proto.SubmitHello{PID: uint64(os.Getpid())}).Append(nil)}); err != nil {
		return fmt.Errorf("submit: cleanup: %w", err)
	}
	c.mu.Lock()
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn = conn
	if c.ready != nil {
		close(c.ready)
		c.ready = nil
	}
	c.mu.Unlock()

	err := c.answers(conn)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
	for tx, m := range c.open {
		if m.conn == conn {
			delete(c.open, tx)
			m.answer <- proto.SubmitReply{Code: proto.SubmitUnknown}
		}
	}
	return err
}

func (c *Client) answers(conn *ipc.Conn) error {
	var replies proto.SubmitReplies
	for {
		f, err := conn.Next()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil // by ourselves
			}
			return fmt.Errorf("submit: cleanup: %w", err)
		}
		f.CloseFDs()
		if f.Type == proto.TypeFull {
			var m proto.Full
			if err := m.Decode(f.Payload); err != nil {
				return fmt.Errorf("submit: cleanup: %w", err)
			}
			if c.Full != nil {
				c.Full(&m)
			}
			continue
		}
		if f.Type != proto.TypeSubmitReplies {
			return fmt.Errorf("submit: cleanup: frame type %d: %w", f.Type, ipc.ErrFrame)
		}
		if err := replies.Decode(f.Payload); err != nil {
			return fmt.Errorf("submit: cleanup: %w", err)
		}
		c.mu.Lock()
		for _, r := range replies.Replies {
			if m := c.open[r.Tx]; m != nil && m.conn == conn {
				delete(c.open, r.Tx)
				m.answer <- r // has room for it
			}
		}
		c.mu.Unlock()
	}
}

// register gives m a number and the current connection, for which it waits a while.
func (c *Client) register(m *Message) error {
	var timeout <-chan time.Time
	for {
		c.mu.Lock()
		if c.conn != nil {
			break
		}
		if c.ready == nil {
			c.ready = make(chan struct{})
		}
		ready := c.ready
		c.mu.Unlock()
		if timeout == nil {
			t := time.NewTimer(patience)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-ready:
		case <-timeout:
			return unavailable
		}
	}
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[uint32]*Message)
	}
	for {
		c.last++
		if c.open[c.last] == nil {
			break
		}
	}
	m.tx, m.conn = c.last, c.conn
	c.open[m.tx] = m
	return nil
}

// forget takes m off the list of those that wait for an answer, unless it has one.
func (c *Client) forget(m *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, m.tx)
}

// Submit hands over a whole message and waits until cleanup has answered. The content
// is header and body, its lines ended by CRLF. With local, missing headers are added.
// The result is nil once the message is durable, *Refused, or ErrUnknown.
func (c *Client) Submit(env *mail.Envelope, local bool, content []byte) error {
	m := c.Begin(env, local)
	if _, err := m.Write(content); err != nil {
		m.Abort()
		return err
	}
	return m.Close()
}
