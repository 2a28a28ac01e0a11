package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of a connection.
const (
	headerSize = 6
	// MaxFrame is the largest payload any connection takes.
	MaxFrame = 1 << 20
	// maxPending is how many bytes may wait to be written before Send blocks.
	maxPending = 4 << 20
	// maxFDs is how many descriptors a frame may carry, and how many may wait
	// in a reader for the frame they belong to.
	maxFDs = 8
	// readSize is how much one read may take.
	readSize = 64 << 10
	// keepSize is the largest buffer that is kept after a large frame.
	keepSize = 256 << 10
	// keepPending is the largest buffer of what is to be written that is used again.
	keepPending = 1 << 20
	// tailMin is how long a tail must be to be worth a place of its own in a write.
	tailMin = 16 << 10
)

// Errors of a connection, besides those of the socket.
var (
	ErrFrame    = errors.New("ipc: malformed frame")
	ErrTooLarge = errors.New("ipc: frame exceeds the limit")
	ErrClosed   = errors.New("ipc: connection closed")
	// ErrNoDescriptor: there was no descriptor free for a copy of what was to be sent.
	// Nothing was sent, and the connection is as good as before.
	ErrNoDescriptor = errors.New("ipc: no descriptor free")
)

// Appender is what can be sent: it appends its payload to b.
type Appender interface{ Append(b []byte) []byte }

// Frame is one message as it arrived. Payload is valid only until the next call
// of Next; FDs belong to whoever takes the frame, who must close them.
type Frame struct {
	Type    uint8
	Payload []byte
	FDs     []int
}

// CloseFDs closes the descriptors of a frame that nobody wants.
func (f *Frame) CloseFDs() {
	for _, fd := range f.FDs {
		unix.Close(fd)
	}
	f.FDs = nil
}

// Conn is one connection. Send and Close may be called by many goroutines at
// once; Next by one.
type Conn struct {
	sock *net.UnixConn
	max  int // of a payload that is sent
	most int // of one that is taken

	mu         sync.Mutex
	room       sync.Cond // signalled when pending has been taken
	pending    []byte
	spare      []byte
	spareTails []tailMark // memory of tails
	fds        []fdMark   // descriptors in pending, by the offset of their frame
	tails      []tailMark // what goes out with pending and was not copied into it
	queued     uint64     // tails that ever were, and of them
	gone       uint64     // those that are written, or given up
	went       sync.Cond  // signalled when gone has grown
	writing    bool
	err        error

	parts  net.Buffers // of the write that has tails
	vector [][]byte    // their memory

	raw    syscall.RawConn // for TryFlush, and its one write
	once   func(fd uintptr) bool
	trying []byte
	tried  int
	tryErr error
	full   bool // it did not take all the last time

	in   []byte // bytes read and not yet handed out: in[r:w]
	r, w int
	oob  []byte

	fdmu    sync.Mutex
	waiting []int // descriptors read, not yet handed out
	over    bool  // nobody will ask for them
}

// New wraps a connected socket. max bounds the payload of a frame, in both
// directions; 0 means MaxFrame.
func New(sock *net.UnixConn, max int) *Conn {
	if max <= 0 || max > MaxFrame {
		max = MaxFrame
	}
	c := &Conn{sock: sock, max: max, most: max, in: make([]byte, readSize), oob: make([]byte, unix.CmsgSpace(maxFDs*4))}
	c.room.L, c.went.L = &c.mu, &c.mu
	return c
}

// TakeAtMost bounds the payload of the frames that are read, when the peer may say less
// than is said to it. To be called before the first Next.
func (c *Conn) TakeAtMost(n int) { c.most = n }

// FromFD wraps a connected stream socket given by descriptor, which it takes over.
func FromFD(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	if f == nil {
		return nil, fmt.Errorf("ipc: descriptor %d: %w", fd, unix.EBADF)
	}
	defer f.Close() // FileConn makes a copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("ipc: descriptor %d: %w", fd, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("ipc: descriptor %d is no Unix socket", fd)
	}
	return u, nil
}

// Pair makes two connected stream sockets as bare, close-on-exec descriptors.
func Pair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("ipc: socketpair: %w", err)
	}
	return fds[0], fds[1], nil
}

