package ipc

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// fdMark is where in pending a frame with descriptors begins.
type fdMark struct {
	at  int
	fds []int
}

// tailMark is where in pending a frame ends that is not all there: b follows.
type tailMark struct {
	at int
	b  []byte
}

// Send queues one frame and sees to it that it is written: the calling goroutine
// writes unless another already does. It blocks while too much is waiting for a
// slow reader. An error is final for the connection.
func (c *Conn) Send(typ uint8, m Appender) error { return c.SendFDs(typ, m) }

// SendTail is Send of a payload that ends in tail, which is not copied unless another
// goroutine is writing. It belongs to the caller again when SendTail returns.
func (c *Conn) SendTail(typ uint8, m Appender, tail []byte) error {
	c.mu.Lock()
	err := c.waitRoom()
	if err == nil {
		err = c.append(typ, 0, m, len(tail))
	}
	if err != nil {
		c.mu.Unlock()
		return err
	}
	if c.writing || len(tail) < tailMin {
		c.pending = append(c.pending, tail...)
	} else {
		c.tail = tailMark{len(c.pending), tail} // taken by the flush that is ours now
	}
	return c.written()
}

// SendFDs is Send with descriptors, at most eight. They are not closed; they must
// stay open until the connection has written the frame, which it has when SendFDs
// returns without another Send under way. To be safe it duplicates them; where it cannot,
// the error is ErrNoDescriptor and nobody but the caller will ever hear of the frame.
func (c *Conn) SendFDs(typ uint8, m Appender, fds ...int) error {
	if len(fds) > maxFDs {
		return fmt.Errorf("ipc: %d descriptors in a frame: %w", len(fds), ErrTooLarge)
	}
	var dups []int
	for _, fd := range fds {
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeAll(dups)
			return fmt.Errorf("%w: dup: %w", ErrNoDescriptor, err)
		}
		dups = append(dups, d)
	}

	c.mu.Lock()
	err := c.waitRoom()
	at := len(c.pending)
	if err == nil {
		err = c.append(typ, len(dups), m, 0)
	}
	if err != nil {
		c.mu.Unlock()
		closeAll(dups)
		return err
	}
	if len(dups) > 0 {
		c.fds = append(c.fds, fdMark{at, dups})
	}
	return c.written()
}

// AppendFrame appends a frame without descriptors, for a connection that needs no Conn.
func AppendFrame(b []byte, typ uint8, m Appender) []byte { return appendFrame(b, typ, 0, m, 0) }

// appendFrame appends a frame but for the last tail bytes of its payload.
func appendFrame(b []byte, typ uint8, fds int, m Appender, tail int) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, typ, byte(fds))
	if m != nil {
		b = m.Append(b)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-headerSize+tail))
	return b
}

// append adds a frame to pending, but for the last tail bytes, which the caller sees to.
// c.mu is held. An error is ErrTooLarge, and nothing was added.
func (c *Conn) append(typ uint8, fds int, m Appender, tail int) error {
	at := len(c.pending)
	b := appendFrame(c.pending, typ, fds, m, tail)
	if n := len(b) - at - headerSize + tail; n > c.max {
		c.pending = b[:at]
		return fmt.Errorf("ipc: frame type %d of %d bytes: %w", typ, n, ErrTooLarge)
	}
	c.pending = b
	return nil
}

// waitRoom waits while too much is pending. c.mu is held.
func (c *Conn) waitRoom() error {
	for c.err == nil && len(c.pending) > maxPending {
		c.room.Wait()
	}
	return c.err
}

// written unlocks c.mu and writes what is pending, unless somebody does already: he takes
// it along.
func (c *Conn) written() error {
	if c.writing {
		c.mu.Unlock()
		return nil
	}
	c.writing = true
	c.mu.Unlock()
	runtime.Gosched() // let others who are ready add theirs
	return c.flush()
}

// flush writes until nothing is pending. One goroutine at a time is in it.
func (c *Conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.pending) > 0 {
		b, marks, tail := c.pending, c.fds, c.tail
		c.pending, c.fds, c.tail = c.spare[:0], nil, tailMark{}
		c.spare = nil
		c.room.Broadcast()
		c.mu.Unlock()
		err := c.write(b, marks, tail)
		c.mu.Lock()
		c.keep(b)
		if err != nil && c.err == nil {
			c.err = err
		}
	}
	c.writing, c.full = false, false
	if c.err != nil {
		c.drop()
	}
	return c.err
}

// keep makes a buffer that was written the next one to be filled. c.mu is held.
func (c *Conn) keep(b []byte) {
	if cap(b) <= keepPending {
		c.spare = b[:0]
	}
}

// drop lets go of what will not be written any more. c.mu is held.
func (c *Conn) drop() {
	c.room.Broadcast()
	closeMarks(c.fds)
	c.fds, c.pending, c.tail = nil, nil, tailMark{}
}

// write puts b on the socket, with the tail in its place and the descriptors of each mark
// with the first byte of their frame, and closes our copies.
func (c *Conn) write(b []byte, marks []fdMark, tail tailMark) error {
	done := 0
	for i, m := range marks {
		if err := c.put(b, done, m.at, &tail); err != nil {
			closeMarks(marks[i:])
			return err
		}
		// One byte carries the descriptors; the rest follows with what comes next.
		err := persist(func() error {
			_, _, err := c.sock.WriteMsgUnix(b[m.at:m.at+1], unix.UnixRights(m.fds...), nil)
			return err
		})
		closeAll(m.fds)
		if err != nil {
			closeMarks(marks[i+1:])
			return fmt.Errorf("ipc: write descriptors: %w", err)
		}
		done = m.at + 1
	}
	return c.put(b, done, len(b), &tail)
}

// put writes b[from:to], and the tail if it belongs there and was not written yet.
func (c *Conn) put(b []byte, from, to int, tail *tailMark) error {
	var err error
	switch {
	case tail.b != nil && from <= tail.at && tail.at <= to:
		c.parts = append(c.vector[:0], b[from:tail.at], tail.b, b[tail.at:to])
		err = persist(func() error { // what is written is no part of it any more
			_, err := c.parts.WriteTo(c.sock)
			return err
		})
		tail.b = nil
		clear(c.vector[:])
	case from < to:
		err = persist(func() error {
			n, err := c.sock.Write(b[from:to])
			from += n
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("ipc: write: %w", err)
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func closeMarks(marks []fdMark) {
	for _, m := range marks {
		closeAll(m.fds)
	}
}
