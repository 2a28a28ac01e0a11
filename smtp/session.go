package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"postrider/lib/mail"
	"postrider/lib/transcript"
	"postrider/lib/wire"
)

// errStep is the kind of error for a server that answers what was not asked.
var errStep = errors.New("smtp: reply out of step")

// readBuffer holds the replies to everything that is sent ahead for a usual
// message; more is read in several turns.
const readBuffer = 4 << 10

// feature is what a server offers in its reply to EHLO.
type feature uint8

const (
	pipelining feature = 1 << iota // RFC 2920
	size                           // RFC 1870
	eightBit                       // RFC 6152
	smtpUTF8                       // RFC 6531
	dsn                            // RFC 3461
	startsTLS                      // RFC 3207
)

// session is one connection to a server past its greeting. One delivery has it at
// a time; between deliveries it rests in the cache.
type session struct {
	st        *settings
	raw       socket
	conn      net.Conn // raw, or TLS over it
	tls       bool
	insecure  bool // without TLS, since that did not work: for this delivery only
	fell      bool // it broke under TLS, before the final dot
	verified  bool // the server is who it should be
	listens   bool // it waits for a command, although the session is given up
	in        *wire.Reader
	out       []byte
	rcpts     []int // places of the recipients in the transaction under way
	reply     wire.Reply
	host      string
	name      string // "host[addr]"
	relay     string // "host[addr]:port"
	key       serverKey
	best      bool     // of the best preference
	mechs     []string // that the server offers for a login
	features  feature
	sizeLimit int64

	born  time.Time // connected and greeted
	until time.Time // in the cache: when it ends
	uses  int

	// A stop may end any wait before the final dot. The delivery sets pastDot,
	// then looks at stopped; the stop sets stopped, then looks at pastDot.
	pastDot, stopped atomic.Bool
	live             *live

	chat    *transcript.Chat // what is said, for the postmaster; nil: he does not want it
	strange bool             // the server answered what it should not have (notify_classes)
	secret  bool             // a login is under way
	silent  bool             // a notice to the postmaster is among what was sent: no other follows
	tell    func(*session)   // sends him the chat
}

// socket is a connection of TCP, or to a Unix socket.
type socket interface {
	net.Conn
	syscall.Conn
}

// reach says how far a connection came.
type reach uint8

const (
	unreached   reach = iota
	noHandshake       // the server was reached, and TLS failed, or the session broke under it
	greeted           // it was reached
	absent            // not tried: the source has no address here
	through           // nothing failed
)

// connect makes a connection and goes through the greetings. When that fails, the
// status says why, and how far it came.
func (c *client) connect(ctx context.Context, st *settings, t target, h hop, p *policy, key serverKey) (s *session, bad mail.Status, how reach) {
	conn, err := st.dial(ctx, t)
	if err != nil {
		if st.absent(err) {
			return nil, unreachable(t, err), absent
		}
		return nil, unreachable(t, err), unreached
	}
	s = &session{
		st: st, raw: conn, conn: conn, in: wire.NewReader(conn, readBuffer), host: t.host, name: t.name(),
		relay: t.relay(), key: key, best: t.best, insecure: p == plainPolicy, live: &c.live,
	}
	if st.notices.Classes&transcript.Protocol != 0 {
		s.chat, s.tell = transcript.Begin(), c.tellPostmaster
	}
	if !c.live.add(s) {
		conn.Close()
		return nil, unreachable(t, context.Canceled), unreached
	}
	if bad, how = s.enter(t, h, p); how == greeted && s.fell {
		how = noHandshake
	}
	if how != through {
		if bad.Diag != "" || s.listens {
			s.quit()
		}
		s.close()
		return nil, bad, how
	}
	s.born = time.Now()
	return s, mail.Status{}, through
}

// dial makes the connection.
func (st *settings) dial(ctx context.Context, t target) (socket, error) {
	dialer := net.Dialer{Timeout: st.timeout.connect, KeepAlive: -1}
	if t.unix != "" {
		conn, err := dialer.DialContext(ctx, "unix", t.unix)
		if err != nil {
			return nil, err
		}
		return conn.(*net.UnixConn), nil
	}
	var local netip.AddrPort
	if t.addr.Addr().Is4() && st.bind4.IsValid() {
		local = netip.AddrPortFrom(st.bind4, 0)
	} else if t.addr.Addr().Is6() && st.bind6.IsValid() {
		local = netip.AddrPortFrom(st.bind6, 0)
	}
	if st.bound && !local.IsValid() {
		return nil, errNoFamily
	}
	conn, err := dialer.DialTCP(ctx, "tcp", local, t.addr)
	if err != nil {
		return nil, err // not a nil *net.TCPConn, which would be no nil socket
	}
	return conn, nil
}

// enter goes through all that stands before the first MAIL: the greetings, TLS, and the
// login. The status says why it did not come through.
func (s *session) enter(t target, h hop, p *policy) (mail.Status, reach) {
	if s.st.tls.wrap && p.level > levelNone {
		if bad, ok := s.handshake(t, h, p); !ok {
			return bad, noHandshake
		}
	}
	if bad, ok := s.greet(s.st, t); !ok {
		return bad, greeted
	}
	if !s.tls && (p.level > levelNone || s.has(startsTLS)) {
		if bad, how := s.secure(t, h, p); how != through {
			return bad, how
		}
	}
	if s.key.login != (login{}) && len(s.mechs) > 0 {
		if bad, ok := s.authenticate(s.key.login); !ok {
			return bad, greeted
		}
	}
	return mail.Status{}, through
}

