package satellite

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// server is an SMTP server that offers STARTTLS and does not keep to it: what it says to it
// is start, and then it closes.
type server struct {
	addr  string
	start string

	mu    sync.Mutex
	heard []string // sessions, as the commands in them
}

func newServer(t *testing.T, start string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{addr: l.Addr().String(), start: start}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *server) hop() string {
	host, port, _ := net.SplitHostPort(s.addr)
	return "[" + host + "]:" + port
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	var said []string
	defer func() {
		s.mu.Lock()
		s.heard = append(s.heard, strings.Join(said, " "))
		s.mu.Unlock()
	}()
	fmt.Fprint(conn, "220 server.test ESMTP\r\n")
	data := false
	for in := bufio.NewScanner(conn); in.Scan(); {
		verb, _, _ := strings.Cut(in.Text(), " ")
		switch {
		case data:
			if data = in.Text() != "."; !data {
				fmt.Fprint(conn, "250 2.0.0 Ok\r\n")
			}
			continue
		case verb == "EHLO":
			fmt.Fprint(conn, "250-server.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
		case verb == "STARTTLS":
			fmt.Fprint(conn, s.start)
			said = append(said, verb)
			return
		case verb == "DATA":
			data = true
			fmt.Fprint(conn, "354 go\r\n")
		default:
			fmt.Fprint(conn, "250 2.0.0 Ok\r\n")
		}
		said = append(said, verb)
	}
}

// sessions are those that went as far as a command.
func (s *server) sessions(verb string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		if strings.Contains(h, verb) {
			n++
		}
	}
	return n
}

// TestNoHandshake (reliability.md, C4.43): at level may, mail waits first where TLS does not
// work, and then goes in the clear; not at a higher level, not where a password would be shown,
// and not to a server whose words behind its reply to STARTTLS would pass for those under TLS.
func TestNoHandshake(t *testing.T) {
	t.Parallel()
	broken := "220 2.0.0 go\r\n"
	may, encrypt, login, injects := newServer(t, broken), newServer(t, broken), newServer(t, broken), newServer(t, "220 2.0.0 go\r\n250 injected\r\n")
	i := instance.New(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "smtp_tls_security_level = may")
	i.AddService("encrypt unix - - n - - smtp -o smtp_tls_security_level=encrypt",
		"login unix - - n - - smtp -o smtp_sasl_auth_enable=yes -o smtp_sasl_security_options=noanonymous -o { smtp_sasl_password_maps = static:alice:"+password+" }")
	i.Set("transport_maps = inline:{ {may.test = smtp:" + may.hop() + "} {encrypt.test = encrypt:" + encrypt.hop() + "} {login.test = login:" + login.hop() +
		"} {injects.test = encrypt:" + injects.hop() + "} }")
	i.Start()
	for _, name := range []string{"encrypt", "login", "injects", "may"} {
		o, err := source.Send1(i.Addr, source.New(name, "a@source.test", 1000, "x@"+name+".test"), nil)
		if err != nil {
			t.Fatal(err)
		}
		i.AwaitLog(string(o.QueueID) + `: to=<x@` + name + `\.test>, .*dsn=4\.7\.5, status=deferred \(Cannot start TLS: handshake failure\)$`)
		if name == "may" {
			i.AwaitLog(string(o.QueueID) + `: Cannot start TLS: handshake failure: trying .* without TLS$`)
			i.AwaitLog(string(o.QueueID) + `: to=<x@may\.test>, .*status=sent \(250 2\.0\.0 Ok\)$`)
		}
	}
	for name, s := range map[string]*server{"encrypt": encrypt, "login": login, "injects": injects} {
		i.Await("more attempts for "+name, func() bool { return s.sessions("STARTTLS") >= 3 })
		if n := s.sessions("MAIL") + s.sessions("AUTH"); n > 0 {
			t.Errorf("%s: %d times in the clear", name, n)
		}
	}
	i.AwaitLog(`warning: host .* sent text behind its reply to STARTTLS$`)
	i.Await("the session in the clear to end", func() bool { return may.sessions("MAIL") == 1 })
}
