package wire

import (
	"net"
	"time"
)

// Writer collects what is to be sent, so that replies to pipelined commands, or a
// client's commands, go out in one write. The first error stays: later calls do
// nothing, and Flush returns it. Use by one goroutine.
type Writer struct {
	Timeout time.Duration // for each write to the connection; 0 is for ever

	conn net.Conn
	time deadline
	buf  []byte
	size int
	dots Stuffer
	err  error
}

// NewWriter writes to conn. At most about size bytes are held back.
func NewWriter(conn net.Conn, size int) *Writer {
	return &Writer{conn: conn, buf: make([]byte, 0, size), size: size}
}

// Switch makes w write to another connection, into which the old one has turned (TLS). What
// is held back must have been sent.
func (w *Writer) Switch(conn net.Conn) { w.conn = conn }

// Reply adds a reply; see AppendReply.
func (w *Writer) Reply(code int, dsn, text string) {
	w.buf = AppendReply(w.buf, code, dsn, text)
	w.room()
}

// Line adds the parts and CRLF. The caller answers for their being free of line ends.
func (w *Writer) Line(parts ...string) {
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
	w.buf = append(w.buf, '\r', '\n')
	w.room()
}

// Content adds a block of a message's content, dots stuffed. The content has CRLF at
// the end of its lines; a block may begin and end anywhere.
func (w *Writer) Content(p []byte) error {
	for len(p) > 0 && w.err == nil {
		n := min(len(p), max(w.size-len(w.buf), 512))
		w.buf = w.dots.Append(w.buf, p[:n])
		p = p[n:]
		w.room()
	}
	return w.err
}

// EndContent adds the line with a single dot, after CRLF if the content's last line has
// none (RFC 5321, section 4.1.1.4), and makes the writer ready for another message.
func (w *Writer) EndContent() {
	w.buf = w.dots.End(w.buf)
	w.room()
}

// Buffered is how many bytes are held back.
func (w *Writer) Buffered() int { return len(w.buf) }

func (w *Writer) room() {
	if len(w.buf) >= w.size {
		w.Flush()
	}
}

// Flush sends what is held back.
func (w *Writer) Flush() error {
	if len(w.buf) == 0 || w.err != nil {
		w.buf = w.buf[:0]
		return w.err
	}
	if until, late := w.time.next(w.Timeout); late {
		w.err = w.conn.SetWriteDeadline(until)
	}
	if w.err == nil {
		_, w.err = w.conn.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}
