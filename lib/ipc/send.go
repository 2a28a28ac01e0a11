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

// SendTail is Send of a payload that ends in tail, which is not copied when it is long:
// then it waits until the frame is written, also by another goroutine. The tail belongs to
// the caller again when SendTail returns.
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
	if len(tail) < tailMin {
		c.pending = append(c.pending, tail...)
		return c.written()
	}
	c.tails = append(c.tails, tailMark{len(c.pending), tail})
	c.queued++
	mine := c.queued
	if !c.writing {
		return c.written()
	}
	defer c.mu.Unlock()
	for c.gone < mine {
		c.went.Wait()
	}
	return c.err
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
		b, marks, tails := c.pending, c.fds, c.tails
		c.pending, c.fds, c.tails = c.spare[:0], nil, c.spareTails[:0]
		c.spare, c.spareTails = nil, nil
		c.room.Broadcast()
		c.mu.Unlock()
		err := c.write(b, marks, tails)
		c.mu.Lock()
		c.keep(b)
		if len(tails) > 0 {
			c.gone += uint64(len(tails))
			c.went.Broadcast()
		}
		clear(tails)
		c.spareTails = tails
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
	c.gone = c.queued
	c.went.Broadcast()
	closeMarks(c.fds)
	c.fds, c.pending, c.tails = nil, nil, nil
}

// write puts b on the socket, with the tails in their places and the descriptors of each
// mark with the first byte of their frame, and closes our copies.
func (c *Conn) write(b []byte, marks []fdMark, tails []tailMark) error {
	done := 0
	var err error
	for i, m := range marks {
		if tails, err = c.put(b, done, m.at, tails); err != nil {
			closeMarks(marks[i:])
			return err
		}
		// One byte carries the descriptors; the rest follows with what comes next.
		err = persist(func() error {
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
	_, err = c.put(b, done, len(b), tails)
	return err
}

// put writes b[from:to] and the tails that belong there, and returns those that come later.
func (c *Conn) put(b []byte, from, to int, tails []tailMark) ([]tailMark, error) {
	var err error
	if len(tails) > 0 && tails[0].at <= to {
		c.vector = c.vector[:0]
		for ; len(tails) > 0 && tails[0].at <= to; tails = tails[1:] {
			c.vector = append(c.vector, b[from:tails[0].at], tails[0].b)
			from = tails[0].at
		}
		c.vector = append(c.vector, b[from:to])
		c.parts = c.vector
		err = persist(func() error { // what is written is no part of it any more
			_, err := c.parts.WriteTo(c.sock)
			return err
		})
		clear(c.vector)
	} else if from < to {
		err = persist(func() error {
			n, err := c.sock.Write(b[from:to])
			from += n
			return err
		})
	}
	if err != nil {
		return tails, fmt.Errorf("ipc: write: %w", err)
	}
	return tails, nil
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
