package smtpd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/wire"
)

// front is a session: the connection as the engine sees it (net.Conn), and all that is
// known of the client. It is used by the session's goroutine alone, but for the
// read deadline of raw, by which the server wakes it at the end.
//
// The engine reads a line, acts, and writes a reply. So each Read means that the command
// before is done, and each Write belongs to the command in verb.
type front struct {
	service *service
	set     *settings
	log     *maillog.Logger
	raw     net.Conn // TCP
	conn    net.Conn // raw, or TLS over it
	tls     *protection
	addr    netip.Addr
	client  mail.Client
	in      *wire.Reader
	out     *wire.Writer
	slot    int
	crowd   int // sessions of this client when it came

	hand       []byte // what the engine has still to read
	line       []byte // what hand was made in
	verb       verb   // the command that the engine has in hand
	greeted    bool
	unasked    bool  // the engine's next reply is to a HELO that nobody sent
	answer     reply // the reply to verb, when it is not the usual one
	path       path
	params     mailParams   // of the last MAIL
	rcptParams rcptParams   // of the last RCPT
	tx         *transaction // nil: no MAIL, or it is over

	where  string // the last command, for the log
	counts [verbs]struct{ ok, total int }
	errors int
	junk   int

	body   bool    // content is being received
	bytes  int64   // of it, so far
	buffer *[]byte // borrowed for it
	woken  bool    // the server has ended a wait, once
	closed bool    // nothing more is to be read or written
	linger bool    // the client may still be sending
	over   bool    // Close was called
}

// newFront begins a session.
func newFront(v *service, conn net.Conn) *front {
	set := v.set.Load()
	f := &front{service: v, set: set, raw: conn, conn: conn, where: "CONNECT"}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		f.addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	f.client = mail.Client{Name: "unknown", Addr: f.addr.String(), Protocol: "SMTP"}
	f.in = wire.NewReader(conn, max(4096, set.lineLimit+2))
	f.in.Timeout, f.in.Before = set.timeout, f.waiting
	f.out = wire.NewWriter(conn, 1024)
	f.out.Timeout = set.timeout
	f.slot, f.crowd = v.server.add(f)
	f.log = v.log.Session(f.slot*v.server.of + v.server.number + 1)
	return f
}

// identify finds out the client's name. It keeps this client alone waiting.
func (f *front) identify() {
	if f.set.lookup && f.addr.IsValid() {
		name, warning := f.service.server.names.of(f.addr, f.service.server.stopping)
		if warning != "" {
			f.log.Warnf("%s", warning)
		}
		if name != "" {
			f.client.Name = name
		}
	}
	f.log.Event(maillog.Connect{Client: f.client})
}

// errStopping ends the wait for a command when the daemon is to end.
var errStopping = errors.New("smtpd: stopping")

// waiting runs before each read of the socket, whose deadline is set already: a stop that
// comes later ends the read, one that came before is seen here.
func (f *front) waiting() error {
	if !f.body && f.tx == nil && f.service.server.stopped() {
		return errStopping
	}
	return f.out.Flush()
}

// Read gives the engine its next line. Commands that are none of its business are
// answered before.
func (f *front) Read(p []byte) (n int, err error) {
	if daemon.Guard(func() { n, err = f.read(p) }) {
		f.shut(reply{421, "4.3.0", f.set.hostname + " Error: internal error"})
		return 0, io.EOF
	}
	return n, err
}

func (f *front) read(p []byte) (int, error) {
	for len(f.hand) == 0 {
		if f.closed {
			return 0, io.EOF
		}
		if f.errors >= f.set.hardErrors {
			f.log.Event(maillog.TooManyErrors{Client: f.client, After: f.where})
			f.shut(reply{421, "4.7.0", f.set.hostname + " Error: too many errors"})
			continue
		}
		line, err := f.in.ReadLine(f.set.lineLimit)
		if err != nil {
			f.readError(err)
			continue
		}
		f.command(line)
	}
	n := copy(p, f.hand)
	f.hand = f.hand[n:]
	return n, nil
}

// readError deals with an error of in, which is the end of the session but for two cases.
func (f *front) readError(err error) {
	switch {
	case err == wire.ErrLineTooLong:
		f.begin(unknown)
		f.finish(reply{500, "5.5.2", "Error: command too long"})
	case f.wakeUp(err):
		// Read again, or be told by waiting.
	case err == wire.ErrFlood:
		f.begin(unknown)
		f.shut(reply{421, "4.7.0", f.set.hostname + " Error: command too long"})
	case err == errStopping:
		f.shut(reply{421, "4.3.2", f.set.hostname + " Service shutting down"})
	default:
		f.lost(err)
	}
}

// wakeUp says whether err is only the server's knock at a session that goes on.
func (f *front) wakeUp(err error) bool {
	if f.woken || !errors.Is(err, os.ErrDeadlineExceeded) || !f.service.server.stopped() {
		return false
	}
	f.woken = true
	return true
}

// lost ends the session after a failed read or write.
func (f *front) lost(err error) {
	e := maillog.LostConnection{Client: f.client, After: f.where}
	if f.body {
		e.Bytes = f.bytes
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f.log.Event(maillog.Timeout(e))
		f.shut(reply{421, "4.4.2", f.set.hostname + " Error: timeout exceeded"})
		return
	}
	f.log.Event(e)
	f.closed = true
}

// shut says why and ends the session: the engine reads the end of the stream.
func (f *front) shut(r reply) {
	if !f.closed {
		f.out.Reply(r.code, r.dsn, r.text)
		f.closed, f.linger = true, true
	}
}

// Close ends the session (net.Conn). Called by the engine, maybe twice.
func (f *front) Close() error {
	if f.over {
		return nil
	}
	f.over, f.closed = true, true
	f.service.server.remove(f) // before the client can know, and come again
	err := f.out.Flush()
	if c, ok := f.conn.(*tls.Conn); ok {
		f.raw.SetWriteDeadline(time.Now().Add(time.Second))
		c.CloseWrite()
	}
	if f.linger && err == nil {
		f.drain()
	}
	f.raw.Close()
	f.returnBuffer()
	f.log.Event(maillog.Disconnect{Client: f.client, Commands: f.tally()})
	f.service.server.vacate(f.slot)
	f.service.gate.leave()
	return nil
}

// drain reads for a moment what a client sends that has been refused: closing at once
// would reset the connection, and the client might not see the reply.
func (f *front) drain() {
	c, ok := f.raw.(interface{ CloseWrite() error })
	if !ok || c.CloseWrite() != nil || f.raw.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	var b [1024]byte
	for range 64 {
		if _, err := f.raw.Read(b[:]); err != nil {
			return
		}
	}
}

// The rest of net.Conn. Deadlines are the front's own.

// LocalAddr returns the server's address.
func (f *front) LocalAddr() net.Addr { return f.conn.LocalAddr() }

// RemoteAddr returns the client's address.
func (f *front) RemoteAddr() net.Addr { return f.conn.RemoteAddr() }

// SetDeadline does nothing.
func (f *front) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (f *front) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (f *front) SetWriteDeadline(time.Time) error { return nil }
