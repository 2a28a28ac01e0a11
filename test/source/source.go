// Package source puts mail into a server under test: an SMTP client that pipelines the
// envelope where it may, keeps its sessions, and writes down in the ledger exactly what it was told.
package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"postrider/test/ledger"
)

// Message is one to send. Content has CRLF line ends, ends in one, and is not stuffed.
type Message struct {
	ID         string // of the ledger
	Sender     string
	Recipients []string
	Content    []byte
}

// New makes a message whose content is the ledger's for this id, of about size bytes.
func New(id, sender string, size int, recipients ...string) *Message {
	return &Message{ID: id, Sender: sender, Recipients: recipients, Content: ledger.Content(id, size)}
}

// Session is one connection to a server, past EHLO.
type Session struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration

	pipelining bool // the server takes it
}

// Refusal is a reply of class 4 or 5, or one that makes no sense where it came.
type Refusal struct{ Reply string }

func (r *Refusal) Error() string { return "refused: " + r.Reply }

// Dial connects and says EHLO.
func Dial(addr string) (*Session, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	s := &Session{conn: conn, r: bufio.NewReader(conn), timeout: 30 * time.Second}
	if _, err = s.Expect("220"); err == nil {
		var offers string
		offers, err = s.Command("250", "EHLO source.test")
		s.pipelining = strings.Contains(strings.ToUpper(offers), "PIPELINING")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// Write sends bytes as they are.
func (s *Session) Write(b []byte) (int, error) {
	s.conn.SetWriteDeadline(time.Now().Add(s.timeout))
	return s.conn.Write(b)
}

// Reply reads one reply; of several lines all, with LF between.
func (s *Session) Reply() (string, error) {
	s.conn.SetReadDeadline(time.Now().Add(s.timeout))
	var lines []string
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n"), nil
		}
	}
}

// Expect reads a reply and returns a *Refusal when it does not start with code.
func (s *Session) Expect(code string) (string, error) {
	r, err := s.Reply()
	if err == nil && !strings.HasPrefix(r, code) {
		err = &Refusal{r}
	}
	return r, err
}

// Command sends a line and expects a reply.
func (s *Session) Command(code, format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(s, format+"\r\n", args...); err != nil {
		return "", err
	}
	return s.Expect(code)
}

// Close says QUIT and closes.
func (s *Session) Close() error {
	s.conn.SetDeadline(time.Now().Add(time.Second))
	s.conn.Write([]byte("QUIT\r\n"))
	s.r.ReadString('\n')
	return s.conn.Close()
}

// Abort closes without a word.
func (s *Session) Abort() { s.conn.Close() }

// Outcome is what the source was told about a message.
type Outcome struct {
	Acked    []string          // recipients, after 250 for the dot
	Refused  map[string]string // recipient to reply
	Unknown  bool              // the connection was lost after the dot was sent
	Reply    string            // the last reply seen
	QueueID  string            // of "queued as"
	Sent     time.Time         // when the content, with the final dot, began to be written
	Accepted time.Time
}

// Send sends one message and returns what it was told. A
// refusal is no error; after an error the session is of no use. Each outcome is written
// into l, which may be nil.
func (s *Session) Send(m *Message, l *ledger.Ledger) (Outcome, error) {
	if l == nil {
		l = new(ledger.Ledger)
	}
	l.Attempt(m.ID, ledger.Hash(m.Content), m.Recipients...)
	o := Outcome{Refused: map[string]string{}}
	accepted, err := s.envelope(m, &o)
	if err != nil || len(accepted) == 0 {
		l.Rejected(m.ID, m.Recipients...)
		return o, err
	}
	for r := range o.Refused {
		l.Rejected(m.ID, r)
	}
	body := Stuff(m.Content)
	o.Sent = time.Now()                      // before the write: the server may be faster than the return from it
	if _, err := s.Write(body); err != nil { // the last bytes may have got there
		o.Unknown = true
		l.Unknown(m.ID, accepted...)
		return o, err
	}
	o.Reply, err = s.Reply()
	switch {
	case err != nil:
		o.Unknown = true
		l.Unknown(m.ID, accepted...)
		return o, err
	case o.Reply[0] == '2':
		o.Accepted = time.Now()
		o.Acked = accepted
		l.Acked(m.ID, accepted...)
		if _, id, ok := strings.Cut(o.Reply, "queued as "); ok {
			o.QueueID = id
		}
	default:
		l.Rejected(m.ID, accepted...)
		for _, r := range accepted {
			o.Refused[r] = o.Reply
		}
	}
	return o, nil
}