// greet reads the greeting and says hello.
func (s *session) greet(st *settings, t target) (mail.Status, bool) {
	s.wait(st.timeout.helo)
	if err := s.hear(); err != nil {
		return s.broken(greeting, err), false
	}
	if s.reply.Code/100 != 2 {
		bad := s.unwilling()
		if st.skip5xxGreeting {
			bad = soften(bad)
		}
		return bad, false
	}
	if !st.lmtp && strings.EqualFold(firstWord(s.reply.Text()), st.self) {
		st.log.Warnf("host %s greeted me with my own hostname %s", s.name, st.self)
	}
	return s.hello(st, t)
}

// hello says EHLO, or HELO to a server that does not know it (RFC 5321, section 3.2), or LHLO.
func (s *session) hello(st *settings, t target) (mail.Status, bool) {
	at, verb := ehlo, "EHLO "
	if st.lmtp {
		at, verb = lhlo, "LHLO "
	}
	if err := s.ask(st.timeout.helo, verb, st.helo); err != nil {
		return s.broken(at, err), false
	}
	if s.reply.Code/100 != 2 && s.reply.Code != 421 && at == ehlo && !s.tls {
		at = helo
		if err := s.ask(st.timeout.helo, "HELO ", st.helo); err != nil {
			return s.broken(at, err), false
		}
	}
	if s.reply.Code/100 != 2 {
		return s.unwilling(), false
	}
	text := s.reply.Text()
	if !st.lmtp && strings.EqualFold(firstWord(text), st.self) {
		st.log.Warnf("host %s replied to HELO/EHLO with my own hostname %s", s.name, st.self)
		bad := mail.Status{Class: mail.Bounced, DSN: "5.4.6", Text: "mail for " + t.host + " loops back to myself"}
		if !t.best {
			bad = soften(bad)
		}
		return bad, false
	}
	s.features, s.sizeLimit, s.mechs = 0, 0, nil
	if at != helo {
		s.features, s.sizeLimit, s.mechs = parseEHLO(text)
	}
	return mail.Status{}, true
}

// parseEHLO reads the keywords from the second line on. A SIZE without a number,
// or with one that does not fit, names no limit: 0. mechs are those of AUTH.
func parseEHLO(text string) (f feature, limit int64, mechs []string) {
	_, text, _ = strings.Cut(text, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		if len(word) > 5 && strings.EqualFold(word[:5], "AUTH=") { // of old
			mechs = append(append(mechs, word[5:]), strings.Fields(rest)...)
		}
		switch strings.ToUpper(word) {
		case "PIPELINING":
			f |= pipelining
		case "8BITMIME":
			f |= eightBit
		case "SMTPUTF8":
			f |= smtpUTF8
		case "DSN":
			f |= dsn
		case "STARTTLS":
			f |= startsTLS
		case "AUTH":
			mechs = append(mechs, strings.Fields(rest)...)
		case "SIZE":
			f |= size
			if n, err := strconv.ParseInt(firstWord(rest), 10, 64); err == nil && n > 0 {
				limit = n
			}
		}
	}
	return f, limit, mechs
}

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \n"); i >= 0 {
		return s[:i]
	}
	return s
}

// has says whether the server offers f.
func (s *session) has(f feature) bool { return s.features&f != 0 }

// wait gives the next phase its time, unless the daemon is stopping.
func (s *session) wait(d time.Duration) {
	s.raw.SetDeadline(time.Now().Add(d))
	if s.stopped.Load() && !s.pastDot.Load() {
		s.raw.SetDeadline(time.Unix(1, 0))
	}
}

// ask sends one command and reads its reply.
func (s *session) ask(d time.Duration, parts ...string) error {
	s.wait(d)
	s.out = s.out[:0]
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
	s.out = append(s.out, '\r', '\n')
	if err := s.send(s.out); err != nil {
		return err
	}
	return s.hear()
}

// send writes commands.
func (s *session) send(commands []byte) error {
	switch {
	case s.chat == nil:
	case s.secret:
		s.chat.Out([]byte("AUTH (not shown)"))
	default:
		s.chat.Out(commands)
	}
	_, err := s.conn.Write(commands)
	return err
}

// hear reads a reply.
func (s *session) hear() error {
	err := s.in.ReadReply(&s.reply)
	if s.chat != nil && err == nil {
		s.note()
	}
	return err
}

// quit takes leave. The answer does not matter (smtp_skip_quit_response).
func (s *session) quit() {
	if s.st.skipQuitResponse {
		s.say("QUIT\r\n")
		return
	}
	s.ask(s.st.timeout.quit, "QUIT")
}

// say sends last words, to which no answer is awaited.
func (s *session) say(words string) {
	s.raw.SetWriteDeadline(time.Now().Add(time.Second))
	s.conn.Write([]byte(words))
	if c, ok := s.conn.(*tls.Conn); ok {
		c.CloseWrite()
	}
}

// close ends the connection without a word.
func (s *session) close() {
	s.live.remove(s)
	s.raw.Close()
	if s.chat != nil {
		s.tell(s)
	}
}
