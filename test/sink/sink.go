// Package sink is the far end of the tests' mail: an SMTP and LMTP server on loopback, outside of
// what the tests kill, that does what a test tells it. It refuses, defers, waits, hangs
// up at a chosen moment, or accepts; and it writes down what it took responsibility for.
//
// It is no copy of the server under test and shares no code with it, so that a mistake
// of one does not hide in the other.
package sink

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"postrider/test/ledger"
)

// Mail is a message that arrived whole.
type Mail struct {
	ID         string // of the ledger, or ""
	Sender     string
	Recipients []string // those that were accepted
	Content    []byte   // with CRLF, dots unstuffed; valid as long as nobody changes it
	Sum        ledger.Sum
	Session    int // number of the connection, from 1
	At         time.Time
	Client     string // address and port that it came from
	Helo       string // as the client called itself

	FromParameters string   // of MAIL, such as "SIZE=1 RET=HDRS"
	RcptParameters []string // for each of Recipients
}

// Drop as a reply closes the connection without one.
const Drop = "drop"

// Behaviour is what the sink does. Each function may be nil, and may return "" for the
// usual reply, a reply line, or Drop. They are called from many goroutines.
type Behaviour struct {
	Greet func() string
	From  func(sender string) string
	Rcpt  func(sender, recipient string) string
	Data  func(sender string) string // before 354
	// Dot is asked when a message is complete; it may wait. A reply that starts with 2,
	// or "", takes the message; LoseReply takes it and says nothing.
	Dot func(*Mail) string
	// Keywords are offered after EHLO; nil means PIPELINING, 8BITMIME, ENHANCEDSTATUSCODES and SIZE.
	Keywords []string
}

// LoseReply as the reply to the dot takes the message and closes without a word.
const LoseReply = "lose"

// Sink is the server. Make one with New or Listen.
type Sink struct {
	Addr string // host:port

	ledger *ledger.Ledger

	mu       sync.Mutex
	do       Behaviour
	listener net.Listener
	conns    map[net.Conn]bool
	sessions int
	open     int
	most     int // sessions open at once
	inData   int // messages between the dot and the reply
	mails    []*Mail
	keep     bool
	handler  func(*Mail)
	wg       sync.WaitGroup
}

// T is what a sink needs of a test (testing.TB); a program that is no test uses Listen.
type T interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// New starts a sink for a test that accepts everything and tells l of it. l may be nil.
func New(t T, l *ledger.Ledger) *Sink { t.Helper(); return At(t, "", l) }

