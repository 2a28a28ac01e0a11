package qmgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"postrider/lib/ipc"
	"postrider/lib/proto"
	"postrider/lib/slot"
	"postrider/lib/spool"
)

// journal is the connection with cleanup.
type journal struct {
	told    int64 // what it knows of store/
	telling bool  // and is just being told
	// The same of quotas: it has heard all once; it is just being told.
	knowsFull, tellingFull bool

	sock   *net.UnixConn
	conn   *ipc.Conn
	ready  bool            // what the cleanup before it left is read
	asked  map[dead]int    // Drains that are not answered
	others map[string]bool // programs for which askOthers has no answer; nil: not asked
}

// journal greets cleanup and reads what it says, in a goroutine of its own.
func (m *manager) journal(name string, sock *net.UnixConn) {
	j := &journal{sock: sock, conn: ipc.New(sock, 64<<10), asked: map[dead]int{}}
	defer j.conn.Close()
	data, err := j.conn.Greet(ipc.Hello{Protocol: proto.JournalName, Version: proto.JournalVersion})
	var hello proto.JournalHello
	if err == nil {
		err = hello.Decode(data)
	}
	if err != nil {
		m.post(func() { m.unknown(name, sock) })
		return
	}
	m.post(func() { m.cleanupUp(name, j, &hello) })
	err = j.read(m)
	m.post(func() {
		if m.cleanup == j {
			m.cleanup = nil
			m.gateSubmitting()
			m.leaveRequeues()
			if !errors.Is(err, io.EOF) && !m.stopping {
				m.log.Warnf("lost connection with cleanup: %v", err)
				if errors.Is(err, ipc.ErrFrame) { // we had no descriptor free for what it sent
					m.d.Silent(name)
				}
			}
		}
	})
}

func (j *journal) read(m *manager) error {
	for {
		var at proto.Durable
		drained := []proto.Drained{}
		requeued := []proto.Requeued{}
		for {
			f, err := j.conn.Next()
			if err != nil {
				return err
			}
			if f.Type == proto.TypeCondemn {
				if err := m.condemnFile(j, &f); err != nil {
					return err
				}
				if !j.conn.Buffered() {
					break
				}
				continue
			}
			f.CloseFDs()
			switch f.Type {
			case proto.TypeDurable:
				err = at.Decode(f.Payload)
			case proto.TypeRequeued:
				var r proto.Requeued
				err = r.Decode(f.Payload)
				requeued = append(requeued, r)
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
			for i := range requeued {
				m.requeued(&requeued[i])
			}
			for i := range drained {
				m.drained(j, &drained[i])
			}
		})
	}
}

// cleanupUp takes a cleanup that said hello. Journal files older than its first are
// nobody's any more: they are sealed and read to their ends.
func (m *manager) cleanupUp(name string, j *journal, hello *proto.JournalHello) {
	if m.newest[name] != j.sock {
		j.conn.Close()
		return
	}
	delete(m.known, name)
	m.cleanup = j
	if len(m.free) > 0 {
		go j.conn.Send(proto.TypeFreed, &proto.Freed{Names: m.free})
		m.free = nil
	}
	m.inherit(j, hello)
}

// inherit takes over what an earlier cleanup left, until it has worked: with anything
// of it unread, what it was given last could be done twice.
func (m *manager) inherit(j *journal, hello *proto.JournalHello) {
	if m.cleanup != j {
		return
	}
	err := m.spool.WriterGone(hello.First)
	if err != nil {
		m.log.Errorf("sealing the journal of an earlier cleanup: %v", err)
	} else if hello.Durable.File != 0 {
		m.spool.Durable(position(hello.Durable))
	}
	if err != nil || !m.tailAll() {
		m.after(time.Second, func() { m.inherit(j, hello) })
		return
	}
	m.maySee()
	m.requeuesBack()
	j.ready = true
	m.gateSubmitting()
	for x := range m.lost {
		m.askDrain(x)
	}
	m.askOthers()
}

// dead names a process of a program that submits, and has ended. With pid 0 all are
// meant that ended before this qmgr was started.
type dead struct {
	program string
	pid     uint64
}

