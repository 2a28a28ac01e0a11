package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// sink is a mail server on loopback that stands for the rest of the world. It is
// go-smtp's, so that a foreign implementation judges what our smtp sends.
type sink struct {
	domain string
	addr   string        // host:port
	wait   time.Duration // between the final dot and the reply
	refuse string        // a recipient that does not exist here

	mu       sync.Mutex
	received map[string][][]byte // by recipient
	server   *smtp.Server
}

// newSink chooses a port and does not listen yet.
func newSink(domain string) (*sink, error) {
	addr, err := freeAddress("127.0.0.1:0")
	return &sink{domain: domain, addr: addr, received: map[string][][]byte{}}, err
}

// freeAddress returns an address nobody listens on: the one wanted, if it is free.
func freeAddress(want string) (string, error) {
	l, err := net.Listen("tcp", want)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *sink) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("mail server of %s: %w", s.domain, err)
	}
	s.server = smtp.NewServer(s)
	s.server.Domain = "mx." + s.domain
	go s.server.Serve(l) // ends with close
	return nil
}

func (s *sink) close() {
	if s.server != nil {
		s.server.Close()
	}
}

// nextHop is the sink as transport_maps name it.
func (s *sink) nextHop() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return "[127.0.0.1]:" + port
}

// got returns what arrived for a recipient.
func (s *sink) got(recipient string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received[recipient]
}

// NewSession implements smtp.Backend.
func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &sinkSession{sink: s}, nil }

type sinkSession struct {
	sink       *sink
	recipients []string
}

func (x *sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

func (x *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == x.sink.refuse {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user here"}
	}
	x.recipients = append(x.recipients, to)
	return nil
}

func (x *sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	time.Sleep(x.sink.wait) // what this server is there for
	x.sink.mu.Lock()
	defer x.sink.mu.Unlock()
	for _, to := range x.recipients {
		x.sink.received[to] = append(x.sink.received[to], b)
	}
	return nil
}

func (x *sinkSession) Reset()        { x.recipients = nil }
func (x *sinkSession) Logout() error { return nil }