// At is New for a sink that listens at addr, such as 0.0.0.0:2525.
func At(t T, addr string, l *ledger.Ledger) *Sink {
	t.Helper()
	s, err := Listen(addr, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a sink at addr, or at a loopback address of its own where addr is "". It
// accepts everything and tells l of it, which may be nil. Whoever calls it closes it.
func Listen(addr string, l *ledger.Ledger) (*Sink, error) {
	s := &Sink{ledger: l, conns: map[net.Conn]bool{}, keep: true}
	if addr != "" {
		return s, s.listen(addr)
	}
	// A port that the kernel gives to no connection, so that Accept gets it back however
	// long the sink refused: below the range of ip_local_port_range.
	err := errors.New("no try")
	for n := 0; n < 100 && err != nil; n++ {
		err = s.listen(fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
	}
	return s, err
}

// Close refuses, and waits for the end of every session.
func (s *Sink) Close() { s.Refuse(); s.wg.Wait() }

func (s *Sink) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.listener, s.Addr = l, l.Addr().String()
	s.mu.Unlock()
	s.wg.Go(func() { s.accept(l) })
	return nil
}

// Do changes the behaviour from the next command on.
func (s *Sink) Do(b Behaviour) { s.mu.Lock(); s.do = b; s.mu.Unlock() }

// Handle calls f with every message that the sink takes, in place of telling the ledger.
// With keep false the sink does not keep messages in memory.
func (s *Sink) Handle(keep bool, f func(*Mail)) {
	s.mu.Lock()
	s.keep, s.handler = keep, f
	s.mu.Unlock()
}

// Reports makes the sink the mailbox of senders: what comes from the null sender is a
// report, and tells the ledger who bounced.
func (s *Sink) Reports() {
	s.Handle(false, func(m *Mail) {
		if id, failed, err := ledger.Reported(m.Content); err == nil && m.Sender == "" {
			s.ledger.Bounced(id, failed...)
			return
		}
		m.Tell(s.ledger)
	})
}

// Refuse closes the port and every connection: from now on connections are refused.
func (s *Sink) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
}

// Accept opens the port again after Refuse.
func (s *Sink) Accept(t T) {
	t.Helper()
	if err := s.listen(s.Addr); err != nil {
		t.Fatal(err)
	}
}

// NextHop is the sink as main.cf names it: [127.0.0.1]:PORT.
func (s *Sink) NextHop() string {
	host, port, _ := net.SplitHostPort(s.Addr)
	return "[" + host + "]:" + port
}

// Relay is the sink as the log names it: 127.0.0.1[127.0.0.1]:PORT.
func (s *Sink) Relay() string {
	host, port, _ := net.SplitHostPort(s.Addr)
	return host + "[" + host + "]:" + port
}

// Counts are the sessions so far, those open at once at most, and the messages taken.
func (s *Sink) Counts() (sessions, most, mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions, s.most, len(s.mails)
}

// Pending is how many messages are between the dot and the reply now.
func (s *Sink) Pending() int { s.mu.Lock(); defer s.mu.Unlock(); return s.inData }

// Mails are the messages taken so far, in order.
func (s *Sink) Mails() []*Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Mail(nil), s.mails...)
}

// Find returns the messages taken with this ledger id.
func (s *Sink) Find(id string) (found []*Mail) {
	for _, m := range s.Mails() {
		if m.ID == id {
			found = append(found, m)
		}
	}
	return found
}

