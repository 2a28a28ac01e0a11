package smtpd

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"postrider/lib/daemon"
	"postrider/lib/mail"
	"postrider/lib/maillog"
	"postrider/lib/transcript"
	"postrider/lib/wire"
)

// front is a session: the connection, and all that is known of the client. It is used by
// the session's goroutine alone, but for the read deadline of raw, by which the server
// wakes it at the end.
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
	began   time.Time

	verb       verb         // the command in hand
	params     mailParams   // of the last MAIL
	rcptParams rcptParams   // of the last RCPT
	tx         *transaction // nil: no MAIL, or it is over
	acts       acts         // for its message
	judged     check        // the command that restrictions look at
	ifPermit   reply        // what MAIL and RCPT hear in the place of a permission (defer_if_permit)
	claimed    string       // the name that the client's address claims, if it is not client.Name
	nameLater  bool         // client.Name could not be found for now
	denied     bool         // nothing but QUIT is heard any more

	chat   *transcript.Chat // what was said, for the postmaster; nil: he does not want it
	errs   transcript.Class // what went wrong
	blame  transcript.Class // of the reply to come, if it is not as its code says
	why    string           // why the session was broken off
	said   bool             // the log has the refusal of the content already
	notice bool             // mail of this session was such a notice itself

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
}

// newFront begins a session.
func newFront(v *service, conn net.Conn) *front {
	set := v.set.Load()
	f := &front{service: v, set: set, raw: conn, conn: conn, where: "CONNECT", began: time.Now()}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		f.addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	f.client = mail.Client{Name: "unknown", Addr: f.addr.String(), Protocol: "SMTP"}
	f.in = wire.NewReader(conn, max(4096, set.lineLimit+2))
	f.in.Timeout, f.in.Before = set.timeout, f.waiting
	f.out = wire.NewWriter(conn, 1024)
	f.out.Timeout = set.timeout
	f.slot, f.crowd = v.server.add(f)
	if set.notices.Classes != 0 {
		f.chat = transcript.Begin()
	}
	f.log = v.log.Session(f.slot*v.server.of + v.server.number + 1)
	return f
}

// identify finds out the client's name. It keeps this client alone waiting.
func (f *front) identify() {
	if f.set.lookup && f.addr.IsValid() {
		a := f.service.server.names.of(f.addr, f.service.server.stopping)
		if a.Warning != "" {
			f.log.Warnf("%s", a.Warning)
		}
		if a.Name != "" {
			f.client.Name = a.Name
		}
		f.claimed, f.nameLater = a.Claimed, a.Temporary
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

// session is the life of a connection. A panic ends it, and nothing else.
func (f *front) session() {
	room()
	if daemon.Guard(f.converse) {
		f.shut(reply{421, "4.3.0", f.set.hostname + " Error: internal error"})
	}
	daemon.Guard(f.close)
}

// stackRoom is about what the stack of a session comes to, in bytes.
const stackRoom = 6 << 10

// room has the stack grow once, while there is next to nothing on it. It would grow in
// three steps, each with more to move: that was 7 % of a session of one message.
//
//go:noinline
func room() {
	var b [stackRoom]byte
	runtime.KeepAlive(&b)
}

func (f *front) converse() {
	f.greet()
	for !f.closed {
		if f.errors >= f.set.hardErrors {
			f.log.Event(maillog.TooManyErrors{Client: f.client, After: f.where})
			f.errs, f.why = f.errs|transcript.Protocol, "too many errors"
			f.shut(reply{421, "4.7.0", f.set.hostname + " Error: too many errors"})
			return
		}
		line, err := f.in.ReadLine(f.set.lineLimit)
		if err != nil {
			f.readError(err)
			continue
		}
		f.command(line)
	}
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
	f.why = "lost connection"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f.why = "timeout"
		f.log.Event(maillog.Timeout(e))
		f.shut(reply{421, "4.4.2", f.set.hostname + " Error: timeout exceeded"})
		return
	}
	f.log.Event(e)
	f.closed = true
}

// shut says why and ends the session.
func (f *front) shut(r reply) {
	if !f.closed {
		f.put(r)
		f.closed, f.linger = true, true
	}
}

// close ends the connection.
func (f *front) close() {
	f.closed = true
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
	f.tellPostmaster()
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
