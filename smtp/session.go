package smtp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postrider/lib/mail"
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
)

// session is one connection to a server past its greeting. One delivery has it at
// a time; between deliveries it rests in the cache.
type session struct {
	st        *settings
	conn      *net.TCPConn
	in        *wire.Reader
	out       []byte
	rcpts     []int // places of the recipients in the transaction under way
	reply     wire.Reply
	host      string
	name      string // "host[addr]"
	relay     string // "host[addr]:port"
	addr      netip.AddrPort
	best      bool // of the best preference
	features  feature
	sizeLimit int64

	born  time.Time // connected and greeted
	until time.Time // in the cache: when it ends
	uses  int

	// A stop may end any wait before the final dot. The delivery sets pastDot,
	// then looks at stopped; the stop sets stopped, then looks at pastDot.
	pastDot, stopped atomic.Bool
	live             *live
}

// connect makes a connection and goes through the greetings. When that fails, the
// status says why, and whether the server was reached at all.
func (c *client) connect(ctx context.Context, st *settings, t target) (s *session, bad mail.Status, reached bool) {
	var local netip.AddrPort
	if t.addr.Addr().Is4() && st.bind4.IsValid() {
		local = netip.AddrPortFrom(st.bind4, 0)
	} else if t.addr.Addr().Is6() && st.bind6.IsValid() {
		local = netip.AddrPortFrom(st.bind6, 0)
	}
	dialer := net.Dialer{Timeout: st.timeout.connect, KeepAlive: -1}
	conn, err := dialer.DialTCP(ctx, "tcp", local, t.addr)
	if err != nil {
		return nil, unreachable(t, err), false
	}
	name := t.host + "[" + t.addr.Addr().String() + "]"
	s = &session{
		st: st, conn: conn, in: wire.NewReader(conn, readBuffer), host: t.host, name: name,
		relay: name + ":" + strconv.Itoa(int(t.addr.Port())), addr: t.addr, best: t.best, live: &c.live,
	}
	if !c.live.add(s) {
		conn.Close()
		return nil, unreachable(t, context.Canceled), false
	}
	if bad, ok := s.greet(st, t); !ok {
		if bad.Diag != "" { // it still listens
			s.quit()
		}
		s.close()
		return nil, bad, true
	}
	s.born = time.Now()
	return s, mail.Status{}, true
}

// greet reads the greeting and says EHLO, or HELO to a server that does not know
// it (RFC 5321, section 3.2).
func (s *session) greet(st *settings, t target) (mail.Status, bool) {
	s.wait(st.timeout.helo)
	if err := s.in.ReadReply(&s.reply); err != nil {
		return s.broken(greeting, err), false
	}
	if s.reply.Code/100 != 2 {
		bad := s.unwilling()
		if st.skip5xxGreeting {
			bad = soften(bad)
		}
		return bad, false
	}
	if strings.EqualFold(firstWord(s.reply.Text()), st.self) {
		st.log.Warnf("host %s greeted me with my own hostname %s", s.name, st.self)
	}
	at := ehlo
	if err := s.ask(st.timeout.helo, "EHLO ", st.helo); err != nil {
		return s.broken(at, err), false
	}
	if s.reply.Code/100 != 2 && s.reply.Code != 421 {
		at = helo
		if err := s.ask(st.timeout.helo, "HELO ", st.helo); err != nil {
			return s.broken(at, err), false
		}
	}
	if s.reply.Code/100 != 2 {
		return s.unwilling(), false
	}
	text := s.reply.Text()
	if strings.EqualFold(firstWord(text), st.self) {
		st.log.Warnf("host %s replied to HELO/EHLO with my own hostname %s", s.name, st.self)
		bad := mail.Status{Class: mail.Bounced, DSN: "5.4.6", Text: "mail for " + t.host + " loops back to myself"}
		if !t.best {
			bad = soften(bad)
		}
		return bad, false
	}
	if at == ehlo {
		s.features, s.sizeLimit = parseEHLO(text)
	}
	return mail.Status{}, true
}

// parseEHLO reads the keywords from the second line on. A SIZE without a number,
// or with one that does not fit, names no limit: 0.
func parseEHLO(text string) (f feature, limit int64) {
	_, text, _ = strings.Cut(text, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(word) {
		case "PIPELINING":
			f |= pipelining
		case "8BITMIME":
			f |= eightBit
		case "SMTPUTF8":
			f |= smtpUTF8
		case "DSN":
			f |= dsn
		case "SIZE":
			f |= size
			if n, err := strconv.ParseInt(firstWord(rest), 10, 64); err == nil && n > 0 {
				limit = n
			}
		}
	}
	return f, limit
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
	s.conn.SetDeadline(time.Now().Add(d))
	if s.stopped.Load() && !s.pastDot.Load() {
		s.conn.SetDeadline(time.Unix(1, 0))
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
	if _, err := s.conn.Write(s.out); err != nil {
		return err
	}
	return s.in.ReadReply(&s.reply)
}

// quit takes leave. The answer does not matter (smtp_skip_quit_response).
func (s *session) quit() {
	if s.st.skipQuitResponse {
		s.conn.SetWriteDeadline(time.Now().Add(time.Second))
		s.conn.Write([]byte("QUIT\r\n"))
		return
	}
	s.ask(s.st.timeout.quit, "QUIT")
}

// close ends the connection without a word.
func (s *session) close() {
	s.live.remove(s)
	s.conn.Close()
}
