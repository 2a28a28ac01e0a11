package sasl

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Dovecot asks Dovecot's auth process (its "Authentication Protocol", version 1) over one
// connection for all logins. It is made anew when it breaks, at the next login.
type Dovecot struct {
	Dial func() (net.Conn, error) // the socket of the clients
	PID  uint32                   // a number that no other connection to that process has
	Warn func(format string, args ...any)

	mu    sync.Mutex
	link  *link
	mechs []string // of the last one that was up
}

// dovecotTime is how long an answer may take. A wrong password takes two seconds by default.
const dovecotTime = 60 * time.Second

// The caps on what the other end sends.
const (
	maxLine  = 16 << 10
	maxLines = 1000 // of its greeting
)

// link is one connection.
type link struct {
	conn  net.Conn
	mechs []string

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan Step // nil when it is over
}

// Mechanisms implements Server. It makes the connection, if there is none.
func (d *Dovecot) Mechanisms() []string {
	if l, err := d.connect(); err == nil {
		return l.mechs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mechs
}

// connect returns the connection. Only one is made at a time.
func (d *Dovecot) connect() (*link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != nil && d.link.up() {
		return d.link, nil
	}
	conn, err := d.Dial()
	if err == nil {
		d.link, err = greet(conn, d.PID)
		if err != nil {
			conn.Close()
		}
	}
	if err != nil {
		d.link = nil
		d.Warn("SASL: %v", err)
		return nil, err
	}
	d.mechs = d.link.mechs
	return d.link, nil
}

// Close ends the connection.
func (d *Dovecot) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != nil {
		d.link.conn.Close()
	}
}

var errGreeting = errors.New("the auth server does not speak as a client socket of Dovecot's does")

// greet goes through the greetings of both sides.
func greet(conn net.Conn, pid uint32) (*link, error) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "VERSION\t1\t1\nCPID\t%d\n", pid); err != nil {
		return nil, err
	}
	l := &link{conn: conn, waiting: map[uint32]chan Step{}}
	r := bufio.NewReaderSize(conn, maxLine)
	for range maxLines {
		f, err := fields(r)
		if err != nil {
			return nil, err
		}
		switch {
		case f[0] == "VERSION" && (len(f) < 2 || f[1] != "1"):
			return nil, errGreeting
		case f[0] == "MECH" && len(f) > 1:
			l.mechs = append(l.mechs, strings.ToUpper(f[1]))
		case f[0] == "DONE":
			conn.SetDeadline(time.Time{})
			go l.hear(r)
			return l, nil
		}
	}
	return nil, errGreeting
}

// fields reads a line.
func fields(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if err == bufio.ErrBufferFull {
			err = errGreeting
		}
		return nil, err
	}
	f := strings.Split(string(line[:len(line)-1]), "\t")
	for i := range f {
		f[i] = unescape.Replace(f[i])
	}
	return f, nil
}

// Dovecot's way to write what would end a field.
var (
	unescape = strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r", "\x010", "\x00")
	escape   = strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r", "\x00", "\x010")
)

func (l *link) up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting != nil
}

// hear hands out answers until the connection ends.
func (l *link) hear(r *bufio.Reader) {
	for {
		f, err := fields(r)
		if err != nil {
			break
		}
		if len(f) < 2 {
			continue
		}
		id, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			continue
		}
		if s, ok := step(f); ok {
			l.answer(uint32(id), s)
		}
	}
	l.conn.Close()
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, c := range waiting {
		c <- Step{Outcome: Temporary, Reason: "Connection lost to authentication server"}
	}
}

func (l *link) answer(id uint32, s Step) {
	l.mu.Lock()
	c := l.waiting[id]
	if c != nil && s.Outcome != Continue {
		delete(l.waiting, id)
	}
	l.mu.Unlock()
	if c != nil {
		select {
		case c <- s:
		default: // two answers to one question
		}
	}
}

// step is what a line says.
func step(f []string) (s Step, ok bool) {
	switch f[0] {
	case "CONT":
		s.Outcome = Continue
		if len(f) > 2 {
			var err error
			if s.Challenge, err = base64.StdEncoding.DecodeString(f[2]); err != nil {
				return Step{Outcome: Temporary, Reason: "Authentication backend error"}, true
			}
		}
		return s, true
	case "OK":
		s.Outcome = Accepted
		for _, p := range f[2:] {
			if user, ok := strings.CutPrefix(p, "user="); ok {
				s.User = user
			}
		}
		if s.User == "" {
			return Step{Outcome: Temporary, Reason: "Authentication backend error"}, true
		}
		return s, true
	case "FAIL":
		for _, p := range f[2:] {
			switch name, value, _ := strings.Cut(p, "="); {
			case name == "user":
				s.User = value
			case name == "reason":
				s.Reason = value
			case name == "temp", name == "code" && value == "temp_fail":
				s.Outcome = Temporary
			}
		}
		return s, true
	}
	return s, false
}

// Start implements Server.
func (d *Dovecot) Start(mechanism string, from Peer, initial []byte) (Session, Step) {
	l, err := d.connect()
	if err != nil {
		return nil, Step{Outcome: Temporary, Reason: "Can't connect to authentication server"}
	}
	q := &question{link: l, answer: make(chan Step, 1)}
	l.mu.Lock()
	if l.waiting != nil {
		l.last++
		q.id = l.last
		l.waiting[q.id] = q.answer
	}
	l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "AUTH\t%d\t%s\tservice=%s\tnologin", q.id, escape.Replace(mechanism), escape.Replace(from.Service))
	if from.Local != "" {
		b.WriteString("\tlip=" + escape.Replace(from.Local))
	}
	if from.Remote != "" {
		b.WriteString("\trip=" + escape.Replace(from.Remote))
	}
	if from.TLS {
		b.WriteString("\tsecured")
	}
	if initial != nil {
		b.WriteString("\tresp=" + base64.StdEncoding.EncodeToString(initial))
	}
	return q, q.ask(b.String() + "\n")
}

// question is a login under way.
type question struct {
	link   *link
	id     uint32
	answer chan Step
}

func (q *question) ask(line string) Step {
	lost := Step{Outcome: Temporary, Reason: "Connection lost to authentication server"}
	if q.id == 0 {
		return lost
	}
	q.link.conn.SetWriteDeadline(time.Now().Add(dovecotTime))
	if _, err := io.WriteString(q.link.conn, line); err != nil {
		q.link.conn.Close()
		q.forget()
		return lost
	}
	t := time.NewTimer(dovecotTime)
	defer t.Stop()
	select {
	case s := <-q.answer:
		return s
	case <-t.C:
		q.Cancel()
		return Step{Outcome: Temporary, Reason: "Connection timed out"}
	}
}

// Next implements Session.
func (q *question) Next(response []byte) Step {
	return q.ask(fmt.Sprintf("CONT\t%d\t%s\n", q.id, base64.StdEncoding.EncodeToString(response)))
}

// Cancel implements Session. What is answered later is for nobody.
func (q *question) Cancel() {
	q.forget()
	q.link.conn.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(q.link.conn, "CANCEL\t%d\n", q.id)
}

func (q *question) forget() {
	q.link.mu.Lock()
	delete(q.link.waiting, q.id)
	q.link.mu.Unlock()
}
