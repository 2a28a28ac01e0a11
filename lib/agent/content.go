package agent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"postrider/lib/ipc"
	"postrider/lib/mail"
	"postrider/lib/proto"
)

// ErrContent is the kind of error for content that is not what qmgr announced:
// cut short, or with another checksum. Such a delivery must never be completed;
// ContentStatus is what becomes of it.
var ErrContent = errors.New("content checksum mismatch")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Request is one delivery to make. Deliver.Content must not be used: what it
// referred to is gone. The content is in Content.
type Request struct {
	proto.Deliver
	Content Content
	// Lane numbers the delivery slot, from 1, for the brackets of the log; no
	// two deliveries at the same time have the same, in any process of the program.
	Lane int

	suspect string
}

// Suspect says that the message crashes who reads it beyond the agent: how says whom.
// qmgr tries it in a process of its own and gives it up in the end, whatever the
// result says.
func (r *Request) Suspect(how string) { r.suspect = how }

// Content is the message to deliver: headers and body with CRLF line ends. It is
// valid until the handler returns.
type Content struct {
	inline []byte
	buf    *[]byte     // what inline is kept in, from buffers
	frame  *ipc.Memory // or in which it came
	fd     int         // when there is nothing inline; else -1
	offset int64
	size   int64
	crc    uint32
	good   bool // inline matches crc
}

// buffers keeps the copies of inline content.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// keepInline has inline content outlive the frame that was read last from c.
func (r *Request) keepInline(c *ipc.Conn) {
	x := &r.Content
	if x.inline = r.Deliver.Content; len(x.inline) >= ipc.KeepMin {
		if x.frame = c.Keep(); x.frame != nil {
			return
		}
	}
	x.buf = buffers.Get().(*[]byte)
	*x.buf = append((*x.buf)[:0], x.inline...)
	x.inline = *x.buf
}

// requests keeps those that are over: a Request is its handler's only until that returns.
var requests = sync.Pool{New: func() any { return &Request{} }}

// newRequest decodes a frame, the last that was read from conn, and takes over what carries
// the content.
func newRequest(f *ipc.Frame, conn *ipc.Conn) (*Request, error) {
	r := requests.Get().(*Request)
	r.Lane, r.suspect, r.Content = 0, "", Content{}
	if err := r.Decode(f.Payload); err != nil {
		f.CloseFDs()
		return nil, err
	}
	c := &r.Content
	c.fd, c.size, c.crc, c.offset = -1, r.Size, r.CRC, r.FDOffset
	switch {
	case r.Inline && len(f.FDs) == 0:
		r.keepInline(conn)
	case !r.Inline && len(f.FDs) == 1 && r.Size >= 0 && r.FDOffset >= 0:
		c.fd = f.FDs[0]
	default:
		f.CloseFDs()
		return nil, fmt.Errorf("agent: delivery with %d descriptors, inline %v: %w", len(f.FDs), r.Inline, ipc.ErrFrame)
	}
	r.Deliver.Content = nil
	return r, nil
}

// NewInline is content that is held in memory; its checksum is crc.
func NewInline(b []byte, crc uint32) Content {
	return Content{inline: b, fd: -1, size: int64(len(b)), crc: crc}
}

// Checksum is the CRC-32C of b, as Deliver.CRC has it.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func (r *Request) release() {
	c := &r.Content
	if c.buf != nil {
		buffers.Put(c.buf)
		c.buf, c.inline = nil, nil
	}
	if c.frame != nil {
		c.frame.Release()
		c.frame, c.inline = nil, nil
	}
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// Size is the length of the content in bytes.
func (c *Content) Size() int64 { return c.size }

// Bytes returns the whole content when it came inline and its checksum holds.
// inline is false when it has to be read from the descriptor by NewReader. Any
// error is ErrContent.
func (c *Content) Bytes() (b []byte, inline bool, err error) {
	if c.fd >= 0 {
		return nil, false, nil
	}
	if int64(len(c.inline)) != c.size {
		return nil, true, fmt.Errorf("agent: %d bytes of %d: %w", len(c.inline), c.size, ErrContent)
	}
	if c.good = c.good || Checksum(c.inline) == c.crc; !c.good {
		return nil, true, fmt.Errorf("agent: %w", ErrContent)
	}
	return c.inline, true, nil
}

// ReadAt implements io.ReaderAt. It checks nothing.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= c.size {
		return 0, io.EOF
	}
	short := false
	if int64(len(p)) > c.size-off {
		p, short = p[:c.size-off], true
	}
	if c.fd < 0 {
		n := 0
		if off < int64(len(c.inline)) {
			n = copy(p, c.inline[off:])
		}
		if n < len(p) || short {
			return n, io.EOF
		}
		return n, nil
	}
	n := 0
	for n < len(p) {
		k, err := unix.Pread(c.fd, p[n:], c.offset+off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("agent: read content: %w", err)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// Reader reads content from its beginning. It says io.EOF only when all of it was
// read and the checksum holds, else ErrContent.
type Reader struct {
	c   *Content
	off int64
	sum uint32
}

// NewReader returns a Reader at the beginning of the content.
func (c *Content) NewReader() Reader { return Reader{c: c} }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.off >= r.c.size {
		if r.sum != r.c.crc {
			return 0, fmt.Errorf("agent: %w", ErrContent)
		}
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.c.ReadAt(p, r.off)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	r.off += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	if n == 0 {
		return 0, fmt.Errorf("agent: content ends at %d of %d bytes: %w", r.off, r.c.size, ErrContent)
	}
	return n, nil
}

// Check reads all of the content and says whether it is what was announced.
func (c *Content) Check() error {
	_, inline, err := c.Bytes()
	if inline {
		return err
	}
	buf := make([]byte, 64<<10)
	for r := c.NewReader(); ; {
		if _, err := r.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// ContentStatus is the outcome for every recipient of a message whose content does
// not match its checksum: deferred, so that nothing wrong is ever delivered and
// the spool's own checks get their turn.
var ContentStatus = mail.Status{Class: mail.Deferred, DSN: "4.3.0", Text: "content checksum mismatch"}
