package qmgr

import (
	"errors"
	"fmt"
	"io"
	"net"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// journal is the connection with cleanup.
type journal struct{ conn *ipc.Conn }

// journal greets cleanup and reads what it says, in a goroutine of its own.
func (m *manager) journal(name string, sock *net.UnixConn) {
	j := &journal{conn: ipc.New(sock, 64<<10)}
	defer j.conn.Close()
	data, err := j.conn.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion})
	var hello proto.JournalHello
	if err == nil {
		err = hello.Decode(data)
	}
	if err != nil {
		m.post(func() { m.unknown(name) })
		return
	}
	m.post(func() { m.cleanupUp(name, j, &hello) })
	err = j.read(m)
	m.post(func() {
		if m.cleanup == j {
			m.cleanup = nil
			m.gateSubmitting()
			if !errors.Is(err, io.EOF) && !m.stopping {
				m.log.Warnf("lost connection with cleanup: %v", err)
			}
		}
	})
}

func (j *journal) read(m *manager) error {
	for {
		var at proto.Durable
		drained := []proto.Drained{}
		for {
			f, err := j.conn.Next()
			if err != nil {
				return err
			}
			f.CloseFDs()
			switch f.Type {
			case proto.TypeDurable:
				err = at.Decode(f.Payload)
			case proto.TypeDrained:
				var d proto.Drained
				err = d.Decode(f.Payload)
				drained = append(drained, d)
			default:
				err = fmt.Errorf("frame type %d from cleanup: %w", f.Type, ipc.ErrFrame)
			}
			if err != nil {
				return err
			}
			if !j.conn.Buffered() {
				break
			}
		}
		m.post(func() {
			if at.File != 0 {
				m.spool.Durable(position(at))
			}
			for i := range drained {
				m.drained(&drained[i])
			}
		})
	}
}

// cleanupUp takes a cleanup that said hello. Journal files older than its first are
// nobody's any more: they are sealed and read to their ends.
func (m *manager) cleanupUp(name string, j *journal, hello *proto.JournalHello) {
	delete(m.known, name)
	m.cleanup = j
	if err := m.spool.WriterGone(hello.First); err != nil {
		m.log.Errorf("sealing the journal of an earlier cleanup: %v", err)
	}
	if hello.Durable.File != 0 {
		m.spool.Durable(position(hello.Durable))
	}
	for m.tail() > 0 {
	}
	m.gateSubmitting()
	for partner := range m.lost {
		m.askDrain(partner)
	}
}

// askDrain asks cleanup whether it has all that a dead partner sent. Without a
// cleanup the next one is asked; a new cleanup knows no open submission of it.
func (m *manager) askDrain(partner string) {
	if m.cleanup != nil {
		go m.cleanup.conn.Send(proto.TypeDrain, &proto.Drain{Partner: partner})
	}
}

// drained tries again what a dead partner had in hand and is not in the journal.
func (m *manager) drained(d *proto.Drained) {
	if d.At.File != 0 {
		m.spool.Durable(position(d.At))
	}
	for m.tail() > 0 {
	}
	gone := m.lost[d.Partner]
	delete(m.lost, d.Partner)
	m.takeBack(gone)
}

// freed tells cleanup that a file of incoming/ may be written anew.
func (m *manager) freed(name string) {
	if m.cleanup != nil {
		go m.cleanup.conn.Send(proto.TypeFreed, &proto.Freed{Names: []string{name}})
	}
}

func position(d proto.Durable) slot.Position { return slot.Position{File: d.File, Offset: d.Offset} }

func damaged(err error) bool { return errors.Is(err, spool.ErrDamaged) }