func (s *Sink) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions++
		s.open++
		s.most = max(s.most, s.open)
		s.conns[c] = true
		n := s.sessions
		s.mu.Unlock()
		s.wg.Go(func() {
			x := &session{sink: s, number: n, conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriter(c)}
			x.serve()
			c.Close()
			s.mu.Lock()
			s.open--
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Sink) behaviour() Behaviour { s.mu.Lock(); defer s.mu.Unlock(); return s.do }

// take makes the message the sink's.
func (s *Sink) take(m *Mail) {
	s.mu.Lock()
	if s.keep {
		s.mails = append(s.mails, m)
	}
	f := s.handler
	s.mu.Unlock()
	if f != nil {
		f(m)
		return
	}
	if s.ledger != nil {
		m.Tell(s.ledger)
	}
}

// Tell enters the delivery to each recipient.
func (m *Mail) Tell(l *ledger.Ledger) {
	for _, r := range m.Recipients {
		if m.ID == "" {
			l.Found(r, m.Content)
		} else {
			l.Delivered(m.ID, r, m.Sum)
		}
	}
}

// session is one connection.
type session struct {
	sink   *Sink
	number int
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer

	helo           string
	lmtp           bool // after LHLO: a reply for each recipient
	sender         string
	in             bool // after MAIL
	recipients     []string
	fromParameters string
	rcptParameters []string
}

var errDrop = errors.New("closed by script")

func (x *session) serve() {
	first := ""
	if f := x.sink.behaviour().Greet; f != nil {
		first = f()
	}
	if x.reply(first, "220 sink.test ESMTP") != nil || strings.HasPrefix(first, "4") || strings.HasPrefix(first, "5") {
		x.w.Flush()
		return
	}
	for {
		if x.r.Buffered() == 0 && x.w.Flush() != nil {
			return
		}
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		if x.command(strings.TrimRight(line, "\r\n")) != nil {
			x.w.Flush()
			return
		}
	}
}

// reply writes the script's reply, or the usual one.
func (x *session) reply(script, usual string) error {
	if script == Drop {
		return errDrop
	}
	if script == "" {
		script = usual
	}
	_, err := x.w.WriteString(script + "\r\n")
	return err
}

func (x *session) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	b := x.sink.behaviour()
	switch strings.ToUpper(verb) {
	case "EHLO", "LHLO":
		x.helo, x.lmtp = rest, strings.EqualFold(verb, "LHLO")
		words := b.Keywords
		if words == nil {
			words = []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE"}
		}
		lines := append([]string{"sink.test"}, words...)
		for n, w := range lines {
			mark := "-"
			if n == len(lines)-1 {
				mark = " "
			}
			fmt.Fprintf(x.w, "250%s%s\r\n", mark, w)
		}
		return nil
	case "HELO":
		return x.reply("", "250 sink.test")
	case "MAIL":
		sender := path(rest)
		r := ""
		if b.From != nil {
			r = b.From(sender)
		}
		if r == "" || r[0] == '2' {
			x.sender, x.in, x.recipients, x.fromParameters, x.rcptParameters = sender, true, nil, parameters(rest), nil
		}
		return x.reply(r, "250 2.1.0 Ok")
	case "RCPT":
		if !x.in {
			return x.reply("", "503 5.5.1 MAIL first")
		}
		recipient := path(rest)
		r := ""
		if b.Rcpt != nil {
			r = b.Rcpt(x.sender, recipient)
		}
		if r == "" || r[0] == '2' {
			x.recipients = append(x.recipients, recipient)
			x.rcptParameters = append(x.rcptParameters, parameters(rest))
		}
		return x.reply(r, "250 2.1.5 Ok")
	case "DATA":
		if len(x.recipients) == 0 {
			return x.reply("", "554 5.5.1 no valid recipients")
		}
		if b.Data != nil {
			if r := b.Data(x.sender); r != "" {
				return x.reply(r, "")
			}
		}
		return x.data(b)
	case "RSET":
		x.in, x.recipients, x.rcptParameters = false, nil, nil
		return x.reply("", "250 2.0.0 Ok")
	case "NOOP":
		return x.reply("", "250 2.0.0 Ok")
	case "QUIT":
		x.reply("", "221 2.0.0 Bye")
		return errDrop
	}
	return x.reply("", "500 5.5.2 unknown")
}

// path is what stands between < and >.
func path(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

// parameters is what stands behind the path.
func parameters(s string) string {
	_, s, _ = strings.Cut(s, ">")
	return strings.TrimSpace(s)
}

func (x *session) data(b Behaviour) error {
	x.w.WriteString("354 go ahead\r\n")
	if err := x.w.Flush(); err != nil {
		return err
	}
	m := &Mail{Sender: x.sender, Recipients: x.recipients, Session: x.number, Client: x.conn.RemoteAddr().String(), Helo: x.helo, FromParameters: x.fromParameters, RcptParameters: x.rcptParameters}
	x.in, x.recipients, x.rcptParameters = false, nil, nil
	var content bytes.Buffer
	for {
		line, err := x.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if !errors.Is(err, bufio.ErrBufferFull) && string(line) == ".\r\n" {
			break
		}
		content.Write(bytes.TrimPrefix(line, []byte(".")))
	}
	m.Content, m.At = content.Bytes(), time.Now()
	m.ID, m.Sum, _ = ledger.Identify(m.Content)

	x.pending(1)
	r := ""
	if b.Dot != nil {
		r = b.Dot(m)
	}
	x.pending(-1)
	if r == "" || r[0] == '2' || r == LoseReply {
		x.sink.take(m)
	}
	if r == LoseReply {
		return errDrop
	}
	replies := 1
	if x.lmtp {
		replies = len(m.Recipients)
	}
	for range replies {
		if err := x.reply(r, "250 2.0.0 Ok: queued as SINK"); err != nil {
			return err
		}
	}
	return x.w.Flush()
}

func (x *session) pending(n int) { x.sink.mu.Lock(); x.sink.inData += n; x.sink.mu.Unlock() }
