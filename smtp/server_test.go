package smtp

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is how a server of the test behaves: what it says to a verb, the nth
// entry to the nth time it hears it and the last from then on. The verbs are
// "greeting", "EHLO", "HELO", "MAIL", "RCPT", "DATA", ".", "RSET" and "QUIT". An
// entry may be "close" (end the connection), "reset" (abort it), "hang", or
// reply text with "\n" between the lines; "+close" behind it closes after it.
type script map[string][]string

var offered = "250-mx.test\n250-PIPELINING\n250-SIZE 10000000\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250-DSN\n250 SMTPUTF8"

var good = script{
	"greeting": {"220 mx.test ESMTP"}, "EHLO": {offered}, "HELO": {"250 mx.test"}, "MAIL": {"250 2.1.0 Ok"}, "RCPT": {"250 2.1.5 Ok"},
	"DATA": {"354 go ahead"}, ".": {"250 2.0.0 Ok: queued as X"}, "RSET": {"250 2.0.0 Ok"}, "QUIT": {"221 2.0.0 Bye"},
}

// server is an SMTP server of the test.
type server struct {
	t      testing.TB
	l      net.Listener
	script script

	mu       sync.Mutex
	heard    []string // commands
	sessions int
	open     int
	messages []string // content as it came, with dots and all
	counts   map[string]int
	release  chan struct{} // ends "hang"
	onDot    func()
	early    string // said in the middle of content
	wg       sync.WaitGroup
}

func listen(t testing.TB, addr string, over script) *server {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, l: l, script: script{}, counts: map[string]int{}, release: make(chan struct{})}
	for k, v := range good {
		s.script[k] = v
	}
	for k, v := range over {
		s.script[k] = v
	}
	s.wg.Go(s.run)
	t.Cleanup(func() {
		l.Close()
		close(s.release)
		s.wg.Wait()
	})
	return s
}

func (s *server) port() int { return s.l.Addr().(*net.TCPAddr).Port }

func (s *server) run() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions++
		s.open++
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				s.open--
				s.mu.Unlock()
			}()
			s.session(c.(*net.TCPConn))
		})
	}
}

// say answers; false ends the session.
func (s *server) say(c *net.TCPConn, verb string) bool {
	s.mu.Lock()
	list := s.script[verb]
	n := s.counts[verb]
	s.counts[verb]++
	s.mu.Unlock()
	if len(list) == 0 {
		list = []string{"502 5.5.2 unknown"}
	}
	reply := list[min(n, len(list)-1)]
	reply, end := strings.CutSuffix(reply, "+close")
	switch reply {
	case "close":
		return false
	case "reset":
		c.SetLinger(0)
		return false
	case "hang":
		<-s.release
		return false
	}
	fmt.Fprintf(c, "%s\r\n", strings.ReplaceAll(reply, "\n", "\r\n"))
	return !end
}

func (s *server) replied(verb string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.script[verb]
	return list[min(s.counts[verb]-1, len(list)-1)]
}

func (s *server) session(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	if !s.say(c, "greeting") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(line, " ")
		s.mu.Lock()
		s.heard = append(s.heard, line)
		s.mu.Unlock()
		if !s.say(c, verb) || verb == "QUIT" {
			return
		}
		if verb == "DATA" && strings.HasPrefix(s.replied("DATA"), "354") {
			if !s.data(c, r) {
				return
			}
		}
	}
}

func (s *server) data(c *net.TCPConn, r *bufio.Reader) bool {
	var m strings.Builder
	for {
		if s.early != "" && m.Len() > 1000 {
			fmt.Fprintf(c, "%s\r\n", s.early)
			s.early = ""
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		m.WriteString(line)
	}
	s.mu.Lock()
	s.messages = append(s.messages, m.String())
	f := s.onDot
	s.mu.Unlock()
	if f != nil {
		f()
	}
	return s.say(c, ".")
}

func (s *server) commands() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.heard, "\n")
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *server) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}
