package smtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postrider/lib/agent"
	"postrider/lib/header"
	"postrider/lib/mail"
	"postrider/lib/wire"
)

// Errors of sendContent besides those of the connection and agent.ErrContent.
var (
	errEarly = errors.New("smtp: refused before the end of content") // the refusal is in session.reply
	errRead  = errors.New("smtp: content cannot be read")
)

// block is how much of a large message is read and sent at a time.
const block = 64 << 10

// buffers keeps what content is made ready in.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// examine looks at the content before anything is sent: its checksum, when it is at
// hand, and whether its header has bytes beyond ASCII, which with SMTPUTF8 decides
// whether the server must know it (RFC 6531, section 3.4).
func (d *delivery) examine() error {
	b, inline, err := d.r.Content.Bytes()
	if err != nil {
		return err
	}
	if !d.r.UTF8 {
		return nil
	}
	if d.needUTF8 = hasEight([]byte(d.r.Sender)); d.needUTF8 {
		return nil
	}
	for i := range d.r.Recipients {
		if d.needUTF8 = hasEight([]byte(d.r.Recipients[i].Address)); d.needUTF8 {
			return nil
		}
	}
	if !inline {
		b = make([]byte, block)
		n, err := d.r.Content.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return err
		}
		b = b[:n]
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		b = b[:i]
	}
	d.needUTF8 = hasEight(b)
	return nil
}

func hasEight(b []byte) bool {
	var or uint64
	for len(b) >= 32 {
		le := binary.LittleEndian
		or |= le.Uint64(b) | le.Uint64(b[8:]) | le.Uint64(b[16:]) | le.Uint64(b[24:])
		b = b[32:]
	}
	for _, c := range b {
		or |= uint64(c)
	}
	return or&0x8080808080808080 != 0
}

// eight says whether the content may have bytes beyond ASCII. One that is not in memory
// may: it costs nothing to say so.
func (d *delivery) eight() bool {
	b, inline, err := d.r.Content.Bytes()
	return !inline || err != nil || hasEight(b)
}

// form is what content is changed into on its way out, in this order: with the addresses that
// others know (smtp_generic_maps), to seven bits for a server that does not offer 8BITMIME,
// unless disable_mime_output_conversion is set, and with lines that are not too long.
type form struct {
	names                  *genericHeader
	seven                  *header.SevenBit
	fold                   folder
	begun                  bool   // it comes in pieces
	named, sevened, folded []byte // scratch
}

func (d *delivery) form(s *session) form {
	f := form{fold: folder{limit: d.st.lineLimit}, names: d.newGenericHeader()}
	if !s.has(eightBit) && !d.st.keepEight && d.eight() {
		f.seven = new(header.SevenBit)
	}
	return f
}

// apply returns what the next piece of the content becomes, valid until the next call; eof
// says that it is the last one.
func (f *form) apply(b []byte, eof bool) []byte {
	if f.names != nil {
		f.named = f.names.Append(f.named[:0], b, eof)
		b = f.named
	}
	if f.seven != nil {
		f.sevened = f.seven.Append(f.sevened[:0], b, eof)
		b = f.sevened
	}
	f.begun = f.begun || !eof
	if f.fold.limit > 0 && (f.begun || longLine(b, f.fold.limit)) {
		f.folded = f.fold.Append(f.folded[:0], b)
		b = f.folded
	}
	return b
}

// sendContent sends the message and the final dot: one write when it came inline.
func (d *delivery) sendContent(s *session) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var dots wire.Stuffer
	form := d.form(s)
	if b, inline, err := d.r.Content.Bytes(); err != nil {
		return err
	} else if inline {
		out := dots.Append((*buf)[:0], form.apply(b, true))
		out = dots.End(out)
		*buf = out[:0]
		return s.finish(out)
	}

	in := make([]byte, block)
	r := d.r.Content.NewReader()
	out := (*buf)[:0]
	for eof := false; !eof; {
		n, err := r.Read(in)
		eof = err == io.EOF
		if errors.Is(err, agent.ErrContent) {
			return err
		}
		if err != nil && !eof {
			d.log.Warnf("%s: %v", d.r.Queue, err)
			return errRead
		}
		b := form.apply(in[:n], eof)
		// One block stays here until the next is there, so that the dot goes out
		// with the last of the content, after the checksum.
		if len(b) == 0 {
			continue
		}
		if len(out) > 0 {
			s.wait(s.st.timeout.dataXfer)
			if _, err := s.conn.Write(out); err != nil {
				return err
			}
		}
		out = dots.Append(out[:0], b)
	}
	out = dots.End(out)
	*buf = out[:0]
	if s.readable() {
		s.wait(s.st.timeout.dataXfer)
		if err := s.hear(); err != nil {
			return err
		}
		if s.reply.Code < 400 {
			return errStep
		}
		return errEarly
	}
	return s.finish(out)
}