// envelope sends MAIL, RCPT and DATA; with 354 it returns who was accepted.
func (s *Session) envelope(m *Message, o *Outcome) (accepted []string, err error) {
	commands := []string{fmt.Sprintf("MAIL FROM:<%s> SIZE=%d\r\n", m.Sender, len(m.Content))}
	for _, r := range m.Recipients {
		commands = append(commands, "RCPT TO:<"+r+">\r\n")
	}
	replies, err := s.all(append(commands, "DATA\r\n"))
	if err != nil {
		return nil, err
	}
	from, data := replies[0], replies[len(replies)-1]
	o.Reply = from
	for k, r := range m.Recipients {
		if reply := replies[1+k]; reply[0] == '2' {
			accepted = append(accepted, r)
		} else {
			o.Refused[r] = reply
			o.Reply = reply
		}
	}
	if strings.HasPrefix(data, "354") {
		return accepted, nil
	}
	if from[0] != '2' {
		for _, r := range m.Recipients {
			o.Refused[r] = from
		}
	}
	_, err = s.Command("250", "RSET")
	return nil, err
}

// all sends commands and returns their replies: in one write where the server takes
// that (RFC 2920), else one by one.
func (s *Session) all(commands []string) (replies []string, err error) {
	batch := 1
	if s.pipelining {
		batch = len(commands)
	}
	for some := range slices.Chunk(commands, batch) {
		if _, err := s.Write([]byte(strings.Join(some, ""))); err != nil {
			return nil, err
		}
		for range some {
			reply, err := s.Reply()
			if err != nil {
				return nil, err
			}
			replies = append(replies, reply)
		}
	}
	return replies, nil
}

// Stuff returns content with dots stuffed and the final dot.
func Stuff(content []byte) []byte {
	b := make([]byte, 0, len(content)+len(content)/50+8)
	if bytes.HasPrefix(content, []byte(".")) {
		b = append(b, '.')
	}
	for {
		i := bytes.Index(content, []byte("\r\n."))
		if i < 0 {
			return append(append(b, content...), ".\r\n"...)
		}
		b = append(append(b, content[:i+3]...), '.')
		content = content[i+3:]
	}
}

// Load sends what next gives, in a number of sessions at once, until ctx ends or next
// returns nil. A session that is lost or refused is dialled again, after a moment. It
// returns how many messages were acknowledged.
func Load(ctx context.Context, addr string, sessions int, l *ledger.Ledger, next func() *Message) int {
	return LoadBy(ctx, func() (Sender, error) { return Dial(addr) }, sessions, l, next)
}

// Sender is a session of some client, such as a Session.
type Sender interface {
	Send(*Message, *ledger.Ledger) (Outcome, error)
	Close() error
	Abort()
}

// LoadBy is Load with sessions that dial makes.
func LoadBy(ctx context.Context, dial func() (Sender, error), sessions int, l *ledger.Ledger, next func() *Message) int {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked int
	)
	for range sessions {
		wg.Go(func() {
			var s Sender
			defer func() {
				if s != nil {
					s.Close()
				}
			}()
			for ctx.Err() == nil {
				if s == nil {
					var err error
					if s, err = dial(); err != nil {
						s = nil
						wait(ctx, 20*time.Millisecond)
						continue
					}
				}
				m := next()
				if m == nil {
					return
				}
				o, err := s.Send(m, l)
				if err != nil {
					s.Abort()
					s = nil
				}
				if o.Acked != nil {
					mu.Lock()
					acked++
					mu.Unlock()
				} else if err == nil {
					wait(ctx, 10*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	return acked
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// ErrRefused is in the chain of Send1's error when a recipient was refused.
var ErrRefused = errors.New("refused")

// Send1 dials, sends one message and quits. Every recipient must be accepted.
func Send1(addr string, m *Message, l *ledger.Ledger) (Outcome, error) {
	s, err := Dial(addr)
	if err != nil {
		return Outcome{}, err
	}
	defer s.Close()
	o, err := s.Send(m, l)
	if err == nil && len(o.Refused) > 0 {
		err = fmt.Errorf("%w: %s", ErrRefused, o.Reply)
	}
	return o, err
}
