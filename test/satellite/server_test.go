package satellite

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"postrider/test/instance"
	"postrider/test/source"
)

// server is an SMTP server that offers STARTTLS and does not keep to it: what it says to it
// is start, and then it closes. With conf it does, and ends the session when it hears the verb
// breaks.
type server struct {
	addr   string
	start  string
	conf   *tls.Config
	breaks string

	mu    sync.Mutex
	heard []string // sessions, as the commands in them
}

func newServer(t *testing.T, start string) *server {
	t.Helper()
	return listening(t, &server{start: start})
}

func listening(t *testing.T, s *server) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.addr = l.Addr().String()
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
	data, secure := false, false
	for in := bufio.NewScanner(conn); in.Scan(); {
		verb, _, _ := strings.Cut(in.Text(), " ")
		switch {
		case secure && verb == s.breaks:
			said = append(said, "TLS:"+verb)
			return
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
			if s.conf == nil {
				return
			}
			conn = tls.Server(conn, s.conf)
			in, secure = bufio.NewScanner(conn), true
			continue
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

// TestBreaksUnderTLS: at level may, mail waits first where sessions break after their
// handshake, and then goes in the clear; not when the server may have it already.
func TestBreaksUnderTLS(t *testing.T) {
	t.Parallel()
	cert, key := newAuthority(t, "test CA").issue("server.test")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	i := instance.New(t, "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "smtp_tls_security_level = may")
	servers, routes := map[string]*server{}, ""
	for _, verb := range []string{"EHLO", "MAIL", "RCPT", "DATA", ".", "encrypted"} {
		s := &server{start: "220 2.0.0 go\r\n", conf: conf, breaks: verb}
		name, transport := strings.ToLower(strings.Replace(verb, ".", "dot", 1)), "smtp"
		if verb == "encrypted" {
			s.breaks, transport = "MAIL", "encrypt"
		}
		servers[name] = listening(t, s)
		routes += " {" + name + ".test = " + transport + ":" + servers[name].hop() + "}"
	}
	i.AddService("encrypt unix - - n - - smtp -o smtp_tls_security_level=encrypt")
	i.Set("transport_maps = inline:{" + routes + " }")
	i.Start()
	for name, s := range servers {
		o, err := source.Send1(i.Addr, source.New(name, "a@source.test", 1000, "x@"+name+".test"), nil)
		if err != nil {
			t.Fatal(err)
		}
		id := string(o.QueueID)
		i.AwaitLog(id + `: to=<x@` + name + `\.test>, .*dsn=4\.4\.2, status=deferred \(lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while `)
		if name == "dot" || name == "encrypted" {
			i.Await("more attempts for "+name, func() bool { return s.sessions("TLS:") >= 3 })
			continue
		}
		i.AwaitLog(id + `: (lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while performing the EHLO handshake: trying .* without TLS|the session with .* broke under TLS: trying it without)$`)
		i.AwaitLog(id + `: to=<x@` + name + `\.test>, .*status=sent \(250 2\.0\.0 Ok\)$`)
		i.Await("the session in the clear to end", func() bool { return s.sessions("EHLO MAIL RCPT DATA") == 1 })
	}
	for _, name := range []string{"dot", "encrypted"} {
		if s := servers[name]; s.sessions("EHLO MAIL") > s.sessions("STARTTLS EHLO MAIL") {
			t.Errorf("%s: sent in the clear", name)
		}
	}
}