// finish makes the write that holds the final dot. From here on a stop waits for
// the reply.
func (s *session) finish(out []byte) error {
	s.pastDot.Store(true)
	if s.stopped.Load() {
		s.pastDot.Store(false)
		return io.ErrClosedPipe
	}
	s.raw.SetDeadline(time.Now().Add(s.st.timeout.dataXfer))
	_, err := s.conn.Write(out)
	return err
}

// readable says whether the server has sent something, or closed, without waiting.
func (s *session) readable() bool {
	if len(s.in.Buffered()) > 0 {
		return true
	}
	raw, err := s.raw.SyscallConn()
	if err != nil {
		return false
	}
	ready := false
	raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ready = err == nil
	})
	if ready && s.tls {
		// It may be none of our business, such as a new key.
		s.raw.SetReadDeadline(time.Now().Add(tlsGlance))
		_, err := s.in.Window()
		ready = err == nil || !errors.Is(err, os.ErrDeadlineExceeded)
	}
	return ready
}

// tlsGlance is how long it may take to decipher what has come already.
const tlsGlance = 10 * time.Millisecond

// longLine says whether a line of b, without its CRLF, exceeds limit bytes.
func longLine(b []byte, limit int) bool {
	for len(b) > limit {
		i := bytes.LastIndexByte(b[:min(len(b), limit+2)], '\n')
		if i < 0 {
			return len(b) > limit+2 || !bytes.HasSuffix(b, []byte("\r\n"))
		}
		b = b[i+1:]
	}
	return false
}

// folder divides lines that are longer than limit by CRLF and a blank, which counts
// for the next (smtp_line_length_limit). It may be given content in any pieces.
type folder struct {
	limit int
	line  int  // bytes of the line so far
	cr    bool // the last of them is a CR that may belong to the line's end
}

// Append appends src to dst, folded.
func (f *folder) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		if f.cr {
			f.cr = false
			if src[0] == '\n' {
				dst = append(dst, '\r', '\n')
				f.line = 0
				src = src[1:]
				continue
			}
			dst = f.text(dst, []byte{'\r'})
			continue
		}
		i := bytes.IndexByte(src, '\r')
		if i < 0 {
			return f.text(dst, src)
		}
		dst = f.text(dst, src[:i])
		f.cr = true
		src = src[i+1:]
	}
	return dst
}

// text appends bytes of a line.
func (f *folder) text(dst, b []byte) []byte {
	for f.line+len(b) > f.limit {
		n := f.limit - f.line
		dst = append(dst, b[:n]...)
		b = b[n:]
		dst = append(dst, "\r\n "...)
		f.line = 1
	}
	f.line += len(b)
	return append(dst, b...)
}

// appendMail appends MAIL with the parameters that the server knows.
func (d *delivery) appendMail(b []byte, s *session) []byte {
	r := d.r
	b = append(b, "MAIL FROM:<"...)
	b = append(b, d.sender.External()...)
	b = append(b, '>')
	if s.has(size) {
		b = append(b, " SIZE="...)
		b = appendInt(b, r.Content.Size())
	}
	if s.has(eightBit) && d.eight() {
		b = append(b, " BODY=8BITMIME"...)
	}
	if s.has(smtpUTF8) && r.UTF8 {
		b = append(b, " SMTPUTF8"...)
	}
	if s.has(dsn) {
		if r.Ret == "FULL" || r.Ret == "HDRS" {
			b = append(append(b, " RET="...), r.Ret...)
		}
		b = appendParameter(b, " ENVID=", r.EnvID)
	}
	return append(b, '\r', '\n')
}

// appendRcpt appends RCPT for a recipient.
func (d *delivery) appendRcpt(b []byte, s *session, i int) []byte {
	r := &d.r.Recipients[i]
	b = append(b, "RCPT TO:<"...)
	b = append(b, d.to(r, i).External()...)
	b = append(b, '>')
	if s.has(dsn) {
		b = appendNotify(b, r.Notify)
		switch {
		case r.ORCPT != "":
			b = appendParameter(b, " ORCPT=", r.ORCPT)
		case r.Original != "":
			b = mail.AppendXtext(append(b, " ORCPT=rfc822;"...), string(r.Original))
		}
	}
	return append(b, '\r', '\n')
}

// appendParameter appends a parameter as it was received, unless it holds what no
// parameter may hold.
func appendParameter(b []byte, name, value string) []byte {
	if value == "" || strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) >= 0 {
		return b
	}
	return append(append(b, name...), value...)
}