// Socket returns what c is made on.
func (c *Conn) Socket() *net.UnixConn { return c.sock }

// Next returns the next frame, reading when none is buffered. io.EOF means that
// the peer closed between two frames.
func (c *Conn) Next() (Frame, error) {
	for {
		f, ok, err := c.take()
		if err == nil && !ok {
			err = c.fill()
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.dropFDs()
		}
		if ok || err != nil {
			return f, err
		}
	}
}

// dropFDs closes the descriptors that no frame has brought, and all that may still come: a
// peer who sends them and goes must not leave them with us.
func (c *Conn) dropFDs() {
	c.fdmu.Lock()
	defer c.fdmu.Unlock()
	closeAll(c.waiting)
	c.waiting, c.over = nil, true
}

// Buffered says whether a whole frame has already been read, so that Next will
// not wait. A reader that acts only when nothing is buffered acts on every frame
// of a read at once.
func (c *Conn) Buffered() bool {
	b := c.in[c.r:c.w]
	return len(b) >= headerSize && len(b)-headerSize >= int(binary.LittleEndian.Uint32(b))
}

func (c *Conn) take() (Frame, bool, error) {
	b := c.in[c.r:c.w]
	if len(b) < headerSize {
		return Frame{}, false, nil
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n > c.most || n < 0 {
		return Frame{}, false, fmt.Errorf("ipc: frame type %d of %d bytes: %w", b[4], n, ErrTooLarge)
	}
	if len(b)-headerSize < n {
		return Frame{}, false, nil
	}
	f := Frame{Type: b[4], Payload: b[headerSize : headerSize+n : headerSize+n]}
	if k := int(b[5]); k > 0 {
		c.fdmu.Lock()
		defer c.fdmu.Unlock()
		if k > len(c.waiting) {
			return Frame{}, false, fmt.Errorf("ipc: frame type %d without its descriptors: %w", f.Type, ErrFrame)
		}
		f.FDs = append(f.FDs, c.waiting[:k]...)
		c.waiting = append(c.waiting[:0], c.waiting[k:]...)
	}
	c.r += headerSize + n
	return f, true, nil
}

// fill reads once, making room for the whole of a frame whose length is known.
func (c *Conn) fill() error {
	need := headerSize
	if b := c.in[c.r:c.w]; len(b) >= headerSize {
		need += int(binary.LittleEndian.Uint32(b)) // checked by take
	}
	if c.r > 0 {
		copy(c.in, c.in[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	if need > len(c.in) {
		in := make([]byte, need+readSize)
		copy(in, c.in[:c.w])
		c.in = in
	} else if len(c.in) > keepSize && c.w == 0 {
		c.in = make([]byte, readSize) // a large frame has gone by
	}
	var n, oobn, flags int
	err := persist(func() (err error) {
		n, oobn, flags, _, err = c.sock.ReadMsgUnix(c.in[c.w:], c.oob)
		return err
	})
	if oobn > 0 {
		if err := c.takeFDs(c.oob[:oobn]); err != nil {
			return err
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return fmt.Errorf("ipc: descriptors cut off: %w", ErrFrame)
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) { // it closed with bytes of ours unread
			return c.eof()
		}
		return fmt.Errorf("ipc: read: %w", err)
	}
	if n == 0 && len(c.in) > c.w {
		return c.eof()
	}
	c.w += n
	return nil
}

func (c *Conn) eof() error {
	if c.w > c.r {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (c *Conn) takeFDs(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("ipc: control message: %w", err)
	}
	c.fdmu.Lock()
	defer c.fdmu.Unlock()
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		if c.over {
			closeAll(fds)
			continue
		}
		c.waiting = append(c.waiting, fds...)
	}
	if len(c.waiting) > 4*maxFDs {
		return fmt.Errorf("ipc: %d descriptors without frames: %w", len(c.waiting), ErrFrame)
	}
	return nil
}

// Close shuts the connection; waiting and later calls fail.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.err = ErrClosed
	}
	c.room.Broadcast()
	c.mu.Unlock()
	c.dropFDs()
	return c.sock.Close()
}
