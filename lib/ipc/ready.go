package ipc

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Ready output: for a sender that has much to say in turns of its own and must never
// wait for a reader. It adds frames and writes them together, as far as the socket takes
// them; a goroutine that may wait calls Flush for the rest.

const (
	// readyMax is how much may be pending before Add refuses.
	readyMax = 1 << 20
	// readyWrite is how much pending makes it worth to write before the turn's end.
	readyWrite = 64 << 10
)

// Add appends a frame without descriptors to what is to be written. It never waits; false
// says that the frame was not taken: too much is pending, or it is too large, or the
// connection is lost, and Send will say which.
func (c *Conn) Add(typ uint8, m Appender) bool {
	c.mu.Lock()
	if c.err != nil || len(c.pending) > readyMax {
		c.mu.Unlock()
		return false
	}
	if c.append(typ, 0, m, 0) != nil {
		c.mu.Unlock()
		return false
	}
	much := len(c.pending) > readyWrite && !c.full
	c.mu.Unlock()
	if much {
		c.TryFlush()
	}
	return true
}

// TryFlush writes what is pending as far as the socket takes it now. True says that
// Flush has to be called for the rest.
func (c *Conn) TryFlush() (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || c.err != nil || len(c.pending) == 0 { // who writes takes it along
		return false
	}
	if len(c.fds)+len(c.tails) > 0 {
		return true
	}
	b := c.pending
	c.pending, c.spare = c.spare[:0], nil
	c.writing = true
	c.mu.Unlock()
	n, err := c.try(b)
	c.mu.Lock()
	c.writing = false
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("ipc: write: %w", err)
	}
	if c.full = n < len(b); c.full && c.err == nil {
		added := c.pending
		for i := range c.fds {
			c.fds[i].at += len(b) - n
		}
		for i := range c.tails {
			c.tails[i].at += len(b) - n
		}
		if n > 0 {
			b = b[:copy(b, b[n:])]
		}
		c.pending = append(b, added...)
		b = added
	}
	c.keep(b)
	if c.err != nil {
		c.drop()
		return false
	}
	c.room.Broadcast()
	return len(c.pending) > 0
}

// try makes one write that does not wait.
func (c *Conn) try(b []byte) (n int, err error) {
	if c.raw == nil {
		if c.raw, err = c.sock.SyscallConn(); err != nil {
			return 0, err
		}
		c.once = func(fd uintptr) bool {
			for {
				if c.tried, c.tryErr = unix.Write(int(fd), c.trying); !errors.Is(c.tryErr, unix.EINTR) {
					return true
				}
			}
		}
	}
	c.trying, c.tried, c.tryErr = b, 0, nil
	if err = c.raw.Write(c.once); err == nil {
		err = c.tryErr
	}
	n, c.trying = max(c.tried, 0), nil
	if errors.Is(err, unix.EAGAIN) || passing(err) { // Flush waits, and tries again
		return 0, nil
	}
	return n, err
}

// Flush writes what is pending, and waits for the reader where it must.
func (c *Conn) Flush() error {
	c.mu.Lock()
	if c.writing || len(c.pending) == 0 {
		defer c.mu.Unlock()
		return c.err
	}
	c.writing = true
	c.mu.Unlock()
	return c.flush()
}
