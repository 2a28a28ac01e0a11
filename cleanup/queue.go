package cleanup

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/slot"
)

// settleTime is how long a connection of a dead partner may take to show its end;
// the kernel needs microseconds.
const settleTime = 5 * time.Second

// queueLink is the conversation with qmgr. There may be none: then nobody is told.
type queueLink struct {
	s    *service
	wake chan struct{} // the journal is durable further

	mu       sync.Mutex
	conn     *ipc.Conn
	greeted  *ipc.Conn      // the last that was
	requeues sync.WaitGroup // begun for conn or one before, and not ended
	cut      sync.Once      // closes lost
	lost     chan struct{}  // there was no descriptor free for what qmgr sent, so that it cannot be heard any more
}

// errCut is what this process then ends with: only a new one gets a new connection.
var errCut = errors.New("lost a descriptor from qmgr, for want of a free one")

// durable is called by the journal's committer after each sync, before anybody is
// answered. It does not wait for qmgr: whoever sends takes the newest position, and
// what a stopped qmgr did not hear it reads from the files.
func (q *queueLink) durable(slot.Position) {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func position(p slot.Position) proto.Durable { return proto.Durable{File: p.File, Offset: p.Offset} }

// attach makes sock the connection with qmgr, in the place of the one before. It is
// called in the order in which master gave them.
func (q *queueLink) attach(sock *net.UnixConn) *ipc.Conn {
	conn := ipc.New(sock, 0)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn != nil {
		q.conn.Close()
	}
	q.conn = conn
	return conn
}

// connection is the one with a qmgr that has greeted, or nil.
func (q *queueLink) connection() *ipc.Conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn != q.greeted {
		return nil
	}
	return q.conn
}

// serve runs a connection with a qmgr to its end.
func (q *queueLink) serve(conn *ipc.Conn) {
	defer conn.Close()
	q.requeues.Wait() // see requeue

	hello := proto.JournalHello{First: q.s.journal.First(), Durable: position(q.s.journal.Durable())}
	if _, err := conn.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion, Data: hello.Append(nil)}); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, ipc.ErrClosed) {
			q.s.log.Warnf("qmgr: %v", err)
		}
		return
	}
	q.mu.Lock()
	q.greeted = conn
	q.mu.Unlock()
	if q.s.drop != nil {
		q.s.drop.look() // what waits for corrupt/
	}
	end := make(chan struct{})
	defer close(end)
	go q.tell(conn, hello.Durable, end)
	for {
		f, err := conn.Next()
		if err == nil && f.Type == proto.TypeRequeue {
			err = q.requeue(conn, f)
		} else if err == nil {
			f.CloseFDs()
			err = q.frame(conn, f)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				q.s.log.Warnf("lost the connection with qmgr: %v", err)
			}
			if errors.Is(err, ipc.ErrFrame) {
				q.cut.Do(func() { close(q.lost) })
			}
			break
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn == conn {
		q.conn = nil
	}
}

// tell sends how far the journal is durable whenever that has changed.
func (q *queueLink) tell(conn *ipc.Conn, told proto.Durable, end <-chan struct{}) {
	q.durable(slot.Position{}) // what came since the hello
	for {
		select {
		case <-end:
			q.durable(slot.Position{}) // the next connection's, perhaps
			return
		case <-q.wake:
		}
		p := position(q.s.journal.Durable())
		if p == told {
			continue
		}
		if conn.Send(proto.TypeDurable, &p) != nil {
			conn.Close()
			return
		}
		told = p
	}
}

func (q *queueLink) frame(conn *ipc.Conn, f ipc.Frame) error {
	switch f.Type {
	case proto.TypeFreed:
		var m proto.Freed
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		for _, name := range m.Names {
			q.s.journal.Recycle(name)
		}
	case proto.TypePressure:
		var m proto.Pressure
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		q.s.journal.Stored(m.Stored)
	case proto.TypeFull:
		var m proto.Full
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		q.s.full.take(&m)
	case proto.TypeDrain:
		var m proto.Drain
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		go func() {
			q.s.drain(m.Program, m.PID, m.Living, settleTime)
			// What was answered is durable, what is not answered never came.
			answer := proto.Drained{Program: m.Program, PID: m.PID, At: position(q.s.journal.Durable())}
			if conn.Send(proto.TypeDrained, &answer) != nil {
				conn.Close()
			}
		}()
	case proto.TypeCondemned:
		var m proto.Condemned
		if err := m.Decode(f.Payload); err != nil {
			return err
		}
		if q.s.drop != nil {
			q.s.drop.condemned(&m)
		}
	default:
		return ipc.ErrFrame
	}
	return nil
}
