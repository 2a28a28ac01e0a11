package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// Errors of a Reader, besides those of the connection.
var (
	// ErrLineTooLong means that a line exceeded its limit; it has been passed over, and
	// the next one can be read.
	ErrLineTooLong = errors.New("wire: line too long")
	// ErrFlood means that the peer sent so much without a line end that reading on is
	// pointless: the connection should be closed.
	ErrFlood = errors.New("wire: no end of line in sight")
)

// maxSkip is how many bytes of an over-long line are passed over before ErrFlood.
const maxSkip = 2 << 20

// Reader takes lines and blocks from a connection. Every wait for the peer has a time
// limit of its own. Use by one goroutine; only SetReadDeadline of the connection may be
// called by others, to end a wait.
type Reader struct {
	Timeout time.Duration // for each read of the connection; 0 is for ever
	Before  func() error  // if set, called before each read, once its deadline is set

	conn net.Conn
	time deadline
	buf  []byte // read and not yet taken: buf[r:w]
	r, w int
}

// NewReader reads from conn through a buffer of size bytes, which bounds the line that
// can be read and what may be read ahead.
func NewReader(conn net.Conn, size int) *Reader {
	return &Reader{conn: conn, buf: make([]byte, size)}
}

// Switch makes r read from another connection, into which the old one has turned (TLS).
// Nothing that came before counts: the caller has to refuse what is buffered.
func (r *Reader) Switch(conn net.Conn) { r.conn, r.r, r.w = conn, 0, 0 }

// ReadLine returns the next line without its end, which is LF with any number of CR
// before it. The slice is valid until the next call. A line longer than max bytes is
// ErrLineTooLong; the end of the stream in the middle of a line is io.ErrUnexpectedEOF.
func (r *Reader) ReadLine(max int) ([]byte, error) {
	line, cut, err := r.line(max)
	if err == nil && cut {
		return nil, ErrLineTooLong
	}
	return line, err
}

// line reads a line; of one that is too long it returns the first max bytes and true.
func (r *Reader) line(max int) ([]byte, bool, error) {
	if max > len(r.buf)-2 {
		max = len(r.buf) - 2 // room for CRLF
	}
	seen := 0 // bytes of buf[r:w] without LF
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+seen+i]
			r.r += seen + i + 1
			for len(line) > 0 && line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
			if len(line) > max {
				return line[:max], true, nil
			}
			return line, false, nil
		}
		seen = r.w - r.r
		if seen > max+1 {
			return r.skip(max)
		}
		r.room()
		if err := r.fill(); err != nil {
			if err == io.EOF && seen > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
	}
}

// skip keeps the first max unread bytes and passes over the rest of the line.
func (r *Reader) skip(max int) ([]byte, bool, error) {
	copy(r.buf, r.buf[r.r:r.r+max])
	for n := 0; n < maxSkip; {
		r.r, r.w = max, max
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
		n += r.w - r.r
		if i := bytes.IndexByte(r.buf[r.r:r.w], '\n'); i >= 0 {
			r.r += i + 1
			return r.buf[:max], true, nil
		}
	}
	return nil, false, ErrFlood
}

// Window returns what has been read and not taken, at least one byte of it: it waits
// when there is none. Discard takes from it. It is valid until the next call.
func (r *Reader) Window() ([]byte, error) {
	if r.r == r.w {
		r.room()
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	return r.buf[r.r:r.w], nil
}

// Discard takes n bytes of the window.
func (r *Reader) Discard(n int) { r.r += min(n, r.w-r.r) }

// Buffered returns what has been read and not taken, without waiting.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Swap makes the reader use another buffer and returns the old one; what is buffered
// moves along. When that does not fit, nothing changes and buf itself comes back.
func (r *Reader) Swap(buf []byte) []byte {
	if r.w-r.r > len(buf) {
		return buf
	}
	r.w = copy(buf, r.buf[r.r:r.w])
	r.r = 0
	old := r.buf
	r.buf = buf
	return old
}

// room makes room for a read, if there can be any.
func (r *Reader) room() {
	if r.r == r.w {
		r.r, r.w = 0, 0
	} else if r.w == len(r.buf) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
}

// fill reads once.
func (r *Reader) fill() error {
	if until, late := r.time.next(r.Timeout); late {
		if err := r.conn.SetReadDeadline(until); err != nil {
			return err
		}
	}
	if r.Before != nil {
		if err := r.Before(); err != nil {
			return err
		}
	}
	for range 100 {
		n, err := r.conn.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			r.time = deadline{} // somebody may have set another, to end the wait
			return err
		}
	}
	return io.ErrNoProgress
}