// askDrain asks cleanup whether it has all that a dead process sent. Without a
// cleanup the next one is asked; a new cleanup knows no open submission of it.
func (m *manager) askDrain(x dead) {
	if j := m.cleanup; j != nil {
		j.asked[x]++
		go j.conn.Send(proto.TypeDrain, &proto.Drain{Program: x.program, PID: x.pid})
	}
}

// askOthers asks, before anything starts, whether cleanup has all that processes sent
// which died beside the last qmgr: nobody else tells of them.
func (m *manager) askOthers() {
	j := m.cleanup
	if m.started || j == nil || !j.ready || len(m.known) > 0 || j.others != nil {
		return
	}
	j.others = map[string]bool{}
	for _, program := range submitting {
		j.others[program] = true
		m.askOther(program)
	}
}

// askOther asks about one program, once more for each of its processes that is found
// to live: those that are started after us are not known before. Any answer will do.
func (m *manager) askOther(program string) {
	j := m.cleanup
	if j == nil || !j.others[program] {
		return
	}
	d := &proto.Drain{Program: program}
	for _, a := range m.agents {
		if a.program == program {
			d.Living = append(d.Living, a.pid)
		}
	}
	go j.conn.Send(proto.TypeDrain, d)
}

// drained tries again what a dead process had in hand and is not in the journal. Of
// several questions about one the last answer counts.
func (m *manager) drained(j *journal, d *proto.Drained) {
	if m.cleanup != j {
		return // the next one is asked
	}
	x := dead{d.Program, d.PID}
	if d.At.File != 0 {
		m.spool.Durable(position(d.At))
	}
	if j.asked[x] == 0 { // about those of before
		delete(j.others, d.Program)
		return
	}
	if j.asked[x]--; j.asked[x] > 0 {
		return
	}
	delete(j.asked, x)
	if !m.tailAll() {
		m.after(time.Second, func() {
			if m.cleanup == j {
				m.askDrain(x)
			}
		})
		return
	}
	gone := m.lost[x]
	delete(m.lost, x)
	m.takeBack(gone)
}

// tailAll reads the journal as far as it is durable, filing what is too much for
// memory. False when that cannot be done now.
func (m *manager) tailAll() bool {
	for batch := 1; ; batch++ {
		switch n, err := m.tail(); {
		case err != nil:
			return false
		case n == 0:
			return true
		}
		if m.spill(); batch%tailWrite == 0 {
			m.catchUp()
		}
	}
}

// tailWrite is after how many batches of a long journal what was decided is written, so
// that it does not pile up in memory (S7).
const tailWrite = 64

// catchUp waits until what was logged so far is written, unless the disk does not take
// it: then it stays in memory.
func (m *manager) catchUp() {
	written := false
	m.spool.Written(func() { written = true })
	m.spool.Commit()
	for late := time.After(time.Second); !written; {
		select {
		case f := <-m.spool.Events():
			f()
		case <-late:
			return
		}
	}
}

// after has the owner run f in a while.
func (m *manager) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() { m.post(f) })
}

// freed tells cleanup that a file of incoming/ may be written anew. One that is not
// there hears of it as soon as it is: it may have looked at the file before.
func (m *manager) freed(name string) {
	m.free = append(m.free, name)
	if m.cleanup != nil {
		go m.cleanup.conn.Send(proto.TypeFreed, &proto.Freed{Names: m.free})
		m.free = nil
	}
}

// tellStored tells cleanup how much mail is in store/, for journal_size_limit.
func (m *manager) tellStored() {
	j, n := m.cleanup, m.spool.Stored()
	if j == nil || j.telling || n == j.told {
		return
	}
	j.told, j.telling = n, true
	go func() {
		j.conn.Send(proto.TypePressure, &proto.Pressure{Stored: n})
		m.post(func() { j.telling = false })
	}()
}

func position(d proto.Durable) slot.Position { return slot.Position{File: d.File, Offset: d.Offset} }

// damaged says whether a content will never be readable.
func damaged(err error) bool {
	return errors.Is(err, spool.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}
